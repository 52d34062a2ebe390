"""What of a source survives in its result, besides the picture, and what is written beside it."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import ffmpeg
import numpy as np
import pytest

from models import media
from models.audio import STEM_SAMPLE_RATE
from models.labels import Chapter, ffmetadata
from models.reconstruction import COMMENT, ReconstructionSettings, Reconstructor, SceneText, StemFile
from models.record import KeptTrack, Reconstruction, VideoInput
from models.text_track import webvtt
from models.tracks import BROKEN, REPLACED
from tests.media_factory import make_image, make_video
from tests.models.test_reconstruction import (
    AUDIO_FRAME,
    Samples,
    amplitude,
    clicks,
    heard_clicks,
    look,
    packets,
    sound_of,
    stem,
    tone,
)

RATE = STEM_SAMPLE_RATE
SECONDS = 2
SUBTITLES = """1
00:00:00,200 --> 00:00:00,900
Hello there

2
00:00:01,500 --> 00:00:09,000
Until the end

3
00:00:05,000 --> 00:00:06,000
Nobody sees this
"""
TEXTS = (SceneText(0, 1.2, "A <dog> & a cat --> run"), SceneText(1.2, SECONDS, "A tree"))


@dataclass(frozen=True)
class Result:
    record: Reconstruction
    path: Path

    @property
    def fates(self) -> dict[int, str]:
        return {track.index: track.result for track in self.record.tracks}


def rich_film(
    folder: Path, name: str, *, start: float = 0, sounds: tuple[str, str] = ("aac", "aac"), subtitles: str | None = "srt",
    own: Samples | None = None,
) -> Path:  # fmt: skip
    """A film of two seconds with two sound tracks, German subtitles, a title, and two chapters.

    The first sound track is English and the default, the second French and a comment. They begin 0.3 s before the picture where it
    does not start at zero. Sound, subtitles and the last chapter are longer than the picture.
    """
    silent = make_video(folder / f"silent_{name}", frames=50, start=start)
    start = look(silent).start_seconds
    samples = tone(440, seconds=4) if own is None else own
    sound = stem(folder, samples, kind="sounds").path.rename(folder / "own.flac")
    (folder / "subtitles.srt").write_text(SUBTITLES)
    (folder / "labels").write_text(
        ffmetadata(
            {"title": "Waves", "comment": "Seen at dawn"},
            chapters=[Chapter(start, start + 1, {"title": "a=b; c"}), Chapter(start + 1, start + 5, {"title": "two"})],
        )
    )
    heard = media.source(sound, itsoffset=start - 0.3 if start else 0)
    streams = [media.source(silent)["v:0"], heard["a:0"], heard["a:0"]]
    options: dict[str, Any] = {
        "c:v": "copy", "copypriorss:v": 1, "c:a:0": sounds[0], "c:a:1": sounds[1],
        "metadata:s:1": "title=English", "metadata:s:a:0": "language=eng", "disposition:a:0": "default",
        "metadata:s:2": "title=Commentaire", "metadata:s:a:1": "language=fra", "disposition:a:1": "comment",
    }  # fmt: skip
    if subtitles:
        streams.append(ffmpeg.input(str(folder / "subtitles.srt"), itsoffset=start)["s:0"])
        options |= {"c:s:0": subtitles, "metadata:s:s:0": "language=ger" if name.endswith("mov") else "language=deu"}
    labels = ("-f", "ffmetadata", "-i", str(folder / "labels"))
    number = 3 if subtitles else 2
    film = folder / name
    made = ffmpeg.output(*streams, f"file:{film}", map_metadata=number, map_chapters=number, **options)
    media.run(made.global_args("-copyts", *labels), timeout_seconds=30)
    return film


def make(folder: Path, film: Path, *stems: StemFile, texts: Sequence[SceneText] = (), **options: Any) -> Result:
    return reconstructed(folder, film, look(film, **options), *stems, texts=texts)


def reconstructed(
    folder: Path, film: Path, video_input: VideoInput, *stems: StemFile, texts: Sequence[SceneText] = ()
) -> Result:
    given = stems or (stem(folder, tone(1000, seconds=video_input.result_seconds)),)
    output = folder / "made" / "result"
    output.parent.mkdir(exist_ok=True)
    reconstructor = Reconstructor(ReconstructionSettings())
    made = reconstructor.reconstruct(
        video_input, film, stems=given, output=output, texts=texts, origin="music by sketch/music, seed 7"
    )
    return Result(made, output)


def claiming(video_input: VideoInput, codecs: dict[int, str]) -> VideoInput:
    """The same, with other codecs for some streams than they have."""
    streams = (
        stream.model_copy(update={"codec": codecs.get(stream.index, stream.codec)}) for stream in video_input.streams
    )
    return video_input.model_copy(update={"streams": tuple(streams)})


def told(path: Path, kind: str) -> list[tuple[str, str | None, str | None]]:
    """Codec, language and title of every track of a kind."""
    with media.open_media(path) as container:
        return [
            (
                stream.codec_context.codec.canonical_name,
                stream.metadata.get("language", "und").replace("und", "") or None,
                stream.metadata.get("title", stream.metadata.get("name")),
            )
            for stream in container.streams
            if stream.type == kind
        ]


def by_default(path: Path, kind: str) -> list[bool]:
    with media.open_media(path) as container:
        return [
            bool(stream.disposition & av.stream.Disposition.default)
            for stream in container.streams
            if stream.type == kind
        ]


def shown_texts(path: Path, number: int) -> list[tuple[float, str]]:
    """When each text of a subtitle track begins, and what it is."""
    vtt = path.with_name("read.vtt")
    media.run(ffmpeg.output(media.source(path)[f"s:{number}"], str(vtt)), timeout_seconds=30)
    cues = [cue.split("\n", 1) for cue in vtt.read_text().strip().split("\n\n")[1:]]
    return [(_seconds(times.split(" --> ")[0]), text) for times, text in cues]


def _seconds(clock: str) -> float:
    return sum(float(part) * 60.0**place for place, part in enumerate(reversed(clock.split(":"))))


def chapters(path: Path) -> list[tuple[float, float, str]]:
    with media.open_media(path) as container:
        marks = [(mark, Fraction(mark["time_base"] or 0)) for mark in container.chapters()]
        return [
            (float(mark["start"] * base), float(mark["end"] * base), mark["metadata"]["title"]) for mark, base in marks
        ]


@pytest.mark.parametrize(
    ("source", "start", "asked"),
    [
        ("film.mkv", 1.48, "mkv"), ("film.mkv", 1.48, "mp4"), ("film.mkv", 0, "mov"), ("film.mp4", 0, "mp4"),
        ("film.mov", 0, "mkv"), ("film.mkv", 1.48, "webm"),
    ],
)  # fmt: skip
def test_the_mix_comes_first_and_the_sources_tracks_chapters_and_title_stay(
    tmp_path: Path, source: str, start: float, asked: str
) -> None:
    text = "srt" if source == "film.mkv" else "mov_text"
    film = rich_film(tmp_path, source, start=start, subtitles=text)
    result = make(tmp_path, film, format=asked)
    codec = "opus" if asked == "webm" else "aac"
    mix = result.record.audio_codec
    assert told(result.path, "audio") == [
        (mix, "eng", "Immersivaudio"), (codec, "eng", "English"), (codec, "fra", "Commentaire"),
    ]  # fmt: skip
    assert by_default(result.path, "audio") == [True, False, False]
    expected = {"mkv": "subrip", "webm": "webvtt"}.get(asked, "mov_text")
    assert told(result.path, "subtitle")[0][:2] == (expected, "ger" if "mov" in (asked, source[-3:]) else "deu")
    (first, hello), (second, end) = shown_texts(result.path, 0)
    assert (first, second) == pytest.approx((0.2, 1.5))
    assert (hello, end) == ("Hello there", "Until the end")
    assert result.record.duration_seconds == pytest.approx(SECONDS, abs=AUDIO_FRAME)
    assert [mark[2] for mark in chapters(result.path)] == ["a=b; c", "two"]
    assert [mark[:2] for mark in chapters(result.path)] == [pytest.approx((0, 1)), pytest.approx((1, 2))]
    with media.open_media(result.path) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}
    assert tags["title"] == "Waves"
    assert tags["comment"] == f"Seen at dawn\n{COMMENT}\nmusic by sketch/music, seed 7"
    if asked != "webm":
        assert packets(result.path) == packets(film)


@pytest.mark.parametrize(
    ("codecs", "asked", "fates"),
    [
        (("aac", "ac3"), "mp4", ["copied", "copied"]), (("libvorbis", "flac"), "mp4", ["encoded", "copied"]),
        (("libopus", "pcm_s16le"), "mov", ["encoded", "copied"]), (("libvorbis", "flac"), "mkv", ["copied", "copied"]),
        (("pcm_s24le", "libopus"), "webm", ["encoded", "copied"]), (("libmp3lame", "wmav2"), "mkv", ["copied", "encoded"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("start", [0, 1.48])
def test_a_sound_track_is_copied_where_the_container_holds_it_and_stays_in_step(
    tmp_path: Path, codecs: tuple[str, str], asked: str, fates: list[str], start: float
) -> None:
    lead = 0.3 if start else 0.0
    own = clicks(lead + 0.4, lead + 1.6, seconds=4)
    film = rich_film(tmp_path, "film.mkv", start=start, sounds=codecs, subtitles=None, own=own)
    result = make(tmp_path, film, format=asked)
    assert [track.result for track in result.record.tracks] == fates
    assert all((track.reason is None) == (track.result == "copied") for track in result.record.tracks)
    assert result.record.duration_seconds == pytest.approx(SECONDS, abs=AUDIO_FRAME)
    for number in (1, 2):
        alone = tmp_path / "alone.mkv"
        track = media.source(result.path)[f"a:{number}"]
        cut = track.filter("aresample", RATE, **{"async": 1}, first_pts=0)
        media.run(ffmpeg.output(cut, str(alone), acodec="flac").global_args("-copyts"), timeout_seconds=30)
        assert heard_clicks(alone) == pytest.approx([0.4, 1.6], abs=0.01)


def test_where_the_own_sound_is_replaced_no_track_of_it_is_left(tmp_path: Path) -> None:
    result = make(tmp_path, rich_film(tmp_path, "film.mkv"), original_mode="replace", format="mp4")
    assert len(told(result.path, "audio")) == 1
    assert len(told(result.path, "subtitle")) == 1
    dropped = [track for track in result.record.tracks if track.result == "dropped"]
    assert [(track.index, track.kind, track.reason) for track in dropped] == [
        (1, "audio", REPLACED),
        (2, "audio", REPLACED),
    ]
    assert result.record.files.original is None


def test_fonts_stay_in_matroska_and_are_reported_where_there_is_no_room_for_them(tmp_path: Path) -> None:
    plain = rich_film(tmp_path, "film.mkv", subtitles="ass")
    (tmp_path / "Serif.ttf").write_bytes(b"\0\1\0\0" + bytes(400))
    film = tmp_path / "with_font.mkv"
    kept = media.source(plain)
    streams = [kept[str(index)] for index in range(4)]
    attach = {
        "attach": str(tmp_path / "Serif.ttf"),
        "metadata:s:t:0": "mimetype=application/x-truetype-font",
        "c": "copy",
    }
    media.run(ffmpeg.output(*streams, str(film), **attach), timeout_seconds=30)
    result = make(tmp_path, film, format="mkv", descriptions=True, texts=TEXTS)
    assert set(result.fates.values()) == {"copied"}
    with media.open_media(result.path) as container:
        (font,) = [stream for stream in container.streams if stream.type == "attachment"]
        assert font.metadata["filename"] == "Serif.ttf"
    assert told(result.path, "subtitle")[0][0] == "ass"
    assert result.path.read_bytes().count(b"\0\1\0\0" + bytes(400)) == 1
    in_mp4 = make(tmp_path, film, format="mp4")
    assert in_mp4.record.tracks[-1] == KeptTrack(
        index=4, kind="attachment", result="dropped", reason="mp4 cannot hold attached files"
    )


def attached(folder: Path, film: Path, files: dict[str, str]) -> Path:
    """A film with attached files: their names, and the kinds that they are told to be."""
    kept = media.source(film)
    streams = [kept[str(stream.index)] for stream in look(film).streams]
    made = ffmpeg.output(*streams, str(folder / "with_files.mkv"), c="copy")
    options: list[str] = []
    for number, (name, kind) in enumerate(files.items()):
        options += ["-attach", str(folder / name), f"-metadata:s:t:{number}", f"mimetype={kind}"]
    command = [media.ffmpeg_binary(), *made.get_args()[:-1], *options, made.get_args()[-1]]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return folder / "with_files.mkv"


def test_where_the_own_sound_is_replaced_no_attached_file_that_may_be_sound_is_left(tmp_path: Path) -> None:
    plain = rich_film(tmp_path, "film.mkv")
    kinds = {
        "Serif.ttf": "application/x-truetype-font", "Sans.otf": "application/vnd.ms-opentype", "Mono.woff": "font/woff",
        "voice.flac": "audio/flac", "voice.bin": "application/octet-stream",
    }  # fmt: skip
    for name in kinds:
        (tmp_path / name).write_bytes(f"contents of {name}".encode())
    film = attached(tmp_path, plain, kinds)
    replaced = make(tmp_path, film, format="mkv", original_mode="replace")
    files = [track for track in replaced.record.tracks if track.kind == "attachment"]
    assert [(track.result, track.reason) for track in files] == [("copied", None)] * 3 + [("dropped", REPLACED)] * 2
    assert [f"contents of {name}".encode() in replaced.path.read_bytes() for name in kinds] == [True] * 3 + [False] * 2
    assert set(make(tmp_path, film, format="mkv").fates.values()) == {"copied"}


@pytest.mark.parametrize(("asked", "kept"), [("mp4", True), ("mkv", True), ("mov", False)])
def test_a_cover_stays_where_the_container_has_a_place_for_it(tmp_path: Path, asked: str, kept: bool) -> None:
    cover = make_image(tmp_path / "cover.jpg", number=9)
    film = tmp_path / "film.mp4"
    plain = make_video(tmp_path / "plain.mp4", frames=50, sound=True)
    both = media.source(plain)
    streams = [both["v:0"], both["a:0"], ffmpeg.input(str(cover))["v:0"]]
    media.run(ffmpeg.output(*streams, str(film), c="copy", **{"disposition:v:1": "attached_pic"}), timeout_seconds=30)
    result = make(tmp_path, film, format=asked)
    assert result.record.picture == "copied"
    assert result.record.tracks[-1].result == ("copied" if kept else "dropped")
    assert result.record.duration_seconds == pytest.approx(SECONDS, abs=AUDIO_FRAME)
    found = [stream for stream in look(result.path).streams if stream.kind == "attachment"]
    assert [stream.codec for stream in found] == (["mjpeg"] if kept else [])


def test_a_second_picture_is_dropped_and_reported(tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    plain = media.source(make_video(tmp_path / "plain.mp4", frames=50, sound=True))
    media.run(ffmpeg.output(plain["v:0"], plain["v:0"], plain["a:0"], str(film), c="copy"), timeout_seconds=30)
    result = make(tmp_path, film, format="mkv")
    assert [(track.index, track.kind, track.result) for track in result.record.tracks] == [
        (1, "video", "dropped"), (2, "audio", "copied"),
    ]  # fmt: skip
    assert packets(result.path) == packets(film)


@pytest.mark.parametrize("asked", ["mp4", "webm"])
def test_subtitles_that_are_pictures_are_dropped_where_the_container_cannot_hold_them(
    tmp_path: Path, asked: str
) -> None:
    film = rich_film(tmp_path, "film.mkv")
    video_input = claiming(look(film, format=asked), {3: "hdmv_pgs_subtitle"})
    record = reconstructed(tmp_path, film, video_input).record
    assert record.tracks[-1].result == "dropped"
    assert record.tracks[-1].reason == f"{asked} cannot hold hdmv_pgs_subtitle"
    assert told(tmp_path / "made" / "result", "subtitle") == []


def test_a_track_that_the_container_refuses_is_left_out_and_the_others_are_there(tmp_path: Path) -> None:
    film = rich_film(tmp_path, "film.mkv", sounds=("aac", "wmav2"))
    result = reconstructed(tmp_path, film, claiming(look(film, format="mp4"), {2: "aac"}))
    assert result.record.picture == "copied"
    assert result.fates == {1: "copied", 2: "dropped", 3: "encoded"}
    assert result.record.tracks[1].reason == BROKEN
    assert [title for _, _, title in told(result.path, "audio")] == ["Immersivaudio", "English"]


def test_a_track_that_cannot_be_decoded_is_left_out_where_it_would_be_encoded(tmp_path: Path) -> None:
    film = rich_film(tmp_path, "film.mkv", sounds=("aac", "flac"))
    spoil(film, 1)
    result = make(tmp_path, film, format="webm")
    assert result.fates == {1: "encoded", 2: "dropped", 3: "encoded"}
    assert result.record.duration_seconds == pytest.approx(SECONDS, abs=AUDIO_FRAME)


def film_with_tracks(folder: Path, *marks: str, codec: str = "aac") -> Path:
    """A film of two seconds with a sound track for each of these marks: tones of 440, 900, 1360 … Hz."""
    sounds = [stem(folder, tone(440 + 460 * i, seconds=2)).path.rename(folder / f"{i}.flac") for i in range(len(marks))]
    streams = [media.source(make_video(folder / "silent.mp4", frames=50))["v:0"]]
    streams += [media.source(sound)["a:0"] for sound in sounds]
    options = {f"disposition:a:{i}": mark for i, mark in enumerate(marks)}
    film = folder / "tracks.mkv"
    told_by_us: dict[str, Any] = {"c:v": "copy", "c:a": codec, "default_mode": "passthrough", **options}
    media.run(ffmpeg.output(*streams, str(film), **told_by_us), timeout_seconds=30)
    return film


def spoil(film: Path, number: int) -> None:
    """Overwrite the packets of a sound track."""
    with av.open(str(film)) as container:
        spoilt: list[Any] = [bytes(packet) for packet in container.demux(audio=number) if packet.size]
    data = film.read_bytes()
    for packet in spoilt:
        data = data.replace(packet, bytes(len(packet)))
    film.write_bytes(data)


@pytest.mark.parametrize(
    ("marks", "heard"),
    [
        (("comment", "default"), 900), (("comment", "0"), 900), (("0", "0"), 440), (("0", "default", "0"), 900),
        (("default+comment", "default"), 900), (("comment",), 440),
    ],
)  # fmt: skip
def test_the_own_sound_is_the_track_that_players_choose(tmp_path: Path, marks: tuple[str, ...], heard: int) -> None:
    film = film_with_tracks(tmp_path, *marks)
    result = make(tmp_path, film, format="wav", original_mode="keep", original=1, loudness_lufs=None)
    assert result.record.original_used
    heights = {hertz: amplitude(sound_of(result.path), hertz) for hertz in (440, 900, 1360)}
    assert max(heights, key=heights.__getitem__) == heard
    assert sorted(heights.values())[-2] < 0.001


@pytest.mark.parametrize("broken", [0, 1])
def test_where_one_sound_track_is_broken_the_own_sound_is_the_next_one(tmp_path: Path, broken: int) -> None:
    film = film_with_tracks(tmp_path, *("default" if number == broken else "0" for number in (0, 1)), codec="flac")
    spoil(film, broken)
    assert look(film).has_audio
    result = make(tmp_path, film, format="wav", original_mode="keep", original=1, loudness_lufs=None)
    assert amplitude(sound_of(result.path), (900, 440)[broken]) == pytest.approx(0.25, rel=0.05)
    spoil(film, 1 - broken)
    assert not look(film).has_audio


@pytest.mark.parametrize("name", ["film.mp4", "film.mov"])
@pytest.mark.parametrize("asked", ["mp4", "mkv"])
def test_the_text_of_chapters_that_are_kept_is_not_called_a_track_that_is_dropped(
    tmp_path: Path, name: str, asked: str
) -> None:
    film = rich_film(tmp_path, name, subtitles="mov_text")
    assert [stream.kind for stream in look(film).streams] == ["video", "audio", "audio", "subtitle", "data"]
    result = make(tmp_path, film, format=asked)
    assert [track.kind for track in result.record.tracks] == ["audio", "audio", "subtitle"]
    assert [mark[2] for mark in chapters(result.path)] == ["a=b; c", "two"]


def test_a_data_track_that_is_no_chapters_text_is_reported(tmp_path: Path) -> None:
    plain = rich_film(tmp_path, "film.mov", subtitles=None)
    film = tmp_path / "clock.mov"
    kept = media.source(plain)
    streams = [kept[str(index)] for index in range(3)]
    options = {"metadata": "timecode=01:00:00:00", "map_chapters": 0, "video_track_timescale": 12_800}
    media.run(ffmpeg.output(*streams, str(film), c="copy", **options), timeout_seconds=30)
    kinds = [stream.kind for stream in look(film).streams]
    assert kinds.count("data") == 2
    (told_of,) = [track for track in make(tmp_path, film, format="mp4").record.tracks if track.kind == "data"]
    with media.open_media(film) as container:
        assert "timecode" in container.streams[told_of.index].metadata
    assert told_of.result == "dropped"


def test_a_note_tells_how_many_chapters_are_left_out(tmp_path: Path) -> None:
    plain = make_video(tmp_path / "plain.mp4", frames=50)
    (tmp_path / "labels").write_text(
        ffmetadata({}, chapters=[Chapter(i / 1000, (i + 1) / 1000, {"title": f"{i}"}) for i in range(1500)])
    )
    film = tmp_path / "film.mkv"
    labels = ("-f", "ffmetadata", "-i", str(tmp_path / "labels"))
    made = ffmpeg.output(media.source(plain)["v:0"], str(film), c="copy", map_chapters=1)
    media.run(made.global_args(*labels), timeout_seconds=30)
    result = make(tmp_path, film, format="mkv")
    assert len(chapters(result.path)) == 1000
    assert "500 of 1500 chapters were left out: the first 1000 are kept" in result.record.notes
    assert not any("chapters" in note for note in make(tmp_path, film, format="wav").record.notes)


def test_sound_alone_has_no_other_tracks(tmp_path: Path) -> None:
    result = make(tmp_path, rich_film(tmp_path, "film.mkv"), format="wav")
    assert result.record.tracks == ()
    assert len(told(result.path, "audio")) == 1


def test_a_result_that_becomes_a_source_says_once_what_made_its_sound(tmp_path: Path) -> None:
    first = make(tmp_path, rich_film(tmp_path, "film.mp4", subtitles="mov_text")).path.rename(tmp_path / "again.mp4")
    result = make(tmp_path, first)
    with media.open_media(result.path) as container:
        assert container.metadata["comment"] == f"Seen at dawn\n{COMMENT}\nmusic by sketch/music, seed 7"
    titles = [title for _, _, title in told(result.path, "audio")]
    assert titles == ["Immersivaudio", "Immersivaudio", "English", "Commentaire"]
    assert by_default(result.path, "audio") == [True, False, False, False]


@pytest.mark.parametrize("asked", ["mp4", "mkv", "webm"])
def test_colours_stay_labelled_as_they_were(tmp_path: Path, asked: str) -> None:
    plain = make_video(tmp_path / "plain.mp4", frames=5)
    film = tmp_path / "film.mp4"
    labels = "h264_metadata=colour_primaries=9:transfer_characteristics=16:matrix_coefficients=9"
    media.run(ffmpeg.output(media.source(plain)["v:0"], str(film), c="copy", **{"bsf:v": labels}), timeout_seconds=30)
    result = make(tmp_path, film, format=asked)
    with media.open_media(result.path) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.color_primaries, codec.color_trc, codec.colorspace) == (9, 16, 9)


# Texts


def test_descriptions_are_a_webvtt_file_that_says_what_the_scenes_show() -> None:
    text = webvtt([*TEXTS, SceneText(2, 3661.5, "Two\n\nlines\x00"), SceneText(5, 5, "never"), SceneText(5, 6, " ")])
    assert text.split("\n\n") == [
        "WEBVTT - Descriptions",
        "NOTE Language: en",
        "00:00:00.000 --> 00:00:01.200\nA &lt;dog&gt; &amp; a cat --&gt; run",
        "00:00:01.200 --> 00:00:02.000\nA tree",
        "00:00:02.000 --> 01:01:01.500\nTwo lines\n",
    ]


@pytest.mark.parametrize(
    ("asked", "codec"), [("mp4", "mov_text"), ("mov", "mov_text"), ("mkv", "webvtt"), ("webm", "webvtt")]
)
def test_descriptions_become_a_text_track_where_they_are_asked_for(tmp_path: Path, asked: str, codec: str) -> None:
    film = make_video(tmp_path / "film.mp4", frames=50)
    result = make(tmp_path, film, texts=TEXTS, format=asked, descriptions=True)
    assert told(result.path, "subtitle") == [(codec, "eng", "Descriptions")]
    (first, dog), (second, tree) = shown_texts(result.path, 0)
    assert (first, second) == pytest.approx((0, 1.2), abs=0.001)
    assert (dog, tree) == ("A <dog> & a cat --> run", "A tree")
    assert result.record.duration_seconds == pytest.approx(SECONDS, abs=AUDIO_FRAME)
    if asked != "mov":  # QuickTime has no such flag
        with media.open_media(result.path) as container:
            assert container.streams.subtitles[0].disposition & av.stream.Disposition.descriptions


@pytest.mark.parametrize("asked", ["mp4", "mkv"])
def test_of_a_description_that_is_too_long_for_a_text_track_the_beginning_is_there(tmp_path: Path, asked: str) -> None:
    texts = [SceneText(0, 1, "é & " * 16_500), TEXTS[1]]
    result = make(tmp_path, make_video(tmp_path / "film.mp4", frames=50), texts=texts, format=asked, descriptions=True)
    assert result.record.picture == "copied"
    (_, long), (_, tree) = shown_texts(result.path, 0)
    assert long == ("é & " * 1000)[:3999].rstrip() + "…"
    assert tree == "A tree"
    assert (result.path.parent / "descriptions.vtt").read_text() == webvtt(texts)
    assert webvtt(texts).count("é") == 1000


@pytest.mark.parametrize("asked", ["mp4", "mov", "mkv", "webm"])
@pytest.mark.parametrize("subtitles", [None, "0", "default"])
def test_descriptions_are_not_shown_to_who_does_not_ask_for_them(
    tmp_path: Path, asked: str, subtitles: str | None
) -> None:
    plain = rich_film(tmp_path, "film.mkv", subtitles="srt" if subtitles else None)
    film = tmp_path / "marked.mkv"
    kept = media.source(plain)
    streams = [kept[str(stream.index)] for stream in look(plain).streams]
    marks = {"disposition:s:0": subtitles} if subtitles else {}
    media.run(ffmpeg.output(*streams, str(film), c="copy", default_mode="passthrough", **marks), timeout_seconds=30)
    result = make(tmp_path, film, texts=TEXTS, format=asked, descriptions=True)
    expected = [False] if subtitles is None else [subtitles == "default", False]
    assert by_default(result.path, "subtitle") == expected
    assert by_default(result.path, "audio") == [True, False, False]
    assert by_default(result.path, "video") == [True]
    assert [text for _, text in shown_texts(result.path, len(expected) - 1)] == ["A <dog> & a cat --> run", "A tree"]
    assert [mark[2] for mark in chapters(result.path)] == ["a=b; c", "two"]


@pytest.mark.parametrize("asked", ["mp4", "wav"])
def test_descriptions_lie_beside_the_result_also_where_they_are_no_track(tmp_path: Path, asked: str) -> None:
    result = make(tmp_path, make_video(tmp_path / "film.mp4", frames=50), texts=TEXTS, format=asked)
    assert result.record.files.descriptions == "descriptions.vtt"
    assert (result.path.parent / "descriptions.vtt").read_text() == webvtt(TEXTS)
    assert told(result.path, "subtitle") == []


@pytest.mark.parametrize("texts", [(), (SceneText(0, 1, " "),)])
def test_without_words_there_is_no_text_track(tmp_path: Path, texts: Sequence[SceneText]) -> None:
    result = make(tmp_path, make_video(tmp_path / "film.mp4", frames=50), texts=texts, descriptions=True)
    assert told(result.path, "subtitle") == []


# Stems


def read_stem(path: Path) -> Samples:
    with media.open_media(path) as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.layout.name, stream.codec_context.format.bits) == (RATE, "stereo", 32)
        frames: list[Any] = [frame.to_ndarray() for frame in container.decode(stream)]
    samples: Samples = np.concatenate(frames, axis=1).astype(np.float64) / 2**31
    return samples.reshape(2, -1) if samples.shape[0] == 2 else samples.reshape(-1, 2).T


@pytest.mark.parametrize("kind", ["flac", "wav"])
@pytest.mark.parametrize("asked", ["mp4", "mp3"])
def test_stems_lie_beside_the_result_and_are_as_long_as_it_to_the_sample(tmp_path: Path, kind: str, asked: str) -> None:
    film = make_video(tmp_path / "film.mp4", frames=47, rate=30, sound=True, sound_seconds=3)
    length = round(RATE * (look(film).duration_seconds or 0))
    stems = [stem(tmp_path, tone(1000, seconds=length / RATE), kind=name) for name in ("music", "sounds")]
    result = make(tmp_path, film, *stems, format=asked, stem_format=kind, original_mode="keep", loudness_lufs=None)
    copies = ("music.wav", "sounds.wav") if kind == "wav" else (None, None)
    files = result.record.files
    assert (files.mix, files.original, files.music, files.sounds) == (f"mix.{kind}", f"original.{kind}", *copies)
    for name in files.by_name.values():
        assert read_stem(result.path.parent / name).shape == (2, length)
    own = read_stem(result.path.parent / f"original.{kind}")
    assert np.abs(own[:, RATE // 4 : -RATE // 4]).max() == pytest.approx(0.25, rel=0.05)


def test_the_mix_beside_the_result_is_what_is_heard_in_it(tmp_path: Path) -> None:
    film = make_video(tmp_path / "film.mp4", frames=50, sound=True)
    result = make(tmp_path, film, stem(tmp_path, clicks(0.3, 1.7, seconds=2)), format="wav", stem_format="wav")
    assert np.abs(sound_of(result.path) - read_stem(result.path.parent / "mix.wav")).max() < 1e-6


def test_own_sound_above_full_scale_is_lowered_in_its_stem_so_that_it_does_not_clip(tmp_path: Path) -> None:
    film = rich_film(tmp_path, "film.mkv", sounds=("pcm_f32le", "aac"), own=tone(440, seconds=4, amplitude=0.9))
    loud = tmp_path / "loud.mkv"
    both = media.source(film)
    doubled = both["a:0"].filter("volume", volume=2, precision="float")
    media.run(ffmpeg.output(both["v:0"], doubled, str(loud), vcodec="copy", acodec="pcm_f32le"), timeout_seconds=30)
    result = make(tmp_path, loud)
    assert any("5.1 dB quieter" in note for note in result.record.notes)
    own = read_stem(result.path.parent / "original.flac")
    assert 0.99 < np.abs(own).max() < 1
    assert float(np.mean(np.abs(own) > 0.98)) < 0.2  # a clipped sine stays there for much longer


def test_a_result_is_as_it_was_where_the_source_has_labels_full_of_signs(tmp_path: Path) -> None:
    film = make_video(tmp_path / "plain.mp4", frames=5)
    strange = tmp_path / "film.mkv"
    title = "a=b;c#d\\e\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=9\ntitle=x 'y' \"z\" möwe"
    with av.open(str(film)) as source, av.open(str(strange), "w") as made:
        made.metadata.update({"title": title, "[CHAPTER]": "1"})
        stream = made.add_stream_from_template(source.streams.video[0])
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    result = make(tmp_path, strange, format="mkv")
    with media.open_media(result.path) as container:
        assert container.metadata["title"] == title
        assert container.chapters() == []
