// <iv-result>: what has become of the run that <iv-run> shows: the studio, the scenes' words, the downloads.
//
// It listens to the document for <iv-run>'s "began", "ended" and "closed", and fetches the result by itself, so that an answer that
// comes late never stands under another run. Its parts' events ("again", "describe", "full", "keep-mix") go on from here as
// "ask" {what, run, …}.

(() => {
  const PAUSE = 3000; // milliseconds until a result that could not be had is asked for again
  const ASKED = ["again", "describe", "full", "keep-mix"];

  class Result extends HTMLElement {
    #run = null;

    connectedCallback() {
      if (!this.firstChild) {
        this.innerHTML = `
          <section class="iv-result" aria-label="The result" hidden>
            <p class="iv-note" role="status" hidden></p>
            <iv-studio></iv-studio><iv-scenes></iv-scenes><div class="iv-links"></div>
          </section>`;
        for (const what of ASKED) this.addEventListener(what, (event) => this.#ask(what, event.detail));
      }
      document.addEventListener("began", this.#began);
      document.addEventListener("ended", this.#ended);
      document.addEventListener("closed", this.#closed);
    }

    disconnectedCallback() {
      document.removeEventListener("began", this.#began);
      document.removeEventListener("ended", this.#ended);
      document.removeEventListener("closed", this.#closed);
    }

    /** The run whose result is shown or waited for; null for none. */
    get run() {
      return this.#run;
    }

    #part(selector) {
      return this.querySelector(selector);
    }

    #began = ({ detail }) => {
      if (detail.run !== this.#run) this.#hide();
    };

    #closed = () => {
      this.#hide();
      this.#part("iv-scenes").data = null;
    };

    #ended = ({ detail }) => {
      if (detail.run === this.#run && !this.#part("section").hidden && this.#part(".iv-note").hidden) return; // it is there
      this.#run = detail.run;
      this.#load(detail.run);
    };

    #hide() {
      this.#run = null;
      this.#part("section").hidden = true;
      this.#part("iv-studio").data = null; // nothing goes on sounding
    }

    async #load(run) {
      let told;
      try {
        const answer = await fetch(`studio/runs/${run}/result`);
        told = await answer.json();
        if (!answer.ok) throw new Error(told.detail);
      } catch (error) {
        if (this.#run !== run) return;
        const why = error instanceof TypeError || error instanceof SyntaxError ? "The result cannot be had just now." : error.message;
        this.#note(`${why} This page tries again.`);
        setTimeout(() => this.#run === run && this.#load(run), PAUSE);
        return;
      }
      if (this.#run !== run) return;
      this.#note("");
      this.#part("iv-studio").data = told.studio;
      this.#part("iv-scenes").data = told.scenes;
      this.#part(".iv-links").innerHTML = told.downloads; // escaped by the server
      this.#part("section").hidden = !told.studio && !told.scenes;
    }

    #note(text) {
      const note = this.#part(".iv-note");
      note.textContent = text;
      note.hidden = !text;
      if (text) this.#part("section").hidden = false;
    }

    #ask(what, detail) {
      this.dispatchEvent(new CustomEvent("ask", { detail: { ...detail, what, run: this.#run } }));
    }
  }

  if (!customElements.get("iv-result")) customElements.define("iv-result", Result);
})();
