// <iv-scenes>: every scene's words, to change, and to make its sound again.
//
//   element.data = {run, rerun_of, scenes: [{start, end, picture, text, music, sounds, music_take, sounds_take}],
//                   music: bool, sounds: bool, described: bool, draft: bool, drafts: bool}
//   "again"     {scene, part: "music" | "sounds" | "both", words: [{music, sounds}, …]}   scene null: all of them
//   "describe"  {scene, text}
//   "full"      {}                        the same without the draft
//
// What was typed and not made yet is carried over when a rerun of the same run is shown.

(() => {
  const PARTS = { music: "Music", sounds: "Sound effects" };
  const WAITING = "changed, and not made yet";
  let made = 0;

  class Scenes extends HTMLElement {
    #data = null;
    #fields = []; // of every scene {music, sounds, text}: <textarea>s

    set data(data) {
      const kept = data && this.#data && data.rerun_of === this.#data.run ? this.#unmade() : [];
      this.#data = data;
      this.#draw();
      for (const { scene, name, value } of kept) this.#carry(scene, name, value);
    }

    get data() {
      return this.#data;
    }

    connectedCallback() {
      if (!this.firstChild) this.#draw();
    }

    #draw() {
      this.replaceChildren();
      this.#fields = [];
      if (!this.#data) return;
      const { scenes, draft, drafts } = this.#data;
      const section = add(this, "section", "iv-scenes");
      section.setAttribute("aria-label", "Change it, and make it again");
      add(section, "h3", "", "Change it, and make it again");
      add(section, "p", "iv-quiet", "Only what follows from your change is made anew. With the same words, another take is made.");
      const all = add(section, "div", "iv-actions");
      if (draft && drafts) this.#button(all, "Make the full version", "full", () => ({}));
      if (scenes.length > 1) this.#allAgain(all); // one scene has these buttons itself
      const list = add(section, "ol", "iv-scene-list");
      scenes.forEach((scene, number) => this.#scene(list, scene, number));
    }

    #allAgain(place) {
      if (this.#parts().length > 1) this.#button(place, "Everything again", "again", () => this.#asked(null, "both"));
      for (const part of this.#parts()) {
        this.#button(place, `All ${PARTS[part].toLowerCase()} again`, "again", () => this.#asked(null, part));
      }
    }

    #parts() {
      return Object.keys(PARTS).filter((part) => this.#data[part]);
    }

    #scene(list, scene, number) {
      const several = this.#data.scenes.length > 1;
      const details = add(add(list, "li"), "details");
      details.open = this.#data.scenes.length <= 3;
      add(details, "summary", "", several ? `Scene ${number + 1}, ${time(scene.start)} to ${time(scene.end)}` : "The words");
      const row = add(details, "div", "iv-scene");
      if (scene.picture) picture(row, scene.picture, several ? `The frame that stands for scene ${number + 1}` : "The chosen frame");
      const words = add(row, "div", "iv-scene-words");
      this.#fields[number] = {};
      for (const part of this.#parts()) {
        const take = scene[`${part}_take`] ? ` (take ${scene[`${part}_take`]})` : "";
        this.#field(words, number, part, `${PARTS[part]}: the whole prompt${take}`, 4000);
      }
      const buttons = add(words, "div", "iv-actions");
      const where = several ? ` of scene ${number + 1}` : "";
      for (const part of this.#parts()) {
        this.#button(buttons, `${PARTS[part]}${where} again`, "again", () => this.#asked(number, part));
      }
      if (this.#parts().length > 1) {
        this.#button(buttons, several ? `Scene ${number + 1} again` : "Both again", "again", () => this.#asked(number, "both"));
      }
      if (this.#data.described) {
        this.#field(words, number, "text", "What the picture shows", 1000);
        const more = add(words, "div", "iv-actions");
        this.#button(more, "Use this description", "describe", () => this.#described(number));
      }
    }

    #field(parent, number, name, label, most) {
      const input = field(parent, label, this.#data.scenes[number][name], most);
      this.#fields[number][name] = input;
    }

    /** What is asked for, with all the words as they stand. */
    #asked(scene, part) {
      const parts = part === "both" ? this.#parts() : [part];
      this.#fields.forEach((fields, number) => {
        if (scene === null || scene === number) for (const one of parts) fields[one].dataset.asked = "true";
      });
      return { scene, part, words: this.#fields.map(({ music, sounds }) => ({ music: music?.value, sounds: sounds?.value })) };
    }

    #described(scene) {
      const input = this.#fields[scene].text;
      input.dataset.asked = "true";
      return { scene, text: input.value };
    }

    #unmade() {
      return this.#fields.flatMap((fields, scene) =>
        Object.entries(fields)
          .filter(([, input]) => input.value !== input.defaultValue && !input.dataset.asked)
          .map(([name, input]) => ({ scene, name, value: input.value })),
      );
    }

    #carry(scene, name, value) {
      const input = this.#fields[scene]?.[name];
      if (!input || input.value === value) return;
      input.value = value;
      input.labels[0].append(` (${WAITING})`);
      input.closest("details").open = true;
    }

    #button(parent, text, kind, detail) {
      const button = add(parent, "button", "iv-button", text);
      button.type = "button";
      button.dataset.asks = "";
      button.addEventListener("click", () => {
        this.dispatchEvent(new CustomEvent(kind, { bubbles: true, detail: detail() }));
      });
    }
  }

  function field(parent, label, value, most) {
    const id = `iv-words-${++made}`;
    const name = add(parent, "label", "", label);
    name.htmlFor = id;
    const input = add(parent, "textarea");
    Object.assign(input, { id, defaultValue: value ?? "", maxLength: most, rows: 3 });
    input.addEventListener("input", () => delete input.dataset.asked);
    return input;
  }

  function picture(parent, address, alt) {
    const image = add(parent, "img");
    Object.assign(image, { src: address, alt, loading: "lazy" });
  }

  function add(parent, tag, kind = "", text = "") {
    const child = document.createElement(tag);
    if (kind) child.className = kind;
    if (text) child.textContent = text;
    parent.append(child);
    return child;
  }

  function time(seconds) {
    const whole = Math.floor(seconds);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}.${Math.floor((seconds % 1) * 10)}`;
  }

  if (!customElements.get("iv-scenes")) customElements.define("iv-scenes", Scenes);
})();
