// <iv-scenes>: every scene's words, to change, and to make its sound again.
//
//   element.data = {scenes: [{start, end, picture, text, music, sounds, music_take, sounds_take}], music: bool, sounds: bool,
//                   described: bool, draft: bool, drafts: bool}
//   "again"     {scene, part: "music" | "sounds" | "both", music, sounds}   scene null: of the whole
//   "describe"  {scene, text}
//   "full"      {}                        the same without the draft

(() => {
  const PARTS = { music: "Music", sounds: "Sound effects" };
  let made = 0;

  class Scenes extends HTMLElement {
    #data = null;

    set data(data) {
      this.#data = data;
      this.#draw();
    }

    get data() {
      return this.#data;
    }

    connectedCallback() {
      if (!this.firstChild) this.#draw();
    }

    /** While a run is being asked for, nothing else may be. */
    set busy(busy) {
      for (const button of this.querySelectorAll("button")) button.disabled = busy;
    }

    #draw() {
      this.replaceChildren();
      if (!this.#data) return;
      const { scenes, draft, drafts } = this.#data;
      const section = add(this, "section", "iv-scenes");
      section.setAttribute("aria-label", "Change it, and make it again");
      add(section, "h3", "", "Change it, and make it again");
      add(section, "p", "iv-quiet", "Only what follows from your change is made anew. With the same words, another take is made.");
      const all = add(section, "div", "iv-actions");
      if (draft && drafts) this.#button(all, "Make the full version", "full", {});
      if (this.#parts().length > 1) this.#button(all, "Everything again", "again", { scene: null, part: "both" });
      for (const part of this.#parts()) {
        this.#button(all, `All ${PARTS[part].toLowerCase()} again`, "again", { scene: null, part });
      }
      const list = add(section, "ol", "iv-scene-list");
      scenes.forEach((scene, number) => this.#scene(list, scene, number));
    }

    #parts() {
      return Object.keys(PARTS).filter((part) => this.#data[part]);
    }

    #scene(list, scene, number) {
      const several = this.#data.scenes.length > 1;
      const details = add(add(list, "li"), "details");
      details.open = this.#data.scenes.length <= 3;
      const told = several ? `Scene ${number + 1}, ${time(scene.start)} to ${time(scene.end)}` : "The words";
      add(details, "summary", "", told);
      const row = add(details, "div", "iv-scene");
      if (scene.picture) {
        const picture = add(row, "img");
        picture.src = scene.picture;
        picture.alt = several ? `The frame that stands for scene ${number + 1}` : "The chosen frame";
        picture.loading = "lazy";
      }
      const words = add(row, "div", "iv-scene-words");
      const fields = {};
      for (const part of this.#parts()) {
        const take = scene[`${part}_take`] ? ` (take ${scene[`${part}_take`]})` : "";
        fields[part] = field(words, `${PARTS[part]}: the whole prompt${take}`, scene[part], 4000);
      }
      const buttons = add(words, "div", "iv-actions");
      const asked = (part) => () => ({
        scene: number, part, music: fields.music?.value ?? "", sounds: fields.sounds?.value ?? "",
      });
      const where = several ? ` of scene ${number + 1}` : "";
      for (const part of this.#parts()) this.#button(buttons, `${PARTS[part]}${where} again`, "again", asked(part));
      if (this.#parts().length > 1) this.#button(buttons, several ? `Scene ${number + 1} again` : "Both again", "again", asked("both"));
      if (this.#data.described) {
        const described = field(words, "What the picture shows", scene.text, 1000);
        const more = add(words, "div", "iv-actions");
        this.#button(more, "Use this description", "describe", () => ({ scene: number, text: described.value }));
      }
    }

    #button(parent, text, kind, detail) {
      const button = add(parent, "button", "iv-button", text);
      button.type = "button";
      button.addEventListener("click", () => {
        const told = typeof detail === "function" ? detail() : detail;
        this.dispatchEvent(new CustomEvent(kind, { bubbles: true, detail: told }));
      });
    }
  }

  function field(parent, label, value, most) {
    const id = `iv-words-${++made}`;
    const name = add(parent, "label", "", label);
    name.htmlFor = id;
    const input = add(parent, "textarea");
    Object.assign(input, { id, value: value ?? "", maxLength: most, rows: 3 });
    return input;
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
