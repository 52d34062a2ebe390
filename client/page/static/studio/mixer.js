// The mixer: what the sound is made of, each with mute, solo and volume, heard at once. Its sounds load when it is opened.

import { el, toggle, trouble } from "./dom.js";
import { asMade, gains, options, startsMuted } from "./mix.js";

const LEAST = -60;

export class Mixer {
  #engine;
  #stems;
  #made;
  #changed;
  #rows = new Map(); // name → {decibels, muted, solo, show()}
  #panel;
  #keep;
  #said = el("p", { class: "ivs-note", role: "status" });
  open = false;

  // changed(): what should be heard may be another; kept(options)
  constructor({ engine, stems, volumes, changed, kept }) {
    this.#engine = engine;
    this.#stems = stems;
    this.#made = asMade(volumes);
    this.#changed = changed;
    this.#keep = el("button", { type: "button", class: "ivs-button ivs-main", "data-asks": "", onclick: () => kept(this.options) }, "Keep this mix");
    const reset = el("button", { type: "button", class: "ivs-button", onclick: () => this.#reset() }, "As it was made");
    const rows = el("div", { class: "ivs-rows" }, ...stems.map((stem) => this.#row(stem)));
    const ducked = volumes?.ducked && el("p", { class: "ivs-note" },
      "In the result, the generated sound goes down while the original is heard. Here it does not, so that you hear all of it.");
    this.#panel = el("div", { class: "ivs-panel", id: unique(), hidden: true }, rows, ducked,
      el("div", { class: "ivs-actions" }, this.#keep, reset, this.#said));
    this.button = el("button", { type: "button", class: "ivs-fold", "aria-expanded": "false",
      "aria-controls": this.#panel.id, onclick: () => this.#fold() }, "Mixer");
    this.element = el("section", { class: "ivs-mixer", "aria-label": "Mixer" }, this.button, this.#panel);
    engine.addEventListener("lost", ({ detail }) => this.#lost(detail));
  }

  // Whether it is open and its sounds are in step: until then the result is heard.
  get ready() {
    return this.open && this.#engine.ready(this.#stems.map(({ name }) => name));
  }

  // The service's options for this mix; null where nothing would be heard.
  get options() {
    return options(this.#settings(), this.#made);
  }

  get gains() {
    return gains(this.#settings(), this.#made);
  }

  #settings() {
    return this.#stems.map(({ name }) => ({ name, ...this.#rows.get(name) }));
  }

  #fold() {
    this.open = !this.open;
    this.button.setAttribute("aria-expanded", String(this.open));
    this.#panel.hidden = !this.open;
    if (this.open) {
      for (const { name, url } of this.#stems) this.#load(name, url);
      this.#compare();
    }
    this.#show();
  }

  #load(name, url) {
    const row = this.#rows.get(name);
    row.told("loading");
    row.trouble.replaceChildren();
    const element = this.#engine.add(name, url);
    if (element.readyState > 2) row.told("");
    else element.addEventListener("canplay", () => row.told(""), { once: true });
    this.#changed();
  }

  #lost(name) {
    const stem = this.#stems.find((each) => each.name === name);
    if (!stem || !this.open) return;
    const row = this.#rows.get(name);
    row.told("not loaded");
    row.trouble.replaceChildren(trouble(`${stem.label} did not load.`, () => this.#load(name, stem.url)));
  }

  // The balance that the result has, so that the stems together can be made as loud.
  #compare() {
    const own = this.#stems.some(({ name }) => name === "original");
    const asItWas = this.#stems.map(({ name }) =>
      ({ name, decibels: 0, solo: false, muted: startsMuted(name, this.#made, own) }));
    this.#engine.compare(gains(asItWas, this.#made));
  }

  #reset() {
    for (const row of this.#rows.values()) row.reset();
    this.#show();
    this.#said.textContent = "The mixer is as the result was made.";
  }

  #show() {
    this.#said.textContent = this.options ? "" : "Nothing would be heard: unmute something to keep a mix.";
    this.#keep.disabled = !this.options;
    this.#changed();
  }

  #row({ name, label }) {
    const own = this.#stems.some((stem) => stem.name === "original");
    const muted = startsMuted(name, this.#made, own);
    const row = { decibels: 0, muted, solo: false, trouble: el("div", {}) };
    const volume = el("input", { type: "range", min: LEAST, max: 12, step: 0.5, value: 0, "aria-label": `${label}, volume` });
    const shown = el("output", { class: "ivs-db" });
    const told = el("span", { class: "ivs-told" });
    const pressed = (word, key) => el("button", { type: "button", class: "ivs-button ivs-small", "aria-label": `${word} ${label}`,
      onclick: () => { row[key] = !row[key]; changed(); } }, word);
    const [mute, solo] = [pressed("Mute", "muted"), pressed("Solo", "solo")];
    const show = () => {
      toggle(mute, row.muted);
      toggle(solo, row.solo);
      volume.value = row.decibels;
      const level = signed(Number((row.decibels + (this.#made.volumes[name] ?? 0)).toFixed(1)));
      shown.textContent = row.decibels <= LEAST ? "off" : `${level} dB`;
      volume.setAttribute("aria-valuetext", row.decibels <= LEAST ? "off" : `${level} decibels`);
    };
    const changed = () => { show(); this.#show(); };
    volume.addEventListener("input", () => { row.decibels = Number(volume.value); changed(); });
    row.told = (words) => { told.textContent = words; };
    row.reset = () => { Object.assign(row, { decibels: 0, muted, solo: false }); show(); };
    this.#rows.set(name, row);
    show();
    return el("div", { class: "ivs-row", role: "group", "aria-label": label },
      el("span", { class: "ivs-label" }, label, told), mute, solo, volume, shown, row.trouble);
  }
}

const signed = (decibels) => (decibels > 0 ? `+${decibels}` : decibels < 0 ? `−${-decibels}` : "0");

let counted = 0;
const unique = () => `ivs-panel-${++counted}`;
