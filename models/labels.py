"""What a result says about itself, as a file in ffmpeg's metadata format: its own tags, those of its streams, and its chapters.

One file for everything, because the options of a command line can neither name a tag twice nor move a chapter.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_CHAPTERS = 1000
"""Of a result."""
# Of the source's container, or of what a program measured in it: not true of the result.
_STALE = re.compile(
    r"encoder|major_brand|minor_version|compatible_brands|duration|bps|number_of_\w+|_statistics_\w+|rotate"
    r"|(?:duration|bps|number_of_\w+)-\w+",
    re.IGNORECASE,
)
_SPECIAL = re.compile(r"[=;#\\\n\[]")


@dataclass(frozen=True)
class Chapter:
    start_seconds: float
    """From the picture's first frame."""
    end_seconds: float
    tags: Mapping[str, str]


def still_true(tags: Mapping[str, str]) -> dict[str, str]:
    """A source's tags without those that are not true of what is made of it."""
    return {name: value for name, value in tags.items() if not _STALE.fullmatch(name)}


def read_chapters(container: Any, *, start_seconds: float, seconds: float) -> list[Chapter]:
    """The chapters of a file that PyAV opened, on the result's clock, as far as they lie between its beginning and its end."""
    chapters = []
    for mark in container.chapters():
        begins, ends = (float(mark[side] * (mark["time_base"] or 0)) - start_seconds for side in ("start", "end"))
        begins, ends = max(0.0, begins), min(seconds, ends)
        if begins < ends:
            chapters.append(Chapter(begins, ends, mark["metadata"]))
    return chapters


def chapters_note(chapters: Sequence[Chapter]) -> tuple[str, ...]:
    """For the record, where there are more chapters than a result gets: it gets the first ones."""
    out = len(chapters) - MOST_CHAPTERS
    return (f"{out} of {len(chapters)} chapters were left out: the first {MOST_CHAPTERS} are kept",) if out > 0 else ()


def ffmetadata(
    tags: Mapping[str, str], *, streams: Sequence[Mapping[str, str]] = (), chapters: Sequence[Chapter] = ()
) -> str:
    """The file's text. `streams`: the tags of each of the result's streams, in its order."""
    parts = [";FFMETADATA1\n", _lines(tags)]
    parts += [f"[STREAM]\n{_lines(stream)}" for stream in streams]
    for chapter in chapters:
        begins, ends = (round(at * 1000) for at in (chapter.start_seconds, chapter.end_seconds))
        parts.append(f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={begins}\nEND={ends}\n{_lines(chapter.tags)}")
    return "".join(parts)


def _lines(tags: Mapping[str, str]) -> str:
    return "".join(f"{_escaped(name)}={_escaped(value)}\n" for name, value in tags.items() if name)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n"))
