// Which upload belongs to which file, in this browser: so that the same file, chosen again after a reload, goes on where it was.

const KEY = "immersivaudio.uploads";
const KEEP = 24 * 3600 * 1000; // ms: as long as the service keeps what is not complete

function print(kind, file) {
  return [kind, file.name, file.size, file.lastModified].join("|");
}

function all() {
  try {
    const kept = Object.entries(JSON.parse(localStorage.getItem(KEY) ?? "{}"));
    return Object.fromEntries(kept.filter(([, one]) => Date.now() - one.at < KEEP));
  } catch {
    return {};
  }
}

function write(uploads) {
  try {
    localStorage.setItem(KEY, JSON.stringify(uploads));
  } catch {
    // Without a memory, the file begins anew after a reload.
  }
}

/** The upload's id, or null. */
export function recall(kind, file) {
  return all()[print(kind, file)]?.id ?? null;
}

export function remember(kind, file, { id, sent }) {
  write({ ...all(), [print(kind, file)]: { id, kind, sent, name: file.name, size: file.size, at: Date.now() } });
}

export function forget(kind, file) {
  const { [print(kind, file)]: gone, ...others } = all();
  write(others);
}

/** The newest upload of this kind that did not come to its end: {name, sent, size}; null where there is none. */
export function unfinished(kind) {
  const left = Object.values(all()).filter((one) => one.kind === kind && one.sent > 0 && one.sent < one.size);
  return left.sort((a, b) => b.at - a.at)[0] ?? null;
}
