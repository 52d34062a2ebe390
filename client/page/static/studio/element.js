// <iv-studio>: the result, to hear and compare.
//
//   element.data = {...}    what it plays (or the attribute `data`, as JSON); null: nothing
//   element.mix             {music_volume_db, sound_volume_db, original} of the mixer as it stands; null: nothing would be heard
//   element.state()         time, what is heard, gains and drifts, for those who look on
//   "keep-mix" {detail: mix}   somebody wants this mix

import { Candidates } from "./candidates.js";
import { el, toggle, trouble } from "./dom.js";
import { Engine } from "./engine.js";
import { Mixer } from "./mixer.js";
import { Player } from "./player.js";

class Studio extends HTMLElement {
  static observedAttributes = ["data"];
  #data = null;
  #parts = null; // {engine, player, mixer, candidates, …} while it is on a page
  #original = false; // whether the original is wanted

  connectedCallback() {
    // What was set before this script was there hides the accessors.
    if (Object.hasOwn(this, "data")) {
      const { data } = this;
      delete this.data;
      this.data = data;
    } else this.#build();
  }

  disconnectedCallback() {
    this.#close();
  }

  attributeChangedCallback(_, before, now) {
    if (now && now !== before) this.data = JSON.parse(now);
  }

  get data() {
    return this.#data;
  }

  set data(given) {
    const same = JSON.stringify(given ?? null) === JSON.stringify(this.#data);
    if (same && this.#parts) return;
    this.#data = given ?? null;
    this.#original = false;
    this.#build();
  }

  get mix() {
    return this.#parts?.mixer?.options ?? null;
  }

  state() {
    if (!this.#parts) return null;
    const { engine, player, mixer } = this.#parts;
    const { currentTime, videoWidth } = player.media;
    return {
      time: currentTime, playing: engine.playing, heard: this.#heard(), picture: videoWidth > 0,
      mixer: Boolean(mixer?.open), ...engine.state(),
    };
  }

  // An AnalyserNode that hears what is heard; null before the first play.
  get tap() {
    return this.#parts?.engine.tap ?? null;
  }

  #close() {
    if (!this.#parts) return;
    const { engine, player, candidates } = this.#parts;
    player.close();
    candidates.stop();
    engine.close();
    this.#parts = null;
    this.replaceChildren();
  }

  #build() {
    this.#close();
    if (!this.isConnected || !this.#data?.result) return;
    const data = this.#data;
    const media = el("video", { playsinline: true, preload: "auto", poster: data.poster, "aria-label": data.title, tabindex: "-1" });
    media.disablePictureInPicture = true; // it would be silent there
    const engine = new Engine(media);
    const candidates = new Candidates({ candidates: data.candidates ?? [], started: () => engine.pause() });
    const parts = (this.#parts = { engine, candidates, note: el("p", { class: "ivs-note", role: "status" }), lost: el("div", {}) });
    parts.player = new Player({ data, media, engine, switcher: this.#switcher(), told: (linear) => candidates.volume(linear) });
    engine.addEventListener("started", () => candidates.stop());
    parts.mixer = data.stems?.length ? this.#mixer(data, engine) : null;
    if (data.original) this.#addOriginal();
    engine.addEventListener("ready", () => this.#hear());
    engine.addEventListener("lost", ({ detail }) => this.#lost(detail));
    this.replaceChildren(el("section", { class: "ivs", "aria-label": `Result: ${data.title}` },
      el("h3", { class: "ivs-title" }, data.title), parts.player.element, parts.note, parts.lost, parts.player.list.element ?? "",
      parts.mixer?.element ?? "", candidates.element ?? ""));
    this.#hear();
  }

  #mixer({ stems, original, volumes }, engine) {
    // One element plays the original for both: alone, and in the mix.
    const named = stems.map((stem) => (stem.name === "original" && original ? { ...stem, url: original } : stem));
    const kept = (mix) => this.dispatchEvent(new CustomEvent("keep-mix", { detail: mix, bubbles: true }));
    return new Mixer({ engine, stems: named, volumes, changed: () => this.#hear(), kept });
  }

  // ---- with sound, or the original

  #switcher() {
    const one = (words, original) =>
      el("button", { type: "button", onclick: () => this.#choose(original), "aria-pressed": String(!original) }, words);
    const [made, original] = [one("With sound", false), one("Original", true)];
    Object.assign(this.#parts, { switches: { made, original } });
    const both = el("div", { class: "ivs-switch", role: "group", "aria-label": "What is heard" }, made, original);
    if (this.#data.compare === false) both.style.display = "none"; // a picture and words have no original
    return both;
  }

  #choose(original) {
    this.#original = original;
    const { switches, note } = this.#parts;
    toggle(switches.made, !original);
    toggle(switches.original, original);
    note.textContent = original && !this.#data.original ? "The original has no sound: this is its silence." : "";
    this.#hear();
  }

  #heard() {
    if (this.#original) return "original";
    return this.#parts.mixer?.ready ? "mix" : "result";
  }

  #hear() {
    const { engine, mixer } = this.#parts ?? {};
    if (!engine) return;
    const heard = this.#heard();
    if (heard === "mix") engine.hear("mixed", mixer.gains);
    else engine.hear("direct", { [heard]: 1 });
  }

  #addOriginal() {
    this.#parts.lost.replaceChildren();
    this.#parts.switches.original.disabled = false;
    this.#parts.engine.add("original", this.#data.original);
    this.#hear();
  }

  #lost(name) {
    this.#hear();
    if (name !== "original" || !this.#data.original) return;
    this.#choose(false);
    this.#parts.switches.original.disabled = true;
    const again = () => this.#addOriginal();
    this.#parts.lost.replaceChildren(trouble("The original's sound did not load, so there is nothing to compare with.", again));
  }
}

if (!customElements.get("iv-studio")) customElements.define("iv-studio", Studio);
