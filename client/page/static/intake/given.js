// What was given: its picture or sound, its name and size, and how far it has come on its way.

import { clock, el } from "../studio/dom.js";
import { about, bytes } from "./words.js";

const SAID = [25, 50, 75]; // percent that are said aloud

export class Given {
  #url;
  #facts;
  #said = 0;
  #last = null;

  constructor(upload, { kind, onremove, onsay }) {
    this.upload = upload;
    this.onsay = onsay;
    const { file } = upload;
    this.#url = URL.createObjectURL(file);
    this.#facts = [bytes(file.size)];
    this.name = el("p", { class: "ivi-name", tabindex: "-1" }, file.name);
    this.facts = el("p", { class: "ivi-quiet" }, this.#facts.join(" · "));
    this.progress = el("progress", { class: "ivi-progress", max: file.size, value: 0, "aria-label": `How much of ${file.name} has arrived` });
    this.note = el("p", { class: "ivi-note" });
    this.hold = el("button", { type: "button", class: "ivi-button", onclick: () => this.#held() });
    this.remove = el("button", { type: "button", class: "ivi-button", onclick: onremove });
    this.element = el("div", { class: `ivi-given ivi-given-${kind}` },
      this.#preview(kind),
      el("div", { class: "ivi-about" }, this.name, this.facts, this.progress, this.note, el("div", { class: "ivi-row" }, this.hold, this.remove)));
    this.update();
  }

  /** Give back what the preview holds. */
  forget() {
    this.element.querySelector("video, audio")?.removeAttribute("src");
    URL.revokeObjectURL(this.#url);
  }

  update() {
    const { state, sentence, sent, file, left } = this.upload;
    const percent = Math.floor((100 * sent) / file.size);
    this.progress.value = sent;
    this.progress.hidden = state === "ready" || state === "failed";
    this.element.dataset.state = state;
    this.note.textContent = {
      sending:
        sent === file.size
          ? "All of it is sent. The service is taking it in."
          : `${percent} %: ${bytes(sent)} of ${bytes(file.size)}${left === null ? "" : `, ${about(left)} left`}`,
      waiting: `Waiting at ${percent} %. ${sentence}`,
      paused: `Paused at ${percent} %.`,
      ready: "✓ All of it has arrived.",
      failed: `✗ ${sentence}`,
    }[state] ?? "";
    this.hold.hidden = state === "ready";
    this.hold.textContent = { sending: "Pause", waiting: "Try now", paused: "Go on", failed: "Try again" }[state] ?? "";
    this.remove.textContent = state === "ready" || state === "failed" ? "Remove" : "Cancel";
    this.#speak(state, percent);
  }

  #held() {
    if (this.upload.state === "sending") this.upload.pause();
    else this.upload.again();
  }

  /** In few words, for those who hear the page. */
  #speak(state, percent) {
    const changed = state !== this.#last;
    const before = this.#last;
    this.#last = state;
    const step = SAID.filter((one) => one <= percent).at(-1) ?? 0;
    if (changed && state !== "sending") this.onsay(this.note.textContent.replace(/^[✓✗] /, ""));
    else if (changed && before) this.onsay("Going on.");
    else if (state === "sending" && step > this.#said) this.onsay(`${step} % of the file has arrived.`);
    this.#said = Math.max(this.#said, step);
  }

  #preview(kind) {
    const { file } = this.upload;
    const moving = file.type.startsWith("video/");
    const tag = file.type.startsWith("image/") ? "img" : moving ? "video" : kind === "sound" ? "audio" : kind === "image" ? "img" : "video";
    const shown = el(tag, { src: this.#url, ...(tag === "img" ? { alt: `Preview of ${file.name}` } : { controls: true, preload: "auto", "aria-label": `Preview of ${file.name}` }) });
    if (tag === "video") shown.playsInline = true;
    const frame = el("div", { class: "ivi-preview" }, shown);
    shown.addEventListener("error", () => {
      if (!shown.hasAttribute("src")) return;
      frame.replaceChildren(el("p", { class: "ivi-quiet" }, `This browser cannot ${kind === "sound" ? "play" : "show"} it. That says nothing about what can be made of it.`));
    });
    shown.addEventListener(tag === "img" ? "load" : "loadedmetadata", () => this.#know(shown));
    return frame;
  }

  #know(shown) {
    const [width, height] = [shown.naturalWidth || shown.videoWidth, shown.naturalHeight || shown.videoHeight];
    if (Number.isFinite(shown.duration)) this.#facts.push(clock(shown.duration));
    if (width && height) this.#facts.push(`${width} × ${height}`);
    this.facts.textContent = this.#facts.join(" · ");
  }
}
