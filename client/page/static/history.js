// <iv-history>: the runs of this browser. Nobody else knows the list; the runs themselves are the service's.
//
// It keeps what window's "iv-remember" {id, name, media, status} says of a run, and tells window "iv-forget" {id} when one is deleted.

import { focused } from "./run/focus.js";
import { el } from "./studio/dom.js";

const KEY = "immersivaudio.runs";
const MOST = 100;
const STATUS = { accepted: "waiting", running: "not ended when last seen", finished: "finished", failed: "failed", cancelled: "cancelled" };
const SOME = "What this browser has seen; the list is kept here alone. Remove takes a run off it, Delete erases the run itself.";
const NONE = "No runs yet. What you make in this browser is listed here.";
const AWAY = "This page's server cannot be reached. Try again when the connection is back.";

/** Runs that were taken off the list while they are shown: they come back when they are opened again, not when they go on. */
const removed = new Set();

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
  if (removed.has(detail.id)) return;
  const runs = read();
  const known = runs.find((run) => run.id === detail.id);
  if (known?.status === detail.status && known.name === detail.name) return;
  if (known) Object.assign(known, detail);
  else runs.unshift({ ...detail, at: Date.now() });
  write(runs);
});
document.addEventListener("began", ({ detail }) => removed.delete(detail.run));

class History extends HTMLElement {
  connectedCallback() {
    if (!this.firstChild) this.#build();
    window.addEventListener("iv-history", this.#draw);
    window.addEventListener("storage", this.#draw); // another tab
    this.#draw();
  }

  disconnectedCallback() {
    window.removeEventListener("iv-history", this.#draw);
    window.removeEventListener("storage", this.#draw);
  }

  #build() {
    this.innerHTML = `
      <section class="iv-history" aria-label="History">
        <p class="iv-quiet" tabindex="-1"></p>
        <div role="alert"></div>
        <ul></ul>
        <p class="iv-unseen" role="status"></p>
      </section>`;
  }

  #draw = () => {
    const runs = read();
    this.querySelector("p").textContent = runs.length ? SOME : NONE;
    const list = this.querySelector("ul");
    const kept = new Map([...list.children].map((item) => [item.dataset.run, item]));
    for (const item of list.querySelectorAll("li")) {
      if (!runs.some((run) => run.id === item.dataset.run)) this.#take(item);
    }
    runs.forEach((run, place) => {
      const item = kept.get(run.id) ?? this.#item(run.id);
      fill(item, run);
      // What stands where it belongs is not moved: that would take the focus from it.
      if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
    });
  };

  /** A row goes; the focus that was in it goes to the next row. */
  #take(item) {
    const held = item.contains(focused());
    const beside = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    if (held) (beside?.querySelector("a") ?? this.querySelector("p")).focus();
  }

  #item(id) {
    const link = el("a", { href: `?run=${encodeURIComponent(id)}` });
    link.addEventListener("click", (event) => {
      const shown = document.querySelector("iv-run");
      if (!shown || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      shown.show(id);
    });
    const button = (words, act) => el("button", { type: "button", class: "iv-button", onclick: () => act(id) }, words);
    const remove = button("Remove", (run) => this.#remove(run));
    const erase = button("Delete", (run) => this.#delete(run));
    return el("li", { "data-run": id }, link, el("span", { class: "iv-quiet" }), remove, erase);
  }

  #remove(id) {
    const name = nameOf(id);
    removed.add(id);
    this.#forget(id);
    this.#tell("", `${name} is off the list.`);
  }

  async #delete(id) {
    const name = nameOf(id);
    if (!confirm(`Delete “${name}” and all that was made of it, for everybody who has its link?`)) return;
    const problem = await erased(id);
    if (problem) {
      this.#tell(problem);
      return;
    }
    removed.add(id);
    this.#forget(id);
    this.#tell("", `${name} is deleted.`);
    window.dispatchEvent(new CustomEvent("iv-forget", { detail: { id } }));
  }

  #forget(id) {
    write(read().filter((run) => run.id !== id));
  }

  /** What went wrong, for all to read; what went well, for those who do not see it. */
  #tell(problem, done = "") {
    this.querySelector("[role=alert]").replaceChildren(...(problem ? [el("p", { class: "iv-note" }, problem)] : []));
    this.querySelector("[role=status]").textContent = done;
  }
}

function nameOf(id) {
  return read().find((run) => run.id === id)?.name || id;
}

function fill(item, run) {
  const [link, told, remove, erase] = item.children;
  const name = run.name || run.id;
  const when = new Date(run.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  link.textContent = name;
  told.textContent = `${STATUS[run.status] ?? run.status}, ${when}`;
  remove.setAttribute("aria-label", `Remove ${name} from the list`);
  erase.setAttribute("aria-label", `Delete ${name} and all that was made of it`);
}

/** Deletes the run. Why that did not work; empty if it did, or if there was no such run. */
async function erased(id) {
  try {
    const path = `studio/runs/${encodeURIComponent(id)}`;
    const answer = await fetch(path, { method: "DELETE", headers: { "X-Immersivaudio": "1" } });
    return answer.ok || answer.status === 404 ? "" : (await answer.json()).detail;
  } catch {
    return AWAY;
  }
}

if (!customElements.get("iv-history")) customElements.define("iv-history", History);
