"""The scenes' descriptions as a text track: WebVTT (https://www.w3.org/TR/webvtt1/), for viewers with impaired sight."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

TITLE = "Descriptions"
LANGUAGE = "en"
MOST_CHARACTERS = 4000
"""Of one cue. ffmpeg refuses to write texts of more than 64 kB to mp4."""


@dataclass(frozen=True)
class SceneText:
    """What one scene shows, in words."""

    start_seconds: float
    """From the video's first frame."""
    end_seconds: float
    text: str


def webvtt(texts: Sequence[SceneText]) -> str:
    """A WebVTT file of one cue a scene. Scenes without words, or that begin and end in the same millisecond, have none.

    Of a text that is too long for a cue, the beginning is there.
    """
    blocks = [f"WEBVTT - {TITLE}", f"NOTE Language: {LANGUAGE}"]
    for text in texts:
        start, end, words = _milliseconds(text.start_seconds), _milliseconds(text.end_seconds), _escaped(text.text)
        if words and start < end:
            blocks.append(f"{_clock(start)} --> {_clock(end)}\n{words}")
    return "\n\n".join(blocks) + "\n"


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _clock(milliseconds: int) -> str:
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{thousandths:03}"


def _escaped(text: str) -> str:
    """On one line, as an empty one would end the cue. An arrow would begin one, but none is left without its `>`."""
    line = " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text).split())
    if len(line) > MOST_CHARACTERS:
        line = line[: MOST_CHARACTERS - 1].rstrip() + "…"
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
