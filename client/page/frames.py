"""A run's frames as thumbnails: what was found in them is drawn on them, and the chosen ones are marked."""

from html import escape
from pathlib import PurePath
from urllib.parse import quote

from client.findings import printable
from models.record import DetectedObject, Frame, FrameObjects, Record

SHOWN = 24
"""Thumbnails at most. The chosen frames are always among them."""

BOXES = 6
"""Boxes drawn on one frame at most, those of the best scores."""


_VIEWABLE = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".apng", ".avif", ".bmp"})


def viewable(path: str) -> bool:
    """Whether browsers can show the picture that lies there: TIFF and HEIC they cannot."""
    return PurePath(path).suffix.lower() in _VIEWABLE


def thumbnails(record: Record) -> str:
    """The frames as a list of figures. Empty while there are none."""
    frames = record.pictures
    if not frames:
        return ""
    chosen = {scene.index: number for number, scene in enumerate(record.scenes)} if record.selected else {}
    found = {one.frame: one for one in record.object_detection.frames} if record.object_detection else {}
    several = len(record.scenes) > 1
    shown = _shown(len(frames), list(chosen))
    figures = "".join(
        _figure(frames[index], index, found.get(index), _mark(chosen.get(index), several)) for index in shown
    )
    more = len(frames) - len(shown)
    rest = f'<p class="iv-quiet">{more} more frames are not shown.</p>' if more else ""
    return f'<ul class="iv-frames" tabindex="0" aria-label="Frames">{figures}</ul>{rest}'


def _shown(count: int, chosen: list[int]) -> list[int]:
    """Indices of the frames that are shown: the chosen ones, and others spread evenly."""
    if count <= SHOWN:
        return list(range(count))
    room = max(SHOWN - len(chosen), 0)
    return sorted({*chosen, *(round(place * (count - 1) / max(room - 1, 1)) for place in range(room))})


def _mark(scene: int | None, several: bool) -> str:
    if scene is None:
        return ""
    return f"Chosen for scene {scene + 1}" if several else "Chosen"


def _figure(frame: Frame, index: int, found: FrameObjects | None, mark: str) -> str:
    seen = ", ".join(dict.fromkeys(printable(one.label) for one in found.objects[:BOXES])) if found else ""
    marked = f'<strong class="iv-chosen"><span aria-hidden="true">★</span> {mark}</strong>' if mark else ""
    shown = _picture(frame, index, seen, found) if viewable(frame.path) else _instead(frame, seen)
    return (
        f"<li{' class=iv-is-chosen' if mark else ''}><figure>{shown}"
        f"<figcaption>{frame.seconds:.1f} s {marked}</figcaption></figure></li>"
    )


def _picture(frame: Frame, index: int, seen: str, found: FrameObjects | None) -> str:
    alt = f"Frame {index}, at {frame.seconds:.2f} s{': ' + seen if seen else ''}"
    boxes = "".join(_box(one, found) for one in found.objects[:BOXES]) if found else ""
    source = f"studio/files/{quote(frame.path)}"
    return (
        f'<div class="iv-frame"><img src="{source}" alt="{escape(alt)}" loading="lazy" decoding="async">{boxes}</div>'
    )


def _instead(frame: Frame, seen: str) -> str:
    kind = PurePath(printable(frame.path)).suffix.lstrip(".").upper()
    told = f"; found in it: {seen}" if seen else ""
    return f'<p class="iv-quiet">{escape(f"This browser cannot show {kind} pictures{told}.")}</p>'


def _box(found: DetectedObject, frame: FrameObjects) -> str:
    box, label = found.box, f"{printable(found.label)} {found.score:.0%}"
    left, top = box.x0 / frame.width, box.y0 / frame.height
    width, height = (box.x1 - box.x0) / frame.width, (box.y1 - box.y0) / frame.height
    place = f"left:{left:.2%};top:{top:.2%};width:{width:.2%};height:{height:.2%}"
    return f'<span class="iv-box" style="{place}" aria-hidden="true"><span>{escape(label)}</span></span>'
