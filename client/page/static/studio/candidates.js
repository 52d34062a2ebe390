// Candidates side by side. Each starts where the last one stopped, so that one hears the same moment of another.

import { clock, draw, el, icon, trouble } from "./dom.js";

export class Candidates {
  #playing = null; // {audio} that was started last
  #place = 0;
  #linear = 1;
  #started;

  // started(): something here begins to play
  constructor({ candidates, started }) {
    this.#started = started;
    const cards = candidates.map((candidate) => this.#card(candidate, fit(candidate, candidates)));
    this.element = candidates.length
      ? el("section", { class: "ivs-candidates", "aria-label": "Candidates" }, el("h4", {}, "Candidates"), el("ul", {}, ...cards))
      : null;
  }

  stop() {
    this.#playing?.audio.pause();
  }

  volume(linear) {
    this.#linear = linear;
    if (this.#playing) this.#playing.audio.volume = linear;
  }

  #card({ label, chosen, url }, fits) {
    const audio = el("audio", { preload: "none" });
    const picture = icon("play");
    const time = el("span", { class: "ivs-time" }, "0:00");
    const failed = el("div", {});
    const button = el("button", { type: "button", class: "ivs-round", onclick: () => (audio.paused ? play() : audio.pause()) }, picture);
    const show = () => {
      draw(picture, audio.paused ? "play" : "pause");
      button.setAttribute("aria-label", `${audio.paused ? "Play" : "Pause"} ${label}`);
    };
    const play = () => {
      failed.replaceChildren();
      if (!audio.getAttribute("src")) audio.src = url;
      this.#begin(audio);
    };
    audio.addEventListener("play", show);
    audio.addEventListener("pause", show);
    audio.addEventListener("timeupdate", () => {
      time.textContent = clock(audio.currentTime);
      if (this.#playing?.audio === audio) this.#place = audio.ended ? 0 : audio.currentTime;
    });
    audio.addEventListener("error", () => {
      if (!audio.getAttribute("src")) return;
      audio.removeAttribute("src");
      show();
      failed.replaceChildren(trouble("It did not load.", play));
    });
    show();
    return el("li", { class: "ivs-candidate" }, button, el("div", { class: "ivs-words" },
      el("span", { class: "ivs-label" }, label), el("span", { class: "ivs-fit" }, fits),
      chosen ? el("span", { class: "ivs-chosen" }, "In the result") : null, failed), time, audio);
  }

  #begin(audio) {
    const last = this.#playing?.audio;
    if (last && last !== audio) {
      last.pause();
      this.#place = last.ended ? 0 : last.currentTime;
    }
    this.#playing = { audio };
    audio.volume = this.#linear;
    if (Math.abs(audio.currentTime - this.#place) > 0.05) audio.currentTime = this.#place;
    this.#started();
    audio.play().catch(() => {}); // paused at once, or it did not load: "error" tells
  }
}

// A candidate's score in words, among those of the same stem: music-1, music-2 …
function fit({ name, score }, candidates) {
  if (score == null) return "Not judged";
  const stem = name.split("-")[0];
  const scores = candidates.filter((other) => other.name.split("-")[0] === stem).map((other) => other.score ?? -Infinity);
  const best = scores.length > 1 && score === Math.max(...scores);
  return `Fit to its words: ${score.toFixed(2)}${best ? `, the best of ${scores.length}` : ""}`;
}
