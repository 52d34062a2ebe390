// Elements, times and levels, as the studio's parts write them.

const SVG = "http://www.w3.org/2000/svg";

// el("button", {class: "iv-x", onclick: f, hidden: true}, "words", child): words go in as text, never as HTML; null and false not
// at all.
export function el(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") made.toggleAttribute(name, value);
    else if (value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null && child !== false));
  return made;
}

const ICONS = {
  play: "M7 4.6v14.8a.8.8 0 0 0 1.2.7l12-7.4a.8.8 0 0 0 0-1.4l-12-7.4a.8.8 0 0 0-1.2.7z",
  pause: "M6 4h4v16H6zM14 4h4v16h-4z",
  loud: "M4 9v6h4l6 5V4L8 9zM16.5 8.5a5 5 0 0 1 0 7l1.2 1.2a6.7 6.7 0 0 0 0-9.4zM19 6a8.5 8.5 0 0 1 0 12l1.2 1.2a10.2 10.2 0 0 0 0-14.4z",
  silent: "M4 9v6h4l6 5V4L8 9zM22 9.6 20.6 8.2 18.5 10.300l-2.100-2.100L15 9.600l2.100 2.100L15 13.800l1.400 1.400 2.100-2.100 2.100 2.100L22 13.800l-2.100-2.100z",
  large: "M4 4h6v2H6v4H4zM14 4h6v6h-2V6h-4zM4 14h2v4h4v2H4zM18 14h2v6h-6v-2h4z",
  words: "M3 5h18v14H3zm2 2v10h14V7zm2 3h7v2H7zm0 3h10v2H7z",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "path"));
  draw(svg, name);
  return svg;
}

export function draw(svg, name) {
  svg.firstChild.setAttribute("d", ICONS[name]);
}

export function toggle(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

// 75 → "1:15"; 3675 → "1:01:15"
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds + 0.001));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

// 75 → "1 minute 15 seconds"
export function spoken(seconds) {
  const whole = Math.max(0, Math.floor(seconds + 0.001));
  const parts = [[Math.floor(whole / 3600), "hour"], [Math.floor(whole / 60) % 60, "minute"], [whole % 60, "second"]];
  const said = parts.filter(([number]) => number).map(([number, word]) => `${number} ${word}${number === 1 ? "" : "s"}`);
  return said.join(" ") || "0 seconds";
}

// A sentence about something that failed, with a button that tries again.
export function trouble(sentence, again) {
  const button = again && el("button", { type: "button", class: "ivs-button", onclick: again }, "Try again");
  return el("div", { class: "ivs-trouble", role: "alert" }, el("p", {}, sentence), button);
}

// What the server says of an address that did not load: {reachable, status, detail}.
export async function asked(url, method = "HEAD") {
  try {
    const answer = await fetch(url, { method, headers: method === "HEAD" ? {} : { Accept: "application/json" } });
    const body = method === "HEAD" ? null : await answer.json().catch(() => null);
    return { reachable: true, ok: answer.ok, status: answer.status, body };
  } catch {
    return { reachable: false, ok: false, status: 0, body: null };
  }
}
