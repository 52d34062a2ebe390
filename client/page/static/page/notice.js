// <iv-notice>: a sentence that the page's server has written. What answers a click (inside #iv-notice) comes into sight, and is taken
// away when its cause is over: another run is shown, or none. What says how the service is does neither.

const ANSWERS = "#iv-notice";

class Notice extends HTMLElement {
  connectedCallback() {
    // Once it stands where it belongs.
    if (this.closest(ANSWERS)) requestAnimationFrame(() => this.scrollIntoView({ block: "nearest" }));
  }
}

function clear() {
  document.querySelector(`${ANSWERS} iv-notice:not([data-going])`)?.remove();
}

document.addEventListener("began", clear);
document.addEventListener("closed", clear);

if (!customElements.get("iv-notice")) customElements.define("iv-notice", Notice);
