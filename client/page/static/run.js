// <iv-run>: a run as it happens. It follows the run's stream by itself, so it goes on after a reload, a lost connection, and
// sleep; the address names the run, so it can be opened elsewhere.
//
//   element.show(id)      follows this run, and puts it into the page's address
//   "began"  {run}                  another run is shown
//   "ended"  {run, status, media}   it has come to its end (or had, when it was opened)
//   "closed" {}           nothing is shown any more

(() => {
  const GUARD = { "X-Immersivaudio": "1" };
  const PARAMETER = "run";
  const ID = /^[0-9a-f]{32}$/;

  class Run extends HTMLElement {
    #id = null;
    #source = null;
    #media = "video";
    #name = "";

    connectedCallback() {
      if (this.firstChild) return;
      this.innerHTML = `
        <section class="iv-run" aria-label="The run" hidden>
          <div class="iv-head"></div>
          <p class="iv-note" hidden></p>
          <details class="iv-how" open><summary>How it is made</summary><ol class="iv-strip"></ol></details>
          <div class="iv-actions">
            <button type="button" class="iv-button" data-do="cancel">Cancel</button>
            <button type="button" class="iv-button" data-do="copy">Copy the link</button>
            <button type="button" class="iv-button" data-do="close">Close</button>
          </div>
        </section>
        <p class="iv-unseen" role="status"></p>
        <p class="iv-unseen" role="alert"></p>`;
      this.addEventListener("click", (event) => this.#clicked(event.target.closest("[data-do]")?.dataset.do));
      window.addEventListener("popstate", this.#fromAddress);
      window.addEventListener("online", this.#again);
      document.addEventListener("visibilitychange", this.#again);
      // Whoever listens for "ended" does so after this element is there.
      setTimeout(this.#fromAddress);
    }

    disconnectedCallback() {
      window.removeEventListener("popstate", this.#fromAddress);
      window.removeEventListener("online", this.#again);
      document.removeEventListener("visibilitychange", this.#again);
      this.#source?.close();
    }

    show(id) {
      const address = new URL(location.href);
      address.searchParams.set(PARAMETER, id);
      if (address.href !== location.href) history.pushState(null, "", address);
      this.#follow(id);
    }

    #part(selector) {
      return this.querySelector(selector);
    }

    #fromAddress = () => {
      const id = new URL(location.href).searchParams.get(PARAMETER);
      if (id === this.#id) return;
      if (id) this.#follow(id);
      else this.#leave();
    };

    #again = () => {
      // A stream that the browser has given up while the screen was off, or without a network.
      if (this.#id && this.#source?.readyState === EventSource.CLOSED && this.#source.unfinished) this.#follow(this.#id);
    };

    #follow(id) {
      this.#source?.close();
      this.#id = id;
      this.#part(".iv-strip").replaceChildren();
      this.#part(".iv-head").replaceChildren();
      this.#part(".iv-run").hidden = false;
      this.#part(".iv-how").open = true;
      this.#part("[data-do=cancel]").hidden = true;
      this.#note("");
      this.#toSight();
      this.dispatchEvent(new CustomEvent("began", { bubbles: true, detail: { run: id } }));
      if (!ID.test(id)) {
        this.#problem({ sentence: "This link names no run.", advice: "Perhaps a part of it is missing." });
        return;
      }
      const source = new EventSource(`studio/runs/${id}/events`);
      source.unfinished = true;
      this.#source = source;
      const on = (kind, act) =>
        source.addEventListener(kind, (event) => this.#source === source && act.call(this, JSON.parse(event.data), source));
      on("strip", this.#strip);
      on("waiting", (told) => this.#note(told.sentence));
      on("ended", this.#ended);
      on("problem", this.#problem);
      source.onerror = () => {
        if (this.#source !== source) return;
        if (source.readyState === EventSource.CLOSED) setTimeout(this.#again, 3000);
        this.#note(
          navigator.onLine
            ? "The connection to this page's server is lost. The run goes on; this page tries again."
            : "You are offline. The run goes on; this page goes on with it when you are back.",
        );
      };
    }

    #strip(told) {
      this.#media = told.media;
      this.#name = told.name;
      this.#note("");
      const strip = this.#part(".iv-strip");
      const first = !strip.firstChild;
      for (const [name, html] of Object.entries(told.sections)) {
        if (name === "head") {
          this.#part(".iv-head").innerHTML = html; // escaped by the server
          continue;
        }
        const template = document.createElement("template");
        template.innerHTML = html;
        const item = template.content.firstElementChild;
        const old = strip.querySelector(`[data-module=${name}]`);
        if (!old) strip.append(item);
        else if (!bars(old, item)) keepScroll(old, item);
      }
      if (first) this.#toSight(); // a page that had just been opened was not so high before
      const going = told.status === "accepted" || told.status === "running";
      this.#part("[data-do=cancel]").hidden = !going;
      if (told.say) this.#part("[role=status]").textContent = told.say;
      remember(this.#id, { name: told.name, media: told.media, status: told.status });
    }

    #ended(told, source) {
      source.unfinished = false;
      source.close();
      this.#part("[data-do=cancel]").hidden = true;
      remember(this.#id, { name: this.#name, media: this.#media, status: told.status });
      if (told.status === "finished") this.#part(".iv-how").open = false; // the result is what counts now
      else this.#note(`${told.sentence} ${told.advice}`);
      this.#part("[role=status]").textContent = `${told.sentence} ${told.advice}`;
      const detail = { run: this.#id, status: told.status, media: this.#media };
      this.dispatchEvent(new CustomEvent("ended", { bubbles: true, detail }));
    }

    #problem(told, source) {
      if (!told.again) {
        if (source) source.unfinished = false;
        source?.close();
      }
      this.#note(`${told.sentence} ${told.advice}`);
      this.#part("[role=alert]").textContent = told.sentence;
    }

    #note(text) {
      const note = this.#part(".iv-note");
      note.textContent = text;
      note.hidden = !text;
    }

    #toSight() {
      this.#part(".iv-run").scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
    }

    async #clicked(what) {
      if (what === "cancel") {
        const button = this.#part("[data-do=cancel]");
        button.disabled = true;
        await this.#ask("POST", `studio/runs/${this.#id}/cancel`);
        button.disabled = false;
      } else if (what === "copy") {
        const link = new URL(location.href);
        for (const name of [...link.searchParams.keys()]) if (name !== PARAMETER) link.searchParams.delete(name);
        try {
          await navigator.clipboard.writeText(link.href);
          this.#part("[role=status]").textContent = "The link is copied.";
          this.#flash("copy", "Copied");
        } catch {
          this.#note(`The link to this run: ${link.href}`); // without TLS, browsers have no clipboard
        }
      } else if (what === "close") {
        const address = new URL(location.href);
        address.searchParams.delete(PARAMETER);
        history.pushState(null, "", address);
        this.#leave();
      }
    }

    #flash(what, words) {
      const button = this.#part(`[data-do=${what}]`);
      const before = button.textContent;
      button.textContent = words;
      setTimeout(() => (button.textContent = before), 1500);
    }

    async #ask(method, path) {
      try {
        const answer = await fetch(path, { method, headers: GUARD });
        if (!answer.ok) this.#note((await answer.json()).detail);
      } catch {
        this.#note("This page's server cannot be reached. Try again when the connection is back.");
      }
    }

    #leave() {
      this.#source?.close();
      this.#id = null;
      this.#part(".iv-run").hidden = true;
      this.dispatchEvent(new CustomEvent("closed", { bubbles: true }));
    }
  }

  /** Whether the two differ in nothing but how far their bars are; then the old one's bars are moved, which a screen reader likes better. */
  function bars(old, fresh) {
    const [before, after] = [old.querySelectorAll(".iv-bar"), fresh.querySelectorAll(".iv-bar")];
    const words = (item) => [item.className, ...[...item.querySelectorAll("h3, p")].map((one) => one.textContent)].join("\n");
    if (!before.length || before.length !== after.length || words(old) !== words(fresh)) return false;
    before.forEach((bar, index) => {
      bar.querySelector("progress").value = after[index].querySelector("progress").value;
      bar.lastElementChild.textContent = after[index].lastElementChild.textContent;
    });
    return true;
  }

  function keepScroll(old, fresh) {
    const at = old.querySelector(".iv-frames")?.scrollLeft;
    old.replaceWith(fresh);
    const frames = fresh.querySelector(".iv-frames");
    if (frames && at) frames.scrollLeft = at;
  }

  function calm() {
    return matchMedia("(prefers-reduced-motion: reduce)").matches;
  }

  function remember(id, told) {
    window.dispatchEvent(new CustomEvent("iv-remember", { detail: { id, ...told } }));
  }

  if (!customElements.get("iv-run")) customElements.define("iv-run", Run);
})();
