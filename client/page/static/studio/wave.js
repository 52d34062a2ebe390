// The waveform: where one is, where the scenes are, and the way to anywhere else. Without peaks, it is a bar.

import { asked, clock, el, spoken, trouble } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 72;
const PITCH = 4; // CSS pixels from bar to bar
const JUMPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };

export class Wave {
  #peaks = null;
  #loudest = 1; // what is drawn as high as there is room
  #seconds;
  #scenes;
  #seek;
  #pictures = [drawing("ivs-all"), drawing("ivs-played")];
  #head = el("div", { class: "ivs-head" });
  #watch = new ResizeObserver(() => this.#draw());

  // seek(seconds); toggle(): play or pause
  constructor({ seconds, scenes, seek, toggle }) {
    this.#seconds = seconds;
    this.#scenes = scenes;
    this.#seek = seek;
    this.slider = el("input", {
      type: "range", min: 0, max: seconds, step: 0.01, value: 0, "aria-label": "Place in the result",
      oninput: () => this.#to(Number(this.slider.value)),
      onkeydown: (event) => this.#key(event, toggle),
    });
    const borders = scenes.map((scene, i) => this.#border(scene, i));
    this.strip = el("div", { class: "ivs-strip" }, ...this.#pictures, ...borders, this.#head, this.slider);
    this.note = el("div", { class: "ivs-note" });
    this.element = el("div", { class: "ivs-wave" }, this.strip, this.note);
    this.#watch.observe(this.strip);
    this.at(0, true);
  }

  close() {
    this.#watch.disconnect();
  }

  async load(url) {
    this.note.replaceChildren();
    if (!url) return;
    const { reachable, ok, status, body } = await asked(url, "GET");
    const again = () => this.load(url);
    if (ok && body?.peaks?.length) {
      this.#peaks = body.peaks;
      this.#loudest = Math.max(0.1, ...body.peaks);
      this.#draw();
    } else if (reachable && status === 404) this.note.append(el("p", {}, body?.detail ?? "There is no waveform for this sound."));
    else this.note.append(trouble(reachable ? body?.detail ?? `The waveform did not load (${status}).` : "The waveform did not load.", again));
  }

  // Where the picture is now. told: also to those who don't see it; while it plays, that would be every moment.
  at(seconds, told) {
    const share = this.#seconds ? Math.min(seconds / this.#seconds, 1) : 0;
    this.#head.style.left = `${share * 100}%`;
    this.#pictures[1].style.clipPath = `inset(0 ${(1 - share) * 100}% 0 0)`;
    if (!told) return;
    this.slider.value = seconds;
    this.slider.setAttribute("aria-valuetext", `${spoken(seconds)} of ${spoken(this.#seconds)}${this.#sceneWords(seconds)}`);
  }

  #sceneWords(seconds) {
    if (this.#scenes.length < 2) return "";
    const number = sceneAt(this.#scenes, seconds) + 1;
    return `, scene ${number} of ${this.#scenes.length}`;
  }

  #border({ start }, i) {
    if (this.#scenes.length < 2) return null;
    const border = el("div", { class: "ivs-border", "aria-hidden": "true" }, el("span", {}, String(i + 1)));
    border.style.left = `${(start / this.#seconds) * 100}%`;
    return border;
  }

  #to(seconds) {
    const place = Math.min(Math.max(seconds, 0), this.#seconds);
    this.#seek(place);
    this.at(place, true);
  }

  // A range's own steps would be hundredths of a second.
  #key(event, toggle) {
    const now = Number(this.slider.value);
    const step = this.#seconds > 60 ? 5 : 1;
    if (event.key in JUMPS) this.#to(now + JUMPS[event.key] * step);
    else if (event.key === "PageUp" || event.key === "PageDown") this.#to(this.#neighbour(now, event.key === "PageUp" ? 1 : -1));
    else if (event.key === "Home" || event.key === "End") this.#to(event.key === "Home" ? 0 : this.#seconds);
    else if (event.key === " ") toggle();
    else return;
    event.preventDefault();
  }

  #neighbour(now, way) {
    if (this.#scenes.length < 2) return now + (way * this.#seconds) / 10;
    const scene = sceneAt(this.#scenes, now);
    // Back goes to the scene's beginning first, as everywhere.
    const back = now - this.#scenes[scene].start > 1 ? scene : scene - 1;
    return this.#scenes[way > 0 ? scene + 1 : back]?.start ?? (way > 0 ? this.#seconds : 0);
  }

  #draw() {
    const width = this.strip.clientWidth;
    if (!width) return;
    const bars = Math.max(1, Math.floor(width / PITCH));
    let path = "";
    for (let i = 0; i < bars; i++) {
      const half = Math.max(1, this.#highest(i / bars, (i + 1) / bars) * (HEIGHT / 2 - 6));
      path += `M${i * PITCH + PITCH / 2} ${(HEIGHT / 2 - half).toFixed(1)}v${(2 * half).toFixed(1)}`;
    }
    for (const picture of this.#pictures) {
      picture.setAttribute("viewBox", `0 0 ${bars * PITCH} ${HEIGHT}`);
      picture.firstChild.setAttribute("d", path);
    }
  }

  #highest(from, to) {
    const peaks = this.#peaks;
    if (!peaks) return 0;
    const first = Math.floor(from * peaks.length);
    return Math.max(...peaks.slice(first, Math.max(first + 1, Math.ceil(to * peaks.length)))) / this.#loudest;
  }
}

export function sceneAt(scenes, seconds) {
  // Seeking lands a little before or behind where it was asked to.
  return Math.max(0, scenes.findLastIndex(({ start }) => start <= seconds + 0.05));
}

// A list of the scenes, each a button that goes there.
export function sceneList(scenes, seek) {
  if (scenes.length < 2) return { element: null, mark: () => {} };
  const items = scenes.map(({ start, end, text }, i) => {
    const times = `${clock(start)}–${clock(end)}`;
    const button = el("button", { type: "button", class: "ivs-scene", onclick: () => seek(start) },
      el("span", { class: "ivs-scene-at" }, `Scene ${i + 1}, ${times}`), el("span", { class: "ivs-scene-text" }, text));
    return el("li", {}, button);
  });
  const mark = (now) => items.forEach((item, i) => {
    if (i === now) item.firstChild.setAttribute("aria-current", "true");
    else item.firstChild.removeAttribute("aria-current");
  });
  return { element: el("ol", { class: "ivs-scenes", "aria-label": "Scenes" }, ...items), mark };
}

function drawing(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", name);
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.append(document.createElementNS(SVG, "path"));
  return svg;
}
