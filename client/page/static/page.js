// What belongs to the whole page. Light and dark: Gradio follows the system; who chose one keeps it.

import "./page/asking.js";
import "./page/dropping.js";
import "./page/notice.js";

const KEY = "immersivaudio.theme";

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function isDark() {
  return document.body.classList.contains("dark");
}

function apply(dark) {
  document.body.classList.toggle("dark", dark);
  document.documentElement.style.colorScheme = dark ? "dark" : "light";
  for (const button of document.querySelectorAll("iv-theme button")) label(button);
}

function label(button) {
  button.textContent = isDark() ? "Light" : "Dark";
  button.setAttribute("aria-label", `Show the page ${isDark() ? "light" : "dark"}`);
}

class Theme extends HTMLElement {
  connectedCallback() {
    if (this.firstChild) return;
    const asked = new URL(location.href).searchParams.get("__theme") ?? chosen();
    if (asked) apply(asked === "dark");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "iv-button";
    label(button);
    button.addEventListener("click", () => {
      apply(!isDark());
      try {
        localStorage.setItem(KEY, isDark() ? "dark" : "light");
      } catch {
        // Then it holds until the page is closed.
      }
    });
    this.append(button);
  }
}

if (!customElements.get("iv-theme")) customElements.define("iv-theme", Theme);
