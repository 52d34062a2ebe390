// The player: picture, place, and its controls. It plays nothing by itself: the engine does.

import { asked, clock, draw, el, icon, toggle, trouble } from "./dom.js";
import { Wave, sceneAt, sceneList } from "./wave.js";

export class Player {
  #data;
  #engine;
  #frame = 0;
  #scene = -1;
  #seconds;
  #track = null;
  #sound = { volume: 1, muted: false };
  #told; // volume(linear)
  #fallen = false;
  #buttons = {};

  // media: the picture's element; switcher: the element that chooses what is heard; told(linear): the volume is another
  constructor({ data, media, engine, switcher, told }) {
    this.#data = data;
    this.#engine = engine;
    this.#told = told;
    this.#seconds = data.seconds;
    this.media = media;
    this.#listen();
    this.problem = el("div", { class: "ivs-problem" });
    this.words = el("p", { class: "ivs-described", "aria-live": "polite", hidden: true });
    this.stage = el("div", { class: "ivs-stage", onclick: () => this.toggle() }, media, this.words);
    this.stage.hidden = data.kind !== "video";
    const scenes = data.scenes ?? [];
    const seek = (seconds) => this.seek(seconds);
    this.wave = new Wave({ seconds: data.seconds, scenes, seek, toggle: () => this.toggle() });
    this.list = sceneList(scenes, seek);
    this.element = el("div", { class: "ivs-player" },
      this.stage, this.problem, el("div", { class: "ivs-desk" }, this.wave.element, this.#controls(switcher)));
    if (data.kind !== "video") this.element.prepend(this.words);
    this.wave.load(data.peaks);
    this.#load(data.result.url);
    this.#show();
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.wave.close();
  }

  toggle() {
    if (this.#engine.playing) this.#engine.pause();
    else this.#engine.play();
  }

  seek(seconds) {
    // The very end has no picture to show.
    this.#engine.seek(Math.min(seconds, Math.max(0, this.#length() - 0.05)));
  }

  #length() {
    return Number.isFinite(this.media.duration) ? this.media.duration : this.#seconds;
  }

  // ---- what the picture does

  #listen() {
    const { media } = this;
    const show = () => this.#show();
    for (const event of ["play", "pause", "ended", "seeked", "timeupdate"]) media.addEventListener(event, show);
    media.addEventListener("error", () => this.#failed());
    media.addEventListener("loadedmetadata", () => this.#opened());
    this.#engine.addEventListener("moved", show);
    this.#engine.addEventListener("refused", ({ detail }) => {
      if (detail.name === "NotAllowedError") this.problem.replaceChildren(trouble("The browser did not let it play: press Play again."));
    });
  }

  #load(url) {
    this.problem.replaceChildren();
    this.media.src = url;
  }

  #opened() {
    const blind = this.#data.kind === "video" && !this.#fallen && !this.media.videoWidth;
    if (blind) this.#excuse("This browser cannot show the picture of this file, but plays its sound.");
  }

  async #failed() {
    if (!this.media.getAttribute("src")) return;
    this.#engine.pause();
    const { result, audio } = this.#data;
    const url = this.#fallen ? audio : result.url;
    const there = await asked(url);
    if (!there.ok) {
      const why = there.reachable ? ` (${there.status})` : "";
      this.problem.replaceChildren(trouble(`The result did not load${why}.`, () => this.#load(url)));
    } else if (audio && !this.#fallen) {
      this.#fallen = true;
      this.#load(audio);
      this.#excuse("This browser cannot play this kind of file. Its sound plays here alone.");
    } else this.#excuse("This browser cannot play this kind of file.");
  }

  #excuse(sentence) {
    const { url, name } = this.#data.result;
    const link = el("a", { class: "ivs-button", href: url, download: name ?? "" }, `Download ${name ?? "the result"}`);
    const rest = " The file itself is whole: download it, and play it in another program.";
    this.problem.replaceChildren(el("div", { class: "ivs-trouble", role: "status" }, el("p", {}, sentence + rest), link));
  }

  #show() {
    cancelAnimationFrame(this.#frame);
    const { media } = this;
    const playing = this.#engine.playing;
    if (playing) this.#frame = requestAnimationFrame(() => this.#show());
    const now = media.currentTime;
    const scene = sceneAt(this.#data.scenes ?? [], now);
    this.wave.at(now, !playing || scene !== this.#scene);
    if (scene !== this.#scene) this.list.mark(scene);
    this.#scene = scene;
    const { play, time } = this.#buttons;
    const told = `${clock(now)} / ${clock(this.#seconds)}`;
    if (time.textContent !== told) time.textContent = told;
    if (play.dataset.playing === String(playing)) return;
    play.dataset.playing = String(playing);
    play.setAttribute("aria-label", playing ? "Pause" : "Play");
    draw(play.firstChild, playing ? "pause" : "play");
  }

  // ---- controls

  #controls(switcher) {
    const button = (label, name, onclick, extra = {}) =>
      el("button", { type: "button", class: "ivs-round", "aria-label": label, title: label, onclick, ...extra }, icon(name));
    const play = button("Play", "play", () => this.toggle(), { class: "ivs-round ivs-play" });
    const time = el("span", { class: "ivs-time" });
    const mute = button("Mute", "loud", () => this.#set({ muted: !this.#sound.muted }), { "aria-pressed": "false" });
    const volume = el("input", { type: "range", class: "ivs-volume", min: 0, max: 100, value: 100, "aria-label": "Volume",
      oninput: () => this.#set({ volume: Number(volume.value) / 100, muted: false }) });
    this.#buttons = { play, time, mute, volume };
    const words = this.#data.descriptions && this.#describe(button);
    const large = this.#data.kind === "video" && button("Full screen", "large", () => this.#enlarge());
    return el("div", { class: "ivs-controls" }, play, time, switcher,
      el("div", { class: "ivs-right" }, mute, volume, words || null, large || null));
  }

  #set(change) {
    Object.assign(this.#sound, change);
    const { volume, muted } = this.#sound;
    const { mute } = this.#buttons;
    toggle(mute, muted);
    draw(mute.firstChild, muted || !volume ? "silent" : "loud");
    this.#buttons.volume.setAttribute("aria-valuetext", muted ? "muted" : `${Math.round(volume * 100)} percent`);
    // Loudness is heard by ratios: half way down should sound half as loud.
    const linear = muted ? 0 : volume ** 2;
    this.#engine.volume = linear;
    this.#told(linear);
  }

  // Browsers draw no descriptions themselves; here they are text, which a screen reader reads as it changes.
  #describe(button) {
    const element = el("track", { kind: "descriptions", srclang: "en", label: "Descriptions", src: this.#data.descriptions });
    this.media.append(element);
    const { track } = element;
    const made = button("Descriptions of the scenes", "words", () => {
      const on = this.words.hidden;
      this.words.hidden = !on;
      toggle(made, on);
      track.mode = "hidden"; // loads, and tells its cues
      cues();
    }, { "aria-pressed": "false" });
    const cues = () => {
      // Not `activeCues`: before the first play, no browser has begun to keep those.
      const now = this.media.currentTime;
      const active = [...(track.cues ?? [])].filter((cue) => cue.startTime <= now && now < cue.endTime);
      const text = active.map((cue) => cue.getCueAsHTML().textContent).join(" ");
      if (this.words.textContent !== text) this.words.textContent = text;
    };
    track.addEventListener("cuechange", cues);
    this.media.addEventListener("seeked", cues);
    element.addEventListener("load", cues);
    element.addEventListener("error", () => {
      made.disabled = true;
      this.words.textContent = "The descriptions did not load.";
    });
    return made;
  }

  #enlarge() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.element.requestFullscreen) this.element.requestFullscreen().catch(() => {});
    else this.media.webkitEnterFullscreen?.(); // a phone that enlarges nothing but pictures
  }
}
