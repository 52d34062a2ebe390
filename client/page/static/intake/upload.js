// A file on its way to the page's server: tus 1.0.0, in parts. What breaks is taken up where the server says that it stands.
//
//   new Upload(file, {root, kind, onchange})   starts at once; `onchange` is called whenever `state` or `sent` is another
//   upload.state      "sending", "waiting" (for a connection, or a busy service), "paused", "ready", "failed" or "cancelled"
//   upload.sentence   why it waits or has failed
//   upload.sent       bytes that have arrived, and while it is sending those on their way

import { forget, recall, remember } from "./memory.js";

const PART = 4 * 2 ** 20;
const PAUSES = [0.5, 1, 2, 4, 8, 15, 30]; // seconds between attempts
const SILENCE = 60_000; // ms without a sign of life after which a connection counts as broken
const GONE = [404, 410];
const OUT_OF_STEP = [409, 460];
// Those, and what a proxy says in the place of a server that is being restarted.
const MENDS = [0, 408, ...OUT_OF_STEP, 425, 429, 500, 502, 503, 504];

export class Upload {
  state = "sending";
  sentence = "";
  sent = 0;
  id = null;
  #offset = null; // null: to be asked for
  #arrived = 0;
  #request = null;
  #wake = null;
  #failures = 0;
  #rate = new Rate();

  constructor(file, { root, kind, onchange }) {
    this.file = file;
    this.root = root;
    this.kind = kind;
    this.onchange = onchange;
    this.#run();
  }

  /** Seconds until all has arrived; null while nobody knows. */
  get left() {
    return this.state === "sending" ? this.#rate.left(this.file.size - this.sent) : null;
  }

  pause() {
    if (!["sending", "waiting"].includes(this.state)) return;
    this.#set("paused");
    this.#request?.abort();
    this.#wake?.();
  }

  /** Go on now: after a pause, while it waits, or after a failure. */
  again() {
    if (!["waiting", "paused", "failed"].includes(this.state)) return;
    const ended = this.state === "failed";
    this.#failures = 0;
    this.#set("sending");
    if (ended) this.#run();
    else this.#wake?.();
  }

  /** Give it up: what has arrived is deleted, or expires. One that is ready is left to whoever was told. */
  async cancel() {
    const unfinished = this.state !== "ready";
    this.#set("cancelled");
    this.#request?.abort();
    this.#wake?.();
    if (!unfinished) return;
    forget(this.kind, this.file);
    if (this.id) await this.#ask("DELETE", this.#path).catch(() => {}); // then it expires
  }

  get #path() {
    return `${this.root}/${this.id}`;
  }

  #set(state, sentence = "") {
    this.state = state;
    this.sentence = sentence;
    this.sent = this.#arrived;
    if (state !== "sending") this.#rate = new Rate();
    this.onchange();
  }

  async #run() {
    const online = () => this.state === "waiting" && this.again();
    addEventListener("online", online);
    this.id ??= recall(this.kind, this.file);
    this.#offset = null;
    while (["sending", "waiting", "paused"].includes(this.state)) {
      try {
        if (this.state === "paused") await this.#sleep();
        else if (!this.id) await this.#begin();
        else if (this.#offset === null) await this.#find();
        else if (this.#offset < this.file.size) await this.#part();
        else this.#complete();
      } catch (error) {
        this.#offset = null;
        if (!(error instanceof Refused)) throw error;
        if (this.state === "sending") await this.#failed(error);
      }
    }
    removeEventListener("online", online);
  }

  async #begin() {
    const headers = { "Upload-Length": String(this.file.size), "Upload-Metadata": `filename ${base64(this.file.name)}` };
    const answer = await this.#ask("POST", this.root, headers);
    const found = /([0-9a-f]{32})\/?$/.exec(answer.getResponseHeader("Location") ?? "");
    if (!found) throw new Refused(-1, "The page's server took the file and does not say where it is.");
    this.id = found[1];
    this.#stands(0);
  }

  async #find() {
    const answer = await this.#ask("HEAD", this.#path);
    if (number(answer, "Upload-Length") !== this.file.size) throw new Refused(404, "");
    this.#stands(number(answer, "Upload-Offset"));
  }

  async #part() {
    const start = this.#offset;
    let body;
    try {
      body = await this.file.slice(start, start + PART).arrayBuffer();
    } catch {
      throw new Refused(-1, "The file cannot be read any more: it was changed, moved or deleted. Choose it again.");
    }
    if (this.state !== "sending") return; // paused meanwhile
    const headers = { "Upload-Offset": String(start), "Content-Type": "application/offset+octet-stream" };
    const answer = await this.#ask("PATCH", this.#path, headers, body, (loaded) => this.#sending(start + loaded));
    this.#failures = 0;
    this.#stands(number(answer, "Upload-Offset"));
  }

  #complete() {
    // From here on the service may delete it together with the runs made of it, and the file has to be sent anew then.
    forget(this.kind, this.file);
    this.#set("ready");
  }

  #sending(sent) {
    if (this.state !== "sending") return;
    this.sent = sent;
    this.#rate.see(sent);
    this.onchange();
  }

  #stands(offset) {
    this.#offset = this.#arrived = this.sent = offset;
    this.#rate.see(offset);
    remember(this.kind, this.file, { id: this.id, sent: offset });
    this.onchange();
  }

  async #failed(error) {
    this.#failures += 1;
    if (GONE.includes(error.status) && this.id && this.#failures < 3) {
      // It has expired, or was deleted: once more from the beginning.
      forget(this.kind, this.file);
      this.id = null;
      this.#arrived = this.sent = 0;
    } else if (!MENDS.includes(error.status)) {
      this.#set("failed", error.message);
    } else if (!OUT_OF_STEP.includes(error.status) || this.#failures > 2) {
      this.#set("waiting", navigator.onLine ? error.message : "You are offline. It goes on when you are back.");
      await this.#sleep(error.after ?? PAUSES[Math.min(this.#failures, PAUSES.length) - 1]);
      if (this.state === "waiting") this.#set("sending");
    }
  }

  /** Until somebody calls #wake, or so many seconds have passed. */
  #sleep(seconds = null) {
    return new Promise((resolve) => {
      const timer = seconds === null ? null : setTimeout(resolve, seconds * 1000);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** The answer to a request; Refused, with the server's own sentence, where there is none or it is a no. */
  #ask(method, url, headers = {}, body = null, onprogress = null) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      let timer = null;
      const alive = () => {
        clearTimeout(timer);
        timer = setTimeout(() => request.abort(), SILENCE);
      };
      request.open(method, url);
      for (const [name, value] of Object.entries({ "Tus-Resumable": "1.0.0", ...headers })) request.setRequestHeader(name, value);
      if (onprogress) request.upload.onprogress = (event) => (alive(), onprogress(event.loaded));
      request.onloadend = () => {
        clearTimeout(timer);
        if (request.status >= 200 && request.status < 300) resolve(request);
        else reject(refusal(request));
      };
      if (method !== "DELETE") this.#request = request;
      alive();
      request.send(body);
    });
  }
}

class Refused extends Error {
  constructor(status, sentence, after = null) {
    super(sentence);
    this.status = status;
    this.after = after;
  }
}

function refusal(request) {
  if (request.status === 0) return new Refused(0, "The connection to the page's server is lost. It goes on when it is back.");
  const after = Number.parseInt(request.getResponseHeader("Retry-After") ?? "", 10);
  return new Refused(request.status, detail(request), Number.isNaN(after) ? null : Math.min(after, 30));
}

function detail(request) {
  try {
    const told = JSON.parse(request.responseText).detail;
    if (typeof told === "string" && told) return told;
  } catch {
    // Not the page's own answer, or one to HEAD.
  }
  return request.status >= 500
    ? "The service does not answer just now. It goes on when it is back."
    : `The page's server refused the file (${request.status}).`;
}

function number(answer, header) {
  const told = answer.getResponseHeader(header) ?? "";
  if (!/^\d+$/.test(told)) throw new Refused(-1, "The page's server gave an answer that makes no sense here.");
  return Number(told);
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text.toWellFormed?.() ?? text)));
}

/** How fast it goes, over the last few seconds. */
class Rate {
  #seen = [];

  see(sent) {
    const now = performance.now();
    this.#seen.push([now, sent]);
    while (this.#seen.length > 2 && now - this.#seen[0][0] > 8000) this.#seen.shift();
  }

  left(rest) {
    const [first, last] = [this.#seen[0], this.#seen.at(-1)];
    if (!first || last[0] - first[0] < 1500 || last[1] <= first[1]) return null;
    return (rest * (last[0] - first[0])) / (last[1] - first[1]) / 1000;
  }
}
