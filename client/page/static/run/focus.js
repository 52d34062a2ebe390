// Where the keyboard goes when what it stood on is taken away.

const TYPED_INTO = "textarea, [contenteditable], input:is(:not([type]), [type=text], [type=search], [type=number], [type=password])";

/** Where the focus is; null where it is nowhere. */
export function focused() {
  const found = document.activeElement;
  return found === document.body ? null : found;
}

/** Whether somebody is writing: then the focus is left where it is. */
export function typing() {
  return focused()?.matches(TYPED_INTO) ?? false;
}

/** Back to what had opened something, or else to the tab that is open. */
export function giveBack(opener) {
  const there = opener?.isConnected && opener.checkVisibility();
  (there ? opener : document.querySelector("[role=tab][aria-selected=true]"))?.focus();
}
