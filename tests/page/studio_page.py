"""A page with `<iv-studio>` on it, sounds that can be told apart by their pitch, and what is heard of them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from playwright.async_api import Page
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from tests.media_factory import make_video, photograph
from tests.page.browser import serving

HEAD = (
    '<link rel="stylesheet" href="/studio/static/page.css"><link rel="stylesheet" href="/studio/static/studio.css">'
    '<script src="/studio/static/studio.js" defer></script>'
    "<style>body { margin: 0; background: var(--iv-paper, #faf9f6); color: var(--iv-ink); font-family: system-ui, sans-serif }"
    "main { max-width: 60rem; margin: auto; padding: 1rem }</style>"
)
HERTZ = {"result": 440, "original": 1000, "music": 640, "sounds": 1600, "music-1": 2200, "music-2": 2900}
SECONDS = 12.0
# Decibels of each pitch behind the volume; silence is far below.
_LEVELS = """(hertz) => {
  const tap = document.querySelector("iv-studio").tap;
  if (!tap) return {};
  const bins = new Float32Array(tap.frequencyBinCount);
  tap.getFloatFrequencyData(bins);
  const width = tap.context.sampleRate / tap.fftSize;
  return Object.fromEntries(Object.entries(hertz).map(([name, pitch]) => {
    const at = Math.round(pitch / width);
    return [name, Math.max(-150, ...bins.slice(at - 3, at + 4))];
  }));
}"""


def tone(hertz: float, *, seconds: float = SECONDS, amplitude: float = 0.2) -> npt.NDArray[np.float32]:
    """A sine of shape (2, samples), 48 kHz."""
    wave = np.sin(2 * np.pi * hertz * np.arange(round(seconds * 48_000)) / 48_000) * amplitude
    return np.repeat(wave[None].astype(np.float32), 2, axis=0)


def make_media(folder: Path) -> None:
    """Every file that a studio may ask for, each with a pitch of its own."""
    size = (320, 180)
    views = [np.asarray(photograph(name).resize(size)) for name in ("china", "flower")]
    pictures = [views[i >= 60] for i in range(120)]
    make_video(folder / "result.mp4", pictures=pictures, rate=10, own=tone(HERTZ["result"]))
    for name in ("original", "music", "sounds", "music-1", "music-2"):
        soundfile.write(folder / f"{name}.flac", tone(HERTZ[name]).T, 48_000)
    soundfile.write(folder / "mix.flac", tone(HERTZ["result"]).T, 48_000)
    (folder / "broken.mkv").write_bytes(b"not a film" * 1000)
    (folder / "descriptions.vtt").write_text(
        "WEBVTT\n\n00:00.000 --> 00:06.000\nA street with people.\n\n00:06.000 --> 00:12.000\nA <i>red</i> flower.\n"
    )


def data(**other: Any) -> dict[str, Any]:
    """A film of two scenes with an original, two stems and two candidates."""
    return {
        "title": "holiday.mp4",
        "kind": "video",
        "result": {"url": "media/result.mp4", "type": "video/mp4", "name": "holiday.immersivaudio.mp4"},
        "audio": "media/mix.flac",
        "poster": None,
        "seconds": SECONDS,
        "scenes": [
            {"start": 0, "end": 6, "text": "A busy scene with buildings and a crowd of people."},
            {"start": 6, "end": 12, "text": "A warm scene with vegetation."},
        ],
        "original": "media/original.flac",
        "stems": [
            {"name": "music", "label": "Music", "url": "media/music.flac"},
            {"name": "sounds", "label": "Sound effects", "url": "media/sounds.flac"},
            {"name": "original", "label": "The video's own sound", "url": "media/original.flac"},
        ],
        "volumes": {"music": 0, "sounds": 0, "original_rate": 0.5},
        "descriptions": "media/descriptions.vtt",
        "peaks": "peaks/mix",
        "candidates": [
            {
                "name": "music-1",
                "label": "Music, candidate 1",
                "score": 0.214,
                "chosen": False,
                "url": "media/music-1.flac",
            },
            {
                "name": "music-2",
                "label": "Music, candidate 2",
                "score": 0.312,
                "chosen": True,
                "url": "media/music-2.flac",
            },
        ],
        **other,
    }


class Site:
    """Serves the media; `missing` are names that are answered with 404, `asked` those that were asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing: set[str] = set()
        self.asked: list[str] = []
        self.url = ""

    async def media(self, request: Request) -> Response:
        name = request.path_params["name"]
        self.asked.append(name)
        if name in self.missing:
            raise HTTPException(404)
        return FileResponse(self.folder / name)

    async def peaks(self, request: Request) -> Response:
        if "peaks" in self.missing:
            return JSONResponse({"detail": "There is no waveform for sound in this format."}, 404)
        wave = 0.15 + 0.8 * np.abs(np.sin(np.arange(1200) / 37) * np.sin(np.arange(1200) / 7))
        return JSONResponse({"seconds": SECONDS, "peaks": [round(float(peak), 3) for peak in wave]})


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """The media's server, with a page that has an empty studio."""
    shown = Site(folder)
    # Gradio's page says "dark" by a class.
    dark = '<script>document.body.classList.toggle("dark", matchMedia("(prefers-color-scheme: dark)").matches)</script>'
    body = f"{dark}<main><h1>Test</h1><h2>Result</h2><iv-studio></iv-studio></main>"
    routes = [Route("/media/{name}", shown.media), Route("/peaks/{name}", shown.peaks)]
    with serving(routes, head=HEAD, body=body) as url:
        shown.url = url
        yield shown


async def give(page: Page, what: dict[str, Any]) -> None:
    """Hand the data to the studio and wait until its picture or its problem is there."""
    await page.evaluate("data => { document.querySelector('iv-studio').data = data }", json.loads(json.dumps(what)))
    await page.wait_for_selector("iv-studio .ivs")


async def press(page: Page, name: str) -> None:
    """Press the button of exactly this name."""
    await page.get_by_role("button", name=name, exact=True).click()


async def state(page: Page) -> dict[str, Any]:
    """The studio's own word on what it does."""
    found: dict[str, Any] = await page.evaluate("document.querySelector('iv-studio').state()")
    return found


async def levels(page: Page) -> dict[str, float]:
    """Decibels of each sound's pitch in what is heard now."""
    found: dict[str, float] = await page.evaluate(_LEVELS, HERTZ)
    return found


async def heard(page: Page, names: set[str], *, within: float = 4) -> None:
    """Wait until these are heard, and nothing else, for a while."""
    deadline, seen = time.monotonic() + within, 0
    while seen < 2:
        now = {name for name, level in (await levels(page)).items() if level > -70}
        seen = seen + 1 if now == names else 0
        assert time.monotonic() < deadline, f"heard is {now}, and not {names}"
        await page.wait_for_timeout(250)
