// <iv-run>: a run as it happens. It follows the run's stream by itself, so it goes on after a reload, a lost connection, and
// sleep; the address names the run, so it can be opened elsewhere.
//
//   element.show(id)      somebody wants this run: it is followed, gets the focus, and is put into the page's address
//   element.run           the id of the run that is shown, or null
//   "began"  {run}                  another run is shown
//   "ended"  {run, status, media}   it has come to its end (or had, when it was opened)
//   "closed" {}                     nothing is shown any more
//
// window's "iv-forget" {id} says that a run was deleted: if it is this one, it is shown no more.

import { focused, giveBack, typing } from "./run/focus.js";
import { showHead, showModule } from "./run/sections.js";
import { Stream } from "./run/stream.js";
import { el } from "./studio/dom.js";

const GUARD = { "X-Immersivaudio": "1" };
const PARAMETER = "run";
const ID = /^[0-9a-f]{32}$/;
const GOING = ["accepted", "running"];

const SIGNED_OUT = "You are not signed in any more. Reload the page, and sign in.";
const LOST = "The connection to this page's server is lost. The run goes on; this page tries again.";
const OFFLINE = "You are offline. The run goes on; this page goes on with it when you are back.";
const AWAY = "This page's server cannot be reached. Try again when the connection is back.";

class Run extends HTMLElement {
  #id = null;
  #stream = null;
  #media = "video";
  #name = "";
  #watched = false; // it went on while somebody looked
  #opener = null;

  connectedCallback() {
    if (!this.firstChild) this.#build();
    window.addEventListener("popstate", this.#fromAddress);
    window.addEventListener("online", this.#retry);
    window.addEventListener("iv-forget", this.#forgotten);
    document.addEventListener("visibilitychange", this.#retry);
    // Whoever listens for "ended" does so after this element is there.
    setTimeout(this.#fromAddress);
  }

  disconnectedCallback() {
    window.removeEventListener("popstate", this.#fromAddress);
    window.removeEventListener("online", this.#retry);
    window.removeEventListener("iv-forget", this.#forgotten);
    document.removeEventListener("visibilitychange", this.#retry);
    this.#stream?.close();
    this.#id = null;
  }

  get run() {
    return this.#id;
  }

  show(id) {
    const address = new URL(location.href);
    address.searchParams.set(PARAMETER, id);
    if (address.href !== location.href) history.pushState(null, "", address);
    this.#follow(id);
    this.#takeFocus();
  }

  #build() {
    this.innerHTML = `
      <section class="iv-run" aria-label="The run" hidden>
        <div class="iv-head"></div>
        <div role="status"></div>
        <div role="alert"></div>
        <details class="iv-how" open><summary>How it is made</summary><ol class="iv-strip"></ol></details>
        <div class="iv-actions">
          <button type="button" class="iv-button" data-do="cancel">Cancel</button>
          <button type="button" class="iv-button" data-do="copy">Copy the link</button>
          <button type="button" class="iv-button" data-do="close">Close</button>
        </div>
      </section>
      <p class="iv-unseen" role="status"></p>`;
    const acts = { cancel: () => this.#cancel(), copy: () => this.#copy(), close: () => this.#close() };
    for (const [what, act] of Object.entries(acts)) this.#button(what).addEventListener("click", act);
  }

  #part(selector) {
    return this.querySelector(selector);
  }

  #button(what) {
    return this.#part(`[data-do=${what}]`);
  }

  #fromAddress = (event) => {
    const id = new URL(location.href).searchParams.get(PARAMETER);
    if (id === this.#id) return;
    if (!id) {
      this.#leave();
      return;
    }
    this.#follow(id);
    if (event) this.#takeFocus(); // somebody went back or forward; a page that is just opened keeps its own beginning
  };

  #retry = () => this.#stream?.retry();

  #forgotten = ({ detail }) => {
    if (detail.id === this.#id) this.#close(true);
  };

  #follow(id) {
    this.#stream?.close();
    this.#id = id;
    this.#watched = false;
    this.#part(".iv-strip").replaceChildren();
    showHead(this.#part(".iv-head"), '<h2 tabindex="-1">The run</h2>');
    this.#part(".iv-run").hidden = false;
    this.#part(".iv-how").open = true;
    this.#offerCancel(false);
    this.#note("");
    this.#say("");
    this.#part(".iv-run").scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
    this.dispatchEvent(new CustomEvent("began", { bubbles: true, detail: { run: id } }));
    if (!ID.test(id)) {
      this.#note("This link names no run. Perhaps a part of it is missing.", "alert");
      return;
    }
    this.#stream = new Stream(id, {
      strip: (told) => this.#strip(told),
      waiting: (told) => this.#note(told.sentence),
      ended: (told) => this.#ended(told),
      problem: (told) => this.#note(`${told.sentence} ${told.advice}`, "alert"),
      lost: () => this.#note(navigator.onLine ? LOST : OFFLINE),
      refused: () => this.#note(SIGNED_OUT, "alert"),
    });
  }

  #takeFocus() {
    if (!this.contains(focused())) this.#opener = focused();
    if (!typing()) this.#heading.focus({ preventScroll: true });
  }

  get #heading() {
    return this.#part(".iv-head h2");
  }

  #strip(told) {
    this.#media = told.media;
    this.#name = told.name;
    this.#note("");
    for (const [name, html] of Object.entries(told.sections)) {
      if (name === "head") showHead(this.#part(".iv-head"), html);
      else showModule(this.#part(".iv-strip"), name, html);
    }
    const going = GOING.includes(told.status);
    this.#watched ||= going;
    this.#offerCancel(going);
    if (told.say) this.#say(told.say);
    this.#remember(told.status);
  }

  #ended(told) {
    this.#offerCancel(false);
    this.#remember(told.status);
    if (told.status === "finished") {
      this.#fold(); // the result is what counts now
      if (this.#watched) this.#say(told.sentence);
    } else this.#note(`${told.sentence} ${told.advice}`);
    const detail = { run: this.#id, status: told.status, media: this.#media };
    this.dispatchEvent(new CustomEvent("ended", { bubbles: true, detail }));
  }

  #fold() {
    const how = this.#part(".iv-how");
    if (how.contains(focused())) how.firstElementChild.focus({ preventScroll: true });
    how.open = false;
  }

  #offerCancel(going) {
    const button = this.#button("cancel");
    if (!going && focused() === button) this.#heading.focus({ preventScroll: true });
    button.hidden = !going;
  }

  /** What stands above the strip, and is read out: as an alert, or when there is time. */
  #note(text, role = "status") {
    for (const place of this.querySelectorAll(".iv-run > [role]")) {
      const words = place.getAttribute("role") === role ? text : "";
      // The same words once more would be read out once more.
      if (place.textContent !== words) place.replaceChildren(...(words ? [el("p", { class: "iv-note" }, words)] : []));
    }
  }

  #say(text) {
    this.#part(".iv-unseen").textContent = text;
  }

  async #cancel() {
    const [button, run] = [this.#button("cancel"), this.#id];
    if (button.hasAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true"); // `disabled` would take the focus away
    const problem = await post(`studio/runs/${run}/cancel`);
    button.removeAttribute("aria-disabled");
    if (run !== this.#id) return;
    if (problem) this.#note(problem, "alert");
    else if (focused() === button) this.#heading.focus({ preventScroll: true });
  }

  async #copy() {
    const link = new URL(location.href);
    for (const name of [...link.searchParams.keys()]) if (name !== PARAMETER) link.searchParams.delete(name);
    try {
      await navigator.clipboard.writeText(link.href);
    } catch {
      this.#note(`The link to this run: ${link.href}`); // without TLS, browsers have no clipboard
      return;
    }
    this.#say("The link is copied.");
    const button = this.#button("copy");
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy the link"), 1500);
  }

  /** gone: there is no such run any more, so there is no way back to it either. */
  #close(gone = false) {
    const address = new URL(location.href);
    address.searchParams.delete(PARAMETER);
    history[gone === true ? "replaceState" : "pushState"](null, "", address);
    this.#leave();
  }

  #leave() {
    this.#stream?.close();
    this.#id = null;
    const held = this.contains(focused());
    this.#part(".iv-run").hidden = true;
    this.#say("");
    this.dispatchEvent(new CustomEvent("closed", { bubbles: true }));
    if (held) giveBack(this.#opener);
  }

  #remember(status) {
    const detail = { id: this.#id, name: this.#name, media: this.#media, status };
    window.dispatchEvent(new CustomEvent("iv-remember", { detail }));
  }
}

/** Why it did not work; empty if it did. */
async function post(path) {
  try {
    const answer = await fetch(path, { method: "POST", headers: GUARD });
    if (answer.ok) return "";
    return answer.status === 401 ? SIGNED_OUT : (await answer.json()).detail;
  } catch {
    return AWAY;
  }
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

if (!customElements.get("iv-run")) customElements.define("iv-run", Run);
