// What a mixer's settings mean, as numbers: gains to hear, and options of the service that make the same mix.
//
// The service mixes music and sounds, each at its volume, by (1 − rate) with the own sound by rate, and then makes all of it as loud
// as asked. So of the own sound only its ratio to the others counts, rate / (1 − rate): what it is raised by, that ratio is raised by.

const LEAST = -60;
const MOST = 12;
const OPTIONS = { music: "music_volume_db", sounds: "sound_volume_db" };

export const linear = (decibels) => (decibels <= LEAST ? 0 : 10 ** (decibels / 20));

// How the result was mixed: {rate, volumes: {music, sounds}}. What was silent in it has no level to start from: it starts at 0 dB,
// of a rate of 0 or 1 both sides level, and muted.
export function asMade(volumes = {}) {
  const given = volumes.original_rate ?? 0.5;
  const silent = Object.keys(OPTIONS).filter((name) => volumes[name] <= LEAST);
  const level = (name) => (silent.includes(name) ? 0 : (volumes[name] ?? 0));
  const rate = given > 0 && given < 1 ? given : 0.5;
  return { rate, given, silent, volumes: { music: level("music"), sounds: level("sounds") } };
}

export function startsMuted(name, made, hasOriginal) {
  return made.silent.includes(name) || (hasOriginal && (name === "original" ? made.given === 0 : made.given === 1));
}

// settings: [{name, decibels, muted, solo}] → {name: decibels}, of those that are heard
export function audible(settings) {
  const alone = settings.some(({ solo }) => solo);
  const heard = settings.filter(({ solo, muted, decibels }) => (alone ? solo : !muted) && decibels > LEAST);
  return Object.fromEntries(heard.map(({ name, decibels }) => [name, decibels]));
}

export function gains(settings, made) {
  const own = settings.some(({ name }) => name === "original");
  const gain = (name, decibels) =>
    name === "original" ? made.rate * linear(decibels) : (own ? 1 - made.rate : 1) * linear(made.volumes[name] + decibels);
  return Object.fromEntries(Object.entries(audible(settings)).map(([name, decibels]) => [name, gain(name, decibels)]));
}

// Options of the service; null where nothing would be heard.
export function options(settings, made) {
  const heard = audible(settings);
  const generated = Object.keys(OPTIONS).filter((name) => name in heard);
  const own = "original" in heard;
  if (!generated.length && !own) return null;
  const wanted = Object.fromEntries(generated.map((name) => [name, made.volumes[name] + heard[name]]));
  // Above the loudest that the service takes, the others go down instead.
  const excess = Math.max(0, ...Object.values(wanted).map((decibels) => decibels - MOST));
  const chosen = {};
  for (const { name } of settings)
    if (name in OPTIONS) chosen[OPTIONS[name]] = name in wanted ? rounded(Math.max(wanted[name] - excess, LEAST), 1) : LEAST;
  if (settings.some(({ name }) => name === "original")) {
    const ratio = own ? (made.rate / (1 - made.rate)) * linear(heard.original - excess) : 0;
    chosen.original = generated.length ? rounded(ratio / (1 + ratio), 4) : 1;
  }
  return chosen;
}

const rounded = (number, digits) => Number(number.toFixed(digits));
