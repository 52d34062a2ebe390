// The camera of this machine: a live picture, and a file made of it. It is asked for when somebody opens this, and not before.
//
//   const camera = new Camera("video" | "image", {onfile, onclose, onsay, most});   camera.element
//   camera.close()

import { clock, el } from "../studio/dom.js";

const FORMATS = [
  ["video/mp4;codecs=avc1.42E01F", "mp4"],
  ["video/webm;codecs=vp9", "webm"],
  ["video/webm;codecs=vp8", "webm"],
  ["video/webm", "webm"],
];
const TROUBLES = {
  NotAllowedError: "The camera may not be used: the browser or the system says no. Allow it beside the page's address, or choose a file.",
  NotFoundError: "There is no camera here. Choose a file instead.",
  NotReadableError: "The camera is in use by another program. Close that, and try again.",
};
const NO_CAMERA = "This browser gives pages no camera: it does so only over https, or on the machine itself. Choose a file instead.";

export class Camera {
  #stream = null;
  #recorder = null;
  #timer = null;
  #closed = false;

  /** most: seconds that a recording may last. */
  constructor(kind, { onfile, onclose, onsay, most }) {
    this.kind = kind;
    this.most = most;
    this.onfile = onfile;
    this.onclose = onclose;
    this.onsay = onsay;
    this.view = el("video", { class: "ivi-live", "aria-label": "What the camera sees", hidden: true });
    Object.assign(this.view, { muted: true, autoplay: true, playsInline: true });
    this.shutter = el("button", { type: "button", class: "ivi-button ivi-main", hidden: true, onclick: () => this.#shoot() });
    this.shutter.textContent = kind === "video" ? "Start recording" : "Take the photograph";
    this.leave = el("button", { type: "button", class: "ivi-button", onclick: () => this.close() }, "Close the camera");
    this.time = el("p", { class: "ivi-time", hidden: true });
    this.told = el("p", { class: "ivi-quiet", role: "alert" }, "");
    const hint = kind === "video" ? `The picture alone, without sound; up to ${clock(most)}.` : "";
    this.hint = el("p", { class: "ivi-quiet" }, "The browser asks whether this page may use the camera.");
    this.element = el("div", { class: "ivi-camera", role: "group", "aria-label": "Camera" },
      this.view, this.time, this.hint, this.told, el("div", { class: "ivi-row" }, this.shutter, this.leave));
    this.#open(hint);
  }

  close() {
    this.#closed = true;
    clearInterval(this.#timer);
    if (this.#recorder) this.#recorder.onstop = null;
    if (this.#recorder?.state === "recording") this.#recorder.stop();
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.onclose();
  }

  async #open(hint) {
    try {
      if (!navigator.mediaDevices?.getUserMedia) throw new Error(NO_CAMERA);
      const wanted = { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 720 } };
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
    } catch (error) {
      this.hint.hidden = true;
      this.told.textContent = TROUBLES[error.name] ?? (error.message === NO_CAMERA ? NO_CAMERA : TROUBLES.NotFoundError);
      return;
    }
    if (this.#closed) {
      this.#stream.getTracks().forEach((track) => track.stop());
      return;
    }
    this.hint.textContent = hint;
    this.view.srcObject = this.#stream;
    this.view.hidden = this.shutter.hidden = false;
    this.shutter.focus();
  }

  #shoot() {
    if (this.kind === "image") this.#photograph();
    else if (this.#recorder) this.#recorder.stop();
    else this.#record();
  }

  #photograph() {
    const { videoWidth: width, videoHeight: height } = this.view;
    if (!width) return; // not a single picture yet
    const canvas = el("canvas", { width, height });
    canvas.getContext("2d").drawImage(this.view, 0, 0);
    canvas.toBlob((picture) => this.#give([picture], "photograph", "jpg", "image/jpeg"), "image/jpeg", 0.92);
  }

  #record() {
    const [type, ending] = FORMATS.find(([one]) => MediaRecorder.isTypeSupported(one)) ?? ["", "webm"];
    const pieces = [];
    const recorder = new MediaRecorder(this.#stream, { mimeType: type, videoBitsPerSecond: 5_000_000 });
    this.#recorder = recorder;
    recorder.ondataavailable = (event) => pieces.push(event.data);
    recorder.onstop = () => this.#give(pieces, "recording", ending, type.split(";")[0]);
    recorder.start(1000);
    const began = performance.now();
    this.shutter.textContent = "Stop recording";
    this.leave.textContent = "Discard";
    this.time.hidden = false;
    this.onsay("Recording.");
    const tick = () => {
      const seconds = (performance.now() - began) / 1000;
      this.time.textContent = `● Recording ${clock(seconds)} of ${clock(this.most)}`;
      if (seconds >= this.most && recorder.state === "recording") recorder.stop();
    };
    tick();
    this.#timer = setInterval(tick, 250);
  }

  #give(pieces, name, ending, type) {
    const now = new Date(Date.now() - new Date().getTimezoneOffset() * 60_000).toISOString();
    const stamp = now.slice(0, 19).replace("T", " ").replaceAll(":", ".");
    this.onfile(new File(pieces, `${name} ${stamp}.${ending}`, { type }));
    this.close();
  }
}
