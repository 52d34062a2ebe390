// Who clicks twice asks once. What asks the service for a run has the attribute `data-asks` or the class `iv-make`; from the first
// click until there is an answer, further ones are stopped.
//
// There is an answer when a run begins to be shown, or when the page's notice says how it was (a notice with `data-going` does not:
// the service is still being asked, which its button `data-stop` ends). Without any word it is given up after a while.

const ASKS = "[data-asks], .iv-make";
const LONGEST = 30_000; // milliseconds
const page = document.documentElement;

let asker = null;
let marked = [];
let expiry = null;
let waited = false;

const watch = new MutationObserver(() => {
  if (going()) {
    waited = true;
    clearTimeout(expiry); // it may last, and can be stopped
  } else if (waited || notice()?.querySelector("iv-notice")) answered(); // Gradio has words of its own in there
  // Else the words of before were taken away, and there is no answer yet.
});

function notice() {
  return document.querySelector("#iv-notice");
}

function going() {
  return notice()?.querySelector("[data-going]") ?? null;
}

function asking(button) {
  asker = button;
  waited = false;
  page.dataset.asking = "";
  marked = [...document.querySelectorAll(ASKS)].filter((one) => !one.hasAttribute("aria-disabled"));
  for (const one of marked) one.setAttribute("aria-disabled", "true");
  if (notice()) watch.observe(notice(), { childList: true, subtree: true, characterData: true, attributes: true });
  expiry = setTimeout(answered, LONGEST);
}

function answered() {
  delete page.dataset.asking;
  for (const one of marked) one.removeAttribute("aria-disabled");
  marked = [];
  watch.disconnect();
  clearTimeout(expiry);
}

function stop(button) {
  document.querySelector("#iv-stop button, button#iv-stop")?.click();
  const held = button === document.activeElement;
  answered();
  button.closest("[data-going]")?.remove(); // the server's own word may never come
  if (held) asker?.focus();
}

document.addEventListener(
  "click",
  (event) => {
    const stops = event.target.closest?.("[data-stop]");
    const asks = event.target.closest?.(ASKS);
    if (stops) stop(stops);
    else if (!asks) return;
    else if ("asking" in page.dataset) {
      event.preventDefault();
      event.stopImmediatePropagation();
    } else asking(asks);
  },
  true,
);

document.addEventListener("began", () => {
  if (!going()) answered(); // else another run was opened meanwhile
});
