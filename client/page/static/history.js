// <iv-history>: the runs of this browser. Nobody else knows the list; the runs themselves are the service's.

(() => {
  const KEY = "immersivaudio.runs";
  const MOST = 100;
  const STATUS = { accepted: "waiting", running: "not ended when last seen", finished: "finished", failed: "failed", cancelled: "cancelled" };

  function read() {
    try {
      const runs = JSON.parse(localStorage.getItem(KEY) ?? "[]");
      return Array.isArray(runs) ? runs.filter((run) => typeof run?.id === "string") : [];
    } catch {
      return []; // no storage, or somebody else's
    }
  }

  function write(runs) {
    try {
      localStorage.setItem(KEY, JSON.stringify(runs.slice(0, MOST)));
    } catch {
      // A browser that keeps nothing has no history.
    }
    window.dispatchEvent(new CustomEvent("iv-history"));
  }

  window.addEventListener("iv-remember", ({ detail }) => {
    const runs = read();
    const known = runs.find((run) => run.id === detail.id);
    if (known?.status === detail.status && known.name === detail.name) return;
    if (known) Object.assign(known, detail);
    else runs.unshift({ ...detail, at: Date.now() });
    write(runs);
  });

  class History extends HTMLElement {
    connectedCallback() {
      window.addEventListener("iv-history", this.#draw);
      window.addEventListener("storage", this.#draw); // another tab
      this.#draw();
    }

    disconnectedCallback() {
      window.removeEventListener("iv-history", this.#draw);
      window.removeEventListener("storage", this.#draw);
    }

    #draw = () => {
      const runs = read();
      this.innerHTML = `
        <section class="iv-history" aria-label="History">
          <p class="iv-quiet"></p><ul></ul>
          <p class="iv-unseen" role="status"></p>
        </section>`;
      this.querySelector("p").textContent = runs.length
        ? "What this browser has seen; the list is kept here alone. Remove takes a run off it, Delete erases the run itself."
        : "No runs yet. What you make in this browser is listed here.";
      this.querySelector("ul").append(...runs.map((run) => this.#item(run)));
    };

    #item(run) {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = `?run=${encodeURIComponent(run.id)}`;
      link.textContent = run.name || run.id;
      link.addEventListener("click", (event) => {
        const shown = document.querySelector("iv-run");
        if (!shown || event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        shown.show(run.id);
      });
      const told = document.createElement("span");
      told.className = "iv-quiet";
      told.textContent = `${STATUS[run.status] ?? run.status}, ${new Date(run.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}`;
      item.append(link, told, this.#button("Remove", `Remove ${run.name} from the list`, () => this.#forget(run.id)));
      item.append(this.#button("Delete", `Delete ${run.name} and all that was made of it`, () => this.#delete(run)));
      return item;
    }

    #button(text, label, act) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "iv-button";
      button.textContent = text;
      button.setAttribute("aria-label", label);
      button.addEventListener("click", act);
      return button;
    }

    #forget(id) {
      write(read().filter((run) => run.id !== id));
    }

    async #delete(run) {
      if (!confirm(`Delete “${run.name}” and all that was made of it, for everybody who has its link?`)) return;
      let problem = "";
      try {
        const answer = await fetch(`studio/runs/${encodeURIComponent(run.id)}`, {
          method: "DELETE",
          headers: { "X-Immersivaudio": "1" },
        });
        // What is not there any more is deleted as well.
        if (!answer.ok && answer.status !== 404) problem = (await answer.json()).detail;
      } catch {
        problem = "This page's server cannot be reached. Try again when the connection is back.";
      }
      if (problem) this.querySelector("p").textContent = problem;
      else this.#forget(run.id);
    }
  }

  if (!customElements.get("iv-history")) customElements.define("iv-history", History);
})();
