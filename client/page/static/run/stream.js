// A run's stream of Server-Sent Events, followed to its end, whatever breaks it off meanwhile.
//
//   new Stream(run, hear)   hear: {strip, waiting, ended, problem} with what the server says, and
//     hear.lost()           nothing has come for a while: the page's server is away, or the network
//     hear.refused()        whoever is here is not signed in any more; nothing further is tried
//   stream.retry()          at once, if it has been given up for now: the network is back, the screen is on again
//   stream.close()          nothing is heard of it any more

const KINDS = ["strip", "waiting", "ended", "problem"];
const PAUSES = { first: 2000, longest: 30_000 }; // milliseconds, each twice as long as the one before
const PATIENCE = 3000; // milliseconds: a stream that is back by then is worth no word

export class Stream {
  #run;
  #hear;
  #source = null;
  #over = false;
  #pause = PAUSES.first;
  #next = null;
  #late = null;
  #explained = false; // the server has said itself what is wrong

  constructor(run, hear) {
    this.#run = run;
    this.#hear = hear;
    this.#open();
  }

  retry() {
    if (!this.#over && this.#source.readyState === EventSource.CLOSED) this.#open();
  }

  close() {
    this.#over = true;
    clearTimeout(this.#next);
    this.#inTime();
    this.#source.close();
  }

  #open() {
    clearTimeout(this.#next);
    this.#source?.close();
    const source = new EventSource(`studio/runs/${this.#run}/events`);
    this.#source = source;
    source.onopen = () => this.#inTime();
    source.onerror = () => this.#broken(source);
    for (const kind of KINDS) source.addEventListener(kind, (event) => this.#heard(kind, JSON.parse(event.data)));
  }

  #heard(kind, told) {
    if (this.#over) return;
    if (kind === "strip") {
      this.#explained = false;
      this.#pause = PAUSES.first;
    } else if (kind === "problem") this.#explained = true;
    if (kind === "ended" || (kind === "problem" && !told.again)) this.close();
    this.#hear[kind](told);
  }

  async #broken(source) {
    if (this.#over || source !== this.#source) return;
    if (!this.#explained) this.#late ??= setTimeout(() => this.#hear.lost(), PATIENCE);
    if (source.readyState !== EventSource.CLOSED) return; // the browser asks again by itself
    // It does not after an answer that is no stream, and does not say which answer that was.
    const status = await fetch(`studio/runs/${this.#run}/record`).then((answer) => answer.status, () => 0);
    if (this.#over || source !== this.#source) return;
    if (status === 401) {
      this.close();
      this.#hear.refused();
      return;
    }
    this.#next = setTimeout(() => this.#open(), this.#pause);
    this.#pause = Math.min(2 * this.#pause, PAUSES.longest);
  }

  #inTime() {
    clearTimeout(this.#late);
    this.#late = null;
  }
}
