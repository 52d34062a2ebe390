"""The source's other tracks: which of them the result keeps, and how.

Packets are copied where the container holds their codec. All of them are shifted with the picture, and cut to its length: a track
that ended later would make the result longer. Sound in PCM has no packets worth the name, and is written anew, sample by sample.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import av
import ffmpeg
from av.container import InputContainer

from models import media
from models.containers import CONTAINERS, Container, OutputOptions
from models.errors import MediaToolFailed
from models.labels import still_true
from models.record import AudioFormat, KeptTrack, Stream, VideoFormat, VideoInput

REPLACED = "the own sound was to be replaced"
BROKEN = "it could not be written: it is damaged, or coded in an unusual way"
_CANNOT_BE_READ = "it cannot be read"
_NOT_CARRIED = "only sound, subtitles and attached files are carried over"

_TEXT = frozenset({
    "subrip", "ass", "ssa", "mov_text", "webvtt", "text", "microdvd", "sami", "subviewer", "subviewer1", "jacosub", "mpl2", "pjs",
    "realtext", "stl", "vplayer", "eia_608",
})  # fmt: skip
_LAYOUTS = "mono|stereo|3.0|5.0|5.1|7.1"  # that all of our encoders know
_BITS_PER_CHANNEL = 96_000
_MOST_BITS = 480_000
# `default` is the mix's alone: some players play all sound tracks that have it, one over the other.
_FLAGS = (
    "dub", "original", "comment", "lyrics", "karaoke", "forced", "hearing_impaired", "visual_impaired", "clean_effects",
    "captions", "descriptions",
)  # fmt: skip

_OF_MP4 = frozenset({"title", "name", "handler_name", "vendor_id"})
# The few languages that ffmpeg writes into QuickTime files by other codes than the usual ones.
_MAC = {
    "deu": "ger", "nld": "dut", "swe": "sve", "fre": "fra", "ell": "gre", "isl": "ice", "zho": "chi", "cze": "ces", "rum": "ron",
    "slo": "slk", "sqi": "alb", "mkd": "mac",
}  # fmt: skip

_PADDING = {"aac": 1024, "mp3": 1105, "opus": 312}  # samples
_MOST_PADDING = 2112  # Apple's encoders; what a file hides beyond that, somebody cut off
_TICK = 0.001  # of Matroska's clock, in seconds
_HIDING = ("mov,", "matroska")  # ffmpeg's names of formats that can hide the beginning of a sound begin so

# What attached files may be told to be that make no sound.
_FONT_OR_PICTURE = re.compile(
    r"(image|font)/.+|application/(x-)?(truetype-font|opentype-font|font-\w+|vnd\.ms-(opentype|fontobject)|x-font(-.+)?)",
    re.IGNORECASE,
)

Kind = Literal["audio", "subtitle", "attachment", "data"]


@dataclass(frozen=True)
class Track:
    """One of the source's streams on its way into the result."""

    index: int
    """Among the source's streams."""
    kind: Kind
    codec: str
    """ffmpeg's encoder, or `copy`."""
    result: Literal["copied", "encoded"] = "copied"
    reason: str | None = None
    """Why it is not copied."""
    tags: Mapping[str, str] = field(default_factory=dict)
    disposition: str = "0"
    channels: int = 2
    padding_seconds: float = 0
    """What the container takes for the codec's delay, and adds to the length of a copy."""
    cover: bool = False

    @property
    def shown(self) -> bool:
        """Whether it is text that players show unasked."""
        return self.kind == "subtitle" and "default" in self.disposition.split("+")

    @property
    def told(self) -> KeptTrack:
        """For the record."""
        return KeptTrack(index=self.index, kind=self.kind, result=self.result, reason=self.reason)

    def dropped(self, reason: str) -> KeptTrack:
        """For the record, when it is not kept after all."""
        return KeptTrack(index=self.index, kind=self.kind, result="dropped", reason=reason)

    def stream(self, source: Path, *, start_seconds: float, seconds: float) -> ffmpeg.nodes.FilterableStream:
        """What ffmpeg is to read. `start_seconds`: of the picture's first frame; `seconds`: length of the result."""
        if self.kind != "audio" or self.codec == "copy":
            return shifted(source, start_seconds)[str(self.index)]
        # As the mixer does it: first the clock, then no more than is heard.
        sound = media.source(source)[str(self.index)].filter("asetpts", f"PTS-{start_seconds:.6f}/TB")
        sound = sound.filter("atrim", start=0, end=f"{seconds:.6f}")
        return sound if self.codec.startswith("pcm_") else sound.filter("aformat", channel_layouts=_LAYOUTS)

    def options(self, seconds: float) -> OutputOptions:
        """What ffmpeg is to do, in a result that is `seconds` long. Every name is to be followed by the stream's place in there."""
        options: OutputOptions = {"c": self.codec, "disposition": self.disposition}
        if self.cover:
            return options | {"copypriorss": 1, "bsf": "setts=ts=0"}
        if self.kind == "subtitle" or (self.kind == "audio" and self.codec == "copy"):
            options["bsf"] = within(seconds - self.padding_seconds)
        elif self.kind == "audio" and not self.codec.startswith("pcm_"):
            options["b"] = min(_MOST_BITS, _BITS_PER_CHANNEL * max(1, self.channels))
        return options


@dataclass(frozen=True)
class Plan:
    """What becomes of the source's other tracks."""

    kept: tuple[Track, ...] = ()
    """In the result's order."""
    dropped: tuple[KeptTrack, ...] = ()

    @property
    def told(self) -> tuple[KeptTrack, ...]:
        """For the record, in the source's order."""
        return tuple(sorted([*(track.told for track in self.kept), *self.dropped], key=lambda track: track.index))

    def without(self, tracks: Iterable[Track]) -> "Plan":
        """The same, short of tracks that turned out to be broken."""
        out = tuple(tracks)
        kept = tuple(track for track in self.kept if track not in out)
        return Plan(kept, (*self.dropped, *(track.dropped(BROKEN) for track in out)))


NOTHING_ELSE = Plan()


def shifted(source: Path, start_seconds: float) -> ffmpeg.nodes.FilterableStream:
    """The source as an input of ffmpeg, with the picture's first frame at zero."""
    # AVI and MPEG program streams leave times out, which other containers demand.
    return media.source(source, itsoffset=f"{-start_seconds:.6f}", fflags="+genpts")


def within(seconds: float) -> str:
    """Bitstream filters that drop packets before the beginning and behind the end, and let the last one end there."""
    return (
        f"noise=drop='lt(pts,0)+gte(pts*tb,{seconds:.6f})',"
        f"setts=duration='min(DURATION,max(1,round({seconds:.6f}/TB)-PTS))'"
    )


def cover_of(source: Path, index: int) -> bytes:
    """A cover's file. Raises MediaToolFailed where there is none."""
    try:
        with media.open_media(source) as container:
            for packet in container.demux(container.streams[index]):
                if packet.size:
                    return bytes(packet)
    except (av.FFmpegError, IndexError):
        pass
    raise MediaToolFailed("the cover cannot be read")


def plan(container: InputContainer, video_input: VideoInput, wanted: VideoFormat | AudioFormat) -> Plan:
    """What becomes of the other tracks of a source that PyAV opened: all but the picture. Nothing, where sound alone is made."""
    holds = CONTAINERS[wanted]
    if holds.picture is None:
        return NOTHING_ELSE
    opened = {stream.index: stream for stream in container.streams}
    picture = video_input.first("video")
    kept: list[Track] = []
    dropped: list[KeptTrack] = []
    for stream in video_input.streams:
        if stream == picture or _is_chapters(opened.get(stream.index), container):
            continue
        if video_input.options.original_mode == "replace" and _may_sound(stream, opened.get(stream.index)):
            found: Track | str = REPLACED
        elif stream.index not in opened or (stream.codec == "unknown" and stream.kind in ("audio", "subtitle")):
            found = _CANNOT_BE_READ
        else:
            found = _fate(stream, opened[stream.index], holds=holds, name=wanted)
        if isinstance(found, Track) and found.cover and any(track.cover for track in kept):
            found = "it is another cover; one is carried over"
        if isinstance(found, Track):
            kept.append(found)
        else:
            dropped.append(KeptTrack(index=stream.index, kind=stream.kind, result="dropped", reason=found))
    order = {"audio": 0, "subtitle": 1, "attachment": 2}
    return Plan(tuple(sorted(kept, key=lambda track: order[track.kind])), tuple(dropped))


def _is_chapters(opened: Any, container: InputContainer) -> bool:
    """Whether a stream is the text of an mp4's or mov's chapters, which are kept as chapters: there is one text for each."""
    if opened is None or opened.type != "data" or opened.codec_context is not None or "timecode" in opened.metadata:
        return False
    marks = len(container.chapters()) if container.format.name.startswith("mov,") else 0
    return marks > 0 and opened.frames == marks


def _may_sound(stream: Stream, opened: Any) -> bool:
    """Whether a stream is sound, or an attached file that may be: any that is not told to be a font or a picture."""
    if stream.kind != "attachment" or opened is None or opened.type == "video":
        return stream.kind == "audio"
    tags = {name.lower(): value for name, value in opened.metadata.items()}
    return not _FONT_OR_PICTURE.fullmatch(tags.get("mimetype", "").strip())


def _fate(stream: Stream, opened: Any, *, holds: Container, name: str) -> Track | str:
    """The track, or why it is dropped."""
    track = Track(
        stream.index, "audio", "copy", disposition=_disposition(opened, stream.kind), tags=_tags(stream, opened, holds)
    )
    match stream.kind:
        case "audio":
            return _sound(track, stream.codec, opened, holds=holds, name=name)
        case "subtitle":
            return _subtitles(replace(track, kind="subtitle"), stream.codec, holds=holds, name=name)
        case "attachment" if opened.type == "video":
            cover = replace(track, kind="attachment", cover=True, disposition="attached_pic")
            return cover if stream.codec in holds.tracks.covers else f"{name} cannot hold a cover"
        case "attachment":
            return replace(track, kind="attachment") if holds.tracks.attached else f"{name} cannot hold attached files"
        case "video":
            return "it is another picture; one is carried over"
    return _NOT_CARRIED


def _sound(track: Track, codec: str, opened: Any, *, holds: Container, name: str) -> Track:
    channels = opened.codec_context.channels
    reason = f"{name} cannot hold {codec}: it was encoded as {holds.sound.name}"
    if codec in holds.tracks.sounds:
        rate = opened.codec_context.sample_rate or 48_000
        hidden = _hidden_seconds(opened) if holds.tracks.padded else 0.0
        padding = max(hidden, _PADDING.get(codec, 0) / rate) if holds.tracks.padded else 0.0
        if codec.startswith("pcm_"):
            return replace(track, codec=codec, channels=channels, padding_seconds=padding)
        if hidden <= _MOST_PADDING / rate + _TICK:
            return replace(track, channels=channels, padding_seconds=padding)
        reason = f"{name} cannot hide the beginning that the source hides: it was encoded as {holds.sound.name}"
    encoder = str(holds.sound.options["c:a:0"])
    return replace(track, codec=encoder, result="encoded", reason=reason, channels=channels)


def _hidden_seconds(opened: Any) -> float:
    """How much of a sound stream lies before the moment from which it is heard."""
    entries = opened.index_entries
    if not opened.container.format.name.startswith(_HIDING) or opened.start_time is None or not len(entries):
        return 0.0
    return max(0.0, float((opened.start_time - entries[0].timestamp) * opened.time_base))


def _subtitles(track: Track, codec: str, *, holds: Container, name: str) -> Track | str:
    if codec in holds.tracks.subtitles:
        return track
    text = holds.tracks.text
    if text is None or codec not in _TEXT:
        return f"{name} cannot hold {codec}"
    return replace(track, codec=text, result="encoded", reason=f"{name} cannot hold {codec}: it was converted")


def _disposition(opened: Any, kind: str) -> str:
    flags = (*_FLAGS, "default") if kind == "subtitle" else _FLAGS
    given = opened.disposition
    return "+".join(flag for flag in flags if getattr(type(given), flag) in given) or "0"


def _tags(stream: Stream, opened: Any, holds: Container) -> dict[str, str]:
    tags = tags_for(opened.metadata, holds)
    if stream.kind == "attachment" and opened.type == "video":
        kind = {"png": "png"}.get(stream.codec, "jpeg")
        return tags | {"filename": f"cover.{kind}", "mimetype": f"image/{kind}"}
    return tags


def tags_for(given: Mapping[str, str], holds: Container) -> dict[str, str]:
    """A source's stream's tags, as far as they are true of its copy, as the container has them."""
    tags = {name: value for name, value in still_true(given).items() if name.lower() not in _OF_MP4}
    title = next((given[name] for name in ("title", "name", "NAME") if given.get(name)), None)
    if title is not None:
        tags |= titled(title, holds)
    language = given.get("language", "")
    if holds.tracks.mac_languages and language in _MAC:
        tags["language"] = _MAC[language]
    return tags


def titled(title: str, holds: Container) -> dict[str, str]:
    """The tags that give a track its title."""
    return {"title": title} | ({"handler_name": title} if holds.tracks.handlers else {})
