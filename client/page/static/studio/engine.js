// What is heard: the picture's element is the clock, every other sound follows it, all of them run, and only gains change.
//
//   source → meter → direct → out → volume → tap → speakers      one of the sounds alone
//                  → mixed → bus → limiter → trim → out          stems together, as loud as the result

const RAMP = 0.005; // time constant in seconds: 95 % after 15 ms
const TICK = 150; // ms between two looks at the drift
const NEAR = 0.012; // seconds that nobody hears
const FAR = 0.16; // seconds beyond which it is quicker to seek
const FAR_SILENT = 0.05; // of a sound that is not heard, so that a seek is not heard either
const NUDGE = 0.01; // most that a heard sound runs faster or slower: a sixth of a semitone
const IN_STEP = 0.03; // seconds that are near enough to begin to hear a sound
const NUDGE_SILENT = 0.2;
const MOST_MAKE_UP = 24; // dB
// DynamicsCompressorNode raises what it lets through; this is its inverse for the settings below.
const LIMITER = { threshold: -4, knee: 0, ratio: 20, attack: 0.002, release: 0.12 };
const TRIM = 10 ** ((0.6 * LIMITER.threshold * (1 - 1 / LIMITER.ratio)) / 20);

export class Engine extends EventTarget {
  #context = null;
  #tracks = new Map(); // name → {element, gains: {direct, mixed}, nodes, ready}
  #timer = null;
  #bus = {};
  #volume = 1;
  #heardSquare = 0;
  #madeSquare = 0;
  #ticks = 0; // for which all stems have run
  #reference = null; // stems' gains in the result as it is, by name
  #on = new AbortController();

  constructor(picture) {
    super();
    this.picture = picture;
    this.#tracks.set("result", { element: picture, gains: { direct: 1, mixed: 0 }, ready: true });
    const { signal } = this.#on;
    const follow = () => this.#follow();
    for (const event of ["play", "playing", "seeked", "pause", "ended", "seeking", "waiting"])
      picture.addEventListener(event, follow, { signal });
  }

  // ---- what there is

  // A sound beside the picture's own. It loads now.
  add(name, url) {
    if (this.#tracks.has(name)) return this.#tracks.get(name).element;
    const element = new Audio();
    element.preload = "auto";
    element.preservesPitch = false;
    const track = { element, gains: { direct: 0, mixed: 0 }, ready: false };
    this.#tracks.set(name, track);
    const { signal } = this.#on;
    element.addEventListener("canplay", () => this.#follow(), { signal });
    element.addEventListener("error", () => this.#lost(name), { signal });
    element.src = url;
    if (this.#context) this.#connect(track);
    return element;
  }

  // Whether these have loaded and been in step with the picture; what did not load is not waited for.
  ready(names) {
    return names.every((name) => this.#tracks.get(name)?.ready ?? true);
  }

  #settle(track) {
    if (track.ready) return;
    track.ready = true;
    this.dispatchEvent(new Event("ready"));
  }

  #lost(name) {
    const track = this.#tracks.get(name);
    this.#tracks.delete(name);
    silence(track.element);
    for (const node of Object.values(track.nodes ?? {})) node.disconnect();
    this.dispatchEvent(new CustomEvent("lost", { detail: name }));
  }

  close() {
    this.#on.abort();
    clearInterval(this.#timer);
    for (const { element } of this.#tracks.values()) silence(element);
    this.#context?.close();
    this.#context = null;
  }

  // ---- what is heard

  // gains: {name: linear gain}; way: "direct" (alone) or "mixed" (together). What is not named falls silent.
  hear(way, gains) {
    for (const [name, track] of this.#tracks)
      for (const each of ["direct", "mixed"]) {
        track.gains[each] = each === way ? (gains[name] ?? 0) : 0;
        this.#ramp(track.nodes?.[each]?.gain, track.gains[each]);
      }
  }

  // Gains at which the stems stand in the result, so that together they are as loud as it is.
  compare(gains) {
    this.#reference = gains;
    this.#heardSquare = this.#madeSquare = 0;
  }

  set volume(linear) {
    this.#volume = linear;
    this.#ramp(this.#bus.volume?.gain, linear);
  }

  #ramp(parameter, value) {
    if (!parameter) return;
    const now = this.#context.currentTime;
    parameter.cancelScheduledValues(now);
    parameter.setTargetAtTime(value, now, RAMP);
  }

  // ---- running

  get playing() {
    return !this.picture.paused && !this.picture.ended;
  }

  // Browsers allow sound only after a click or a key, so this is the first time that there is a context.
  async play() {
    this.dispatchEvent(new Event("started"));
    if (this.picture.ended) this.picture.currentTime = 0;
    this.#wake();
    try {
      await Promise.all([this.#context.resume(), this.picture.play()]);
    } catch (error) {
      if (error.name !== "AbortError") this.dispatchEvent(new CustomEvent("refused", { detail: error }));
    }
  }

  pause() {
    this.picture.pause();
  }

  seek(seconds) {
    this.picture.currentTime = seconds;
  }

  #wake() {
    if (this.#context) return;
    const context = (this.#context = new AudioContext({ latencyHint: "playback" }));
    const gain = (value) => new GainNode(context, { gain: value });
    const bus = (this.#bus = {
      mixed: gain(1), limiter: new DynamicsCompressorNode(context, LIMITER), trim: gain(TRIM),
      volume: gain(this.#volume), tap: new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 }),
    });
    bus.mixed.connect(bus.limiter).connect(bus.trim).connect(bus.volume).connect(bus.tap).connect(context.destination);
    for (const track of this.#tracks.values()) this.#connect(track);
  }

  #connect(track) {
    const context = this.#context;
    const source = context.createMediaElementSource(track.element);
    const meter = new AnalyserNode(context, { fftSize: 2048 });
    const direct = new GainNode(context, { gain: track.gains.direct });
    const mixed = new GainNode(context, { gain: track.gains.mixed });
    source.connect(meter);
    meter.connect(direct).connect(this.#bus.volume);
    meter.connect(mixed).connect(this.#bus.mixed);
    track.nodes = { source, meter, direct, mixed };
  }

  // ---- in step

  *#followers() {
    for (const [name, track] of this.#tracks) if (name !== "result") yield [name, track];
  }

  #follow() {
    const { picture } = this;
    const runs = !picture.paused && !picture.seeking && picture.readyState > 2;
    for (const [, track] of this.#followers()) {
      if (runs) start(track.element, picture);
      else stop(track.element, picture);
      if (!runs && track.element.readyState > 2) this.#settle(track);
    }
    if (runs && !this.#timer) this.#timer = setInterval(() => this.#look(), TICK);
    if (!runs) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
    this.dispatchEvent(new Event("moved"));
  }

  #look() {
    for (const [, track] of this.#followers()) {
      const ahead = keepInStep(track, this.picture);
      if (Math.abs(ahead) < IN_STEP) this.#settle(track);
    }
    this.#level();
  }

  // Stems are as they were made, and the result is as loud as was asked: the same balance at another level.
  #level() {
    if (!this.#reference || !this.#context) return;
    const square = (track) => meanSquare(track.nodes.meter);
    const names = Object.keys(this.#reference).filter((name) => this.#tracks.has(name));
    if (names.some((name) => this.#tracks.get(name).element.paused)) this.#ticks = 0;
    // The meters look back.
    if (++this.#ticks < 3) return;
    this.#heardSquare += square(this.#tracks.get("result"));
    for (const name of names) this.#madeSquare += this.#reference[name] ** 2 * square(this.#tracks.get(name));
    if (this.#heardSquare < 1e-7 || this.#madeSquare < 1e-7) return;
    const most = 10 ** (MOST_MAKE_UP / 20);
    const makeUp = Math.sqrt(this.#heardSquare / this.#madeSquare);
    this.#ramp(this.#bus.mixed.gain, Math.min(Math.max(makeUp, 1 / most), most));
  }

  // ---- for who looks on

  // Hears what is heard, behind the volume. Null before the first play.
  get tap() {
    return this.#bus.tap ?? null;
  }

  state() {
    const gains = {}, drift = {};
    for (const [name, { element, gains: wanted, nodes }] of this.#tracks) {
      gains[name] = { ...wanted, now: nodes ? nodes.direct.gain.value + nodes.mixed.gain.value : 0 };
      if (name !== "result") drift[name] = element.currentTime - this.picture.currentTime;
    }
    return { gains, drift, makeUp: this.#bus.mixed?.gain.value ?? 1, volume: this.#volume };
  }
}

// By how many seconds the sound is ahead; it does something about that. Infinity where it does not run.
function keepInStep({ element, gains }, picture) {
  if (element.seeking || element.readyState < 3) return Infinity;
  if (picture.currentTime >= element.duration) return 0;
  if (element.paused) start(element, picture);
  const heard = gains.direct + gains.mixed > 0;
  const ahead = element.currentTime - picture.currentTime;
  if (Math.abs(ahead) > (heard ? FAR : FAR_SILENT)) {
    element.currentTime = picture.currentTime;
    element.playbackRate = picture.playbackRate;
    return ahead;
  }
  const most = heard ? NUDGE : NUDGE_SILENT;
  const nudge = Math.abs(ahead) < NEAR ? 0 : Math.min(Math.max(ahead / 1.5, -most), most);
  element.playbackRate = picture.playbackRate * (1 - nudge);
  return ahead;
}

function start(element, picture) {
  if (!element.paused || element.readyState < 3 || picture.currentTime >= element.duration) return;
  if (Math.abs(element.currentTime - picture.currentTime) > NEAR) element.currentTime = picture.currentTime;
  element.play().catch(() => {}); // it was paused again meanwhile
}

function stop(element, picture) {
  element.pause();
  if (picture.seeking) return; // it may go on to seek: one is dragged over many moments
  if (Math.abs(element.currentTime - picture.currentTime) > NEAR && element.readyState > 0)
    element.currentTime = picture.currentTime;
}

function silence(element) {
  element.pause();
  element.removeAttribute("src");
  element.load();
}

const samples = new Float32Array(2048);

function meanSquare(meter) {
  meter.getFloatTimeDomainData(samples);
  return samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
}
