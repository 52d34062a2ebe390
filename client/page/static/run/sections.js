// The sections that a run's strip is made of: HTML, escaped by the server. Where one is replaced, focus and scroll stay.

const FOCUSABLE = "a[href], button, input, select, summary, textarea, [tabindex]";

/** Shows the run's heading, which has a `<h2 tabindex="-1">`. */
export function showHead(head, html) {
  const fresh = head.cloneNode(false);
  fresh.innerHTML = html;
  swap(head, fresh);
}

/** Shows one module's section in the list, where it stands if it is there already. */
export function showModule(list, name, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const fresh = template.content.firstElementChild;
  const old = list.querySelector(`[data-module=${name}]`);
  if (!old) list.append(fresh);
  else if (!moveBars(old, fresh)) swap(old, fresh);
}

/** Whether the two differ in nothing but how far their bars are; then the old one's bars are moved, which a screen reader likes better. */
function moveBars(old, fresh) {
  const [before, after] = [old.querySelectorAll(".iv-bar"), fresh.querySelectorAll(".iv-bar")];
  const words = (item) => [item.className, ...[...item.querySelectorAll("h3, p")].map((one) => one.textContent)].join("\n");
  if (!before.length || before.length !== after.length || words(old) !== words(fresh)) return false;
  before.forEach((bar, index) => {
    bar.querySelector("progress").value = after[index].querySelector("progress").value;
    bar.lastElementChild.textContent = after[index].lastElementChild.textContent;
  });
  return true;
}

function swap(old, fresh) {
  const place = [...old.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  const at = old.querySelector(".iv-frames")?.scrollLeft;
  old.replaceWith(fresh);
  const frames = fresh.querySelector(".iv-frames");
  if (frames && at) frames.scrollLeft = at;
  if (place < 0) return;
  const found = [...fresh.querySelectorAll(FOCUSABLE)];
  (found[place] ?? found.at(-1))?.focus({ preventScroll: true });
}
