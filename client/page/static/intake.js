// <iv-intake>: the one place where a file is given. It goes up while people still choose what to do with it.
//
//   <iv-intake kind="video|image|sound" uploads="studio/uploads" label="Video" max-bytes="4294967296" max-seconds="60"
//              examples='[{"name": "Sea at dusk", "url": "sea.mp4", "picture": "sea-small.jpg"}]'></iv-intake>
//
//   "given"   {name, size, type, lastModified}   a file was chosen, recorded or dropped; it is on its way
//   "ready"   {upload, name, size}               all of it has arrived
//   "cleared" {}                                 there is none any more
//   element.value                                {upload, name, size} once all has arrived, else null
//   element.clear()                              take the file out
//
// The camera is this element's with `kind` video (a recording of up to `max-seconds`) and image (a photograph).

import { Camera } from "./intake/camera.js";
import { Given } from "./intake/given.js";
import { unfinished } from "./intake/memory.js";
import { Upload } from "./intake/upload.js";
import { KINDS, SOUND_BYTES, bytes, objection } from "./intake/words.js";
import { el } from "./studio/dom.js";

const LONGEST = 60; // seconds of a recording
let number = 0;

class Intake extends HTMLElement {
  #upload = null;
  #given = null;
  #camera = null;
  #parts = null;
  #dragged = 0;

  connectedCallback() {
    if (!this.#parts) this.#build();
    document.addEventListener("paste", this.#pasted);
  }

  disconnectedCallback() {
    document.removeEventListener("paste", this.#pasted);
    this.#camera?.close();
  }

  get kind() {
    return this.getAttribute("kind") in KINDS ? this.getAttribute("kind") : "video";
  }

  get value() {
    const upload = this.#upload;
    return upload?.state === "ready" ? { upload: upload.id, name: upload.file.name, size: upload.file.size } : null;
  }

  clear() {
    if (!this.#upload) return;
    const held = this.contains(document.activeElement);
    this.#take();
    this.#show();
    if (held) this.#parts.input.focus();
    this.#tell("cleared", {});
  }

  get #most() {
    return Number(this.getAttribute("max-bytes")) || (this.kind === "sound" ? SOUND_BYTES : null);
  }

  #build() {
    const words = KINDS[this.kind];
    const id = `ivi-${(number += 1)}`;
    const limit = this.#most ? `, up to ${bytes(this.#most)}` : "";
    const taken = el("p", { class: "ivi-quiet", id: `${id}-taken` }, `${words.taken[0].toUpperCase()}${words.taken.slice(1)}${limit}.`);
    const input = this.#chooser(words.accept.join(","), { id, "aria-describedby": taken.id });
    const choose = el("label", { class: "ivi-button ivi-main" }, `Choose ${words.what}`, input);
    const zone = el("div", { class: "ivi-zone" },
      mark(this.kind),
      el("p", { class: "ivi-drop" }, handheld() ? `Give ${words.what}` : words.drop),
      el("div", { class: "ivi-row" }, choose, this.#camerasButton()),
      taken,
      this.#left());
    const problem = el("p", { class: "ivi-problem", role: "alert" });
    const status = el("p", { class: "ivi-unseen", role: "status" });
    const place = el("div", { class: "ivi-place" });
    const frame = el("div", { class: "ivi-frame", role: "group", "aria-label": this.getAttribute("label") ?? words.what.replace("a ", "") },
      zone, place, problem, status);
    this.#parts = { input, zone, place, problem, status, examples: this.#examples(), left: zone.lastElementChild };
    this.replaceChildren(frame, this.#parts.examples ?? "");
    this.#listen();
    this.#show();
  }

  #chooser(accept, options) {
    const input = el("input", { type: "file", class: "ivi-input", accept, ...options });
    input.addEventListener("change", () => {
      const [file] = input.files;
      input.value = ""; // the same file, chosen again, counts
      if (file) this.#give(file);
    });
    return input;
  }

  #camerasButton() {
    const words = KINDS[this.kind].record;
    if (!words) return null;
    if (this.kind === "image" && handheld()) {
      return el("label", { class: "ivi-button" }, words, this.#chooser("image/*", { capture: "environment" }));
    }
    return el("button", { type: "button", class: "ivi-button", onclick: () => this.#openCamera() }, words);
  }

  #examples() {
    let given = [];
    try {
      given = JSON.parse(this.getAttribute("examples") ?? "[]");
    } catch {
      // Then there are none.
    }
    if (!given.length) return null;
    const buttons = given.map((one) => {
      const picture = one.picture ?? (this.kind === "image" ? one.url : null);
      const image = picture && el("img", { src: picture, alt: "", loading: "lazy", width: 160, height: 90 });
      return el("li", {}, el("button", { type: "button", class: "ivi-example", onclick: () => this.#example(one) }, image, el("span", {}, one.name)));
    });
    return el("div", { class: "ivi-examples" }, el("p", { class: "ivi-quiet" }, "Nothing at hand? Try one of these:"), el("ul", {}, ...buttons));
  }

  /** A word on an upload that was broken off: its file alone is missing to go on. */
  #left() {
    const found = unfinished(this.kind);
    if (!found) return el("p", { hidden: true });
    const percent = Math.floor((100 * found.sent) / found.size);
    return el("p", { class: "ivi-left" }, `${found.name} had come to ${percent} % when it was broken off. Choose it again, and it goes on from there.`);
  }

  #listen() {
    const over = (by) => {
      this.#dragged = Math.max(0, this.#dragged + by);
      this.firstChild.classList.toggle("ivi-over", this.#dragged > 0);
    };
    const files = (event) => event.dataTransfer?.types.includes("Files");
    this.addEventListener("dragenter", (event) => files(event) && (event.preventDefault(), over(1)));
    this.addEventListener("dragleave", (event) => files(event) && over(-1));
    this.addEventListener("dragover", (event) => files(event) && event.preventDefault());
    this.addEventListener("drop", (event) => {
      if (!files(event)) return;
      event.preventDefault();
      over(-this.#dragged);
      if (event.dataTransfer.files.length > 1) this.#problem("One file at a time: the first of them was taken.");
      if (event.dataTransfer.files[0]) this.#give(event.dataTransfer.files[0], event.dataTransfer.files.length > 1);
    });
  }

  #pasted = (event) => {
    const [file] = event.clipboardData?.files ?? [];
    const typing = event.target.closest?.("input, textarea, [contenteditable]");
    if (!file || typing || event.defaultPrevented || !this.checkVisibility()) return;
    // A page may have several of these: each takes what it is for.
    const fits = this.kind === "sound" ? file.type.startsWith("audio/") : KINDS[this.kind].types.test(file.type);
    if (!fits) return;
    event.preventDefault();
    this.#give(file);
  };

  #give(file, keepProblem = false) {
    const refused = objection(file, this.kind, this.#most);
    if (refused) return this.#problem(refused);
    if (!keepProblem) this.#problem("");
    const held = this.contains(document.activeElement) || document.activeElement === document.body;
    this.#take();
    const upload = new Upload(file, {
      root: new URL(this.getAttribute("uploads") ?? "studio/uploads", document.baseURI).href,
      kind: this.kind,
      onchange: () => this.#changed(upload),
    });
    this.#upload = upload;
    this.#given = new Given(upload, { kind: this.kind, onremove: () => this.clear(), onsay: (words) => this.#say(words) });
    this.#camera?.close();
    this.#show();
    if (held) this.#given.name.focus();
    const { name, size, type, lastModified } = file;
    this.#tell("given", { name, size, type, lastModified });
  }

  #changed(upload) {
    if (upload !== this.#upload) return; // another file has taken its place
    this.#given.update();
    if (upload.state === "ready") this.#tell("ready", this.value);
  }

  /** Take out what is there. */
  #take() {
    const upload = this.#upload;
    this.#upload = null;
    this.#say("");
    upload?.cancel();
    this.#given?.forget();
    this.#given = null;
  }

  #show() {
    const { zone, place, examples, left } = this.#parts;
    const shown = this.#given ?? this.#camera;
    zone.hidden = Boolean(shown);
    place.replaceChildren(...(shown ? [shown.element] : []));
    if (examples) examples.hidden = Boolean(shown);
    if (this.#given) left.hidden = true;
  }

  #openCamera() {
    this.#problem("");
    this.#camera = new Camera(this.kind, {
      most: Number(this.getAttribute("max-seconds")) || LONGEST,
      onfile: (file) => this.#give(file),
      onsay: (words) => this.#say(words),
      onclose: () => this.#cameraClosed(),
    });
    this.#show();
    this.#camera.leave.focus();
  }

  #cameraClosed() {
    const held = this.contains(document.activeElement);
    this.#camera = null;
    this.#show();
    if (held && !this.#given) this.#parts.input.focus();
  }

  async #example({ name, url }) {
    this.#problem("");
    try {
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(String(answer.status));
      const content = await answer.blob();
      const ending = new URL(answer.url).pathname.split(".").at(-1);
      this.#give(new File([content], `${name}.${ending}`, { type: content.type, lastModified: 0 }));
    } catch {
      this.#problem(`The example “${name}” could not be fetched from this page's server. Try again.`);
    }
  }

  #problem(words) {
    this.#parts.problem.textContent = words;
  }

  #say(words) {
    this.#parts.status.textContent = words;
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { bubbles: true, detail }));
  }
}

/** Nothing is dropped there, and its own camera program is better than anything here. */
function handheld() {
  return matchMedia("(pointer: coarse)").matches;
}

function mark(kind) {
  const drawn = {
    video: "M4 7a3 3 0 0 1 3-3h18a3 3 0 0 1 3 3v18a3 3 0 0 1-3 3H7a3 3 0 0 1-3-3zM13 11v10l8-5z",
    image: "M4 7a3 3 0 0 1 3-3h18a3 3 0 0 1 3 3v18a3 3 0 0 1-3 3H7a3 3 0 0 1-3-3zM5 26l8-9 6 6 3-3 5 5M20 11.5h.02",
    sound: "M5 13v6M10 9v14M15 5v22M20 11v10M25 8v16",
  };
  const template = document.createElement("template");
  template.innerHTML = `<svg class="ivi-mark" viewBox="0 0 32 32" aria-hidden="true"><path d="${drawn[kind]}"/></svg>`;
  return template.content;
}

if (!customElements.get("iv-intake")) customElements.define("iv-intake", Intake);
