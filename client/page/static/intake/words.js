// What each kind of intake takes, and how it says so.

const FILMS = ["mp4", "m4v", "mov", "mkv", "webm", "avi", "mts", "m2ts", "ts", "mpg", "mpeg", "wmv", "flv", "ogv", "3gp", "mxf"];
const MOVING = ["gif", "webp", "apng"]; // pictures that may move

export const KINDS = {
  video: {
    drop: "Drop a video here",
    taken: "videos (MP4, MOV, MKV, WebM and others)",
    what: "a video",
    accept: ["video/*", ".mkv", ".mts", ".m2ts", ".mxf", ".gif", ".webp", ".apng"],
    types: /^(video\/|image\/(gif|webp|apng)$|application\/(ogg|mxf|x-matroska)$)/,
    endings: [...FILMS, ...MOVING],
    record: "Record with the camera",
  },
  image: {
    drop: "Drop a picture here",
    taken: "pictures (JPEG, PNG, WebP, HEIC, TIFF and others)",
    what: "a picture",
    accept: ["image/*", ".heic", ".heif", ".avif"],
    types: /^image\//,
    endings: ["jpg", "jpeg", "png", "webp", "heic", "heif", "avif", "tif", "tiff", "bmp", "gif"],
    record: "Take a photograph",
  },
  sound: {
    drop: "Drop a sound here",
    taken: "sounds, and videos that have one (MP3, WAV, FLAC, MP4 and others)",
    what: "a sound",
    accept: ["audio/*", "video/*", ".flac", ".opus", ".mkv"],
    types: /^(audio\/|video\/|application\/(ogg|x-matroska)$)/,
    endings: ["mp3", "wav", "flac", "ogg", "opus", "m4a", "aac", "aif", "aiff", "wma", ...FILMS],
    record: null,
  },
};

export const SOUND_BYTES = 16 * 2 ** 20;

/** Why this file is not sent; null where it may be. What nobody knows is for the service to judge. */
export function objection(file, kind, most) {
  const { types, endings, taken, what } = KINDS[kind];
  if (file.size === 0) return `${file.name} is empty: there is nothing in it.`;
  if (most && file.size > most) return `${file.name} is too large: it has ${bytes(file.size)}, and ${bytes(most)} are taken.`;
  const ending = file.name.toLowerCase().split(".").at(-1);
  const unknown = !file.type || file.type === "application/octet-stream";
  if (endings.includes(ending) || unknown || types.test(file.type)) return null;
  return `${file.name} is not ${what}. Taken are ${taken}.`;
}

/** 1536 → "1.5 KB" */
export function bytes(count) {
  const units = ["bytes", "KB", "MB", "GB"];
  const unit = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), units.length - 1);
  const value = count / 1024 ** unit;
  return `${unit && value < 100 ? Number(value.toFixed(1)) : Math.round(value)} ${units[unit]}`;
}

/** 83 → "about 1 min 20 s" */
export function about(seconds) {
  if (seconds < 59.5) return `about ${Math.max(1, Math.round(seconds))} s`;
  const tens = Math.round(seconds / 10);
  if (tens < 360) return `about ${Math.floor(tens / 6)} min ${(tens % 6) * 10} s`;
  const minutes = Math.round(seconds / 60);
  return `about ${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
