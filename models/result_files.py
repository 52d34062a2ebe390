"""What is written beside the result: its sound and the source's own as stems, and the scenes' descriptions."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import ffmpeg

from models import media
from models.audio import STEM_CHANNELS, STEM_SAMPLE_RATE
from models.containers import OutputOptions
from models.mixing import Mix, StemFile
from models.record import Files, StemFormat

DESCRIPTIONS = "descriptions.vtt"
HEADROOM_DB = 0.01  # what is rounded up must not clip
_CODECS: dict[StemFormat, OutputOptions] = {
    "flac": {"c:a:0": "flac", "sample_fmt:a:0": "s32"},
    "wav": {"c:a:0": "pcm_s24le", "rf64": "auto"},
}


def stem_outputs(
    sound: ffmpeg.nodes.FilterableStream, mix: Mix, stems: Sequence[StemFile], *, folder: Path, kind: StemFormat
) -> Iterator[ffmpeg.nodes.OutputStream]:
    """What ffmpeg is to write into `folder`, as 48 kHz, stereo, 24 bits.

    The mix, of which `sound` is what is heard, the own sound, and the generated stems that have another format.
    """

    def written(stream: ffmpeg.nodes.FilterableStream, name: str) -> ffmpeg.nodes.OutputStream:
        path = folder / f"{name}.{kind}"
        rate: OutputOptions = {"ar": STEM_SAMPLE_RATE, "ac": STEM_CHANNELS, "map_metadata": -1, "map_chapters": -1}
        return ffmpeg.output(stream, f"file:{path}", format=kind, **_CODECS[kind], **rate)

    yield written(sound, "mix")
    if mix.own is not None:
        own = media.source(mix.own)["a:0"]
        yield written(own.filter("volume", volume=f"{-lowered_by(mix):.2f}dB", precision="float"), "original")
    for stem in stems:
        if kind == "wav" and stem.path.suffix != ".wav":
            yield written(media.source(stem.path)["a:0"], stem.kind)


def lowered_by(mix: Mix) -> float:
    """By how many dB the own sound is lowered where it is written, so that none of it clips."""
    peak = mix.own_peak_dbfs
    return 0.0 if peak is None or peak <= -HEADROOM_DB else peak + HEADROOM_DB


def lowered_note(mix: Mix) -> tuple[str, ...]:
    """What a person should know about the level of the own sound's stem."""
    decibels = lowered_by(mix)
    if decibels < 0.1:
        return ()
    return (f"the original's stem is {decibels:.1f} dB quieter than in the source: its peaks are above full scale",)


def moved(folder: Path, to: Path) -> Files:
    """Move what was written to its place, and say what there is, by file name."""
    names = {}
    for name in Files.model_fields:
        found = next((path for path in folder.iterdir() if path.stem == name and path.suffix in _ENDINGS), None)
        if found is not None:
            found.replace(to / found.name)
            names[name] = found.name
    return Files(**names)


_ENDINGS = (".flac", ".wav", ".vtt")
