"""What reconstruction costs, beside a plain copy with the same mix encoded, and beside the first implementation's way.

    python -m bench.reconstruction [--minutes 10]

Makes an H.264 video (1920 x 1080, 30 frames per second) with sound of its own, and two stems as long. Then, in this order:

- ours: `Reconstructor.reconstruct` with default options. It decodes the own sound, ducks the stems under it, reaches the loudness
  asked for, writes the mix and the own sound as FLAC, copies the picture and the own sound's track, and encodes the mix.
- plain: one run of ffmpeg that copies the picture and encodes the mix that ours made, as AAC with the same settings.
- three passes: what is known of the first implementation is that it wrote the picture without sound, merged the sounds into a
  file, and put both together; not with which options. Assumed here, as `ffmpeg` does when it is told nothing: the merged sound is
  MP3, and the last pass encodes sound and picture again. Beside it the same with the picture copied in all passes, which is the
  least that the three passes can have cost. Neither levels anything.

The encoding of the picture is measured on the first 20 s, and taken times the length.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from models import media
from models.containers import CONTAINERS
from models.reconstruction import ReconstructionSettings, Reconstructor, StemFile
from models.record import Options, Reconstruction, StemKind, VideoInput
from models.video_input import MediaLimits, SourceFile, probe

PIECE_SECONDS, RATE = 20, 30
ENCODED_SECONDS = 20
LIMIT = 3600  # seconds for one run of ffmpeg
RUNS = 3  # of each way that does not encode the picture


@dataclass(frozen=True)
class Cost:
    wall: float
    cpu: float
    """Seconds, of this process and of ffmpeg's."""


def cost_of(work: Callable[[], object]) -> Cost:
    def cpu() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    begin, cpu_begin = time.perf_counter(), cpu()
    work()
    return Cost(time.perf_counter() - begin, cpu() - cpu_begin)


def median(work: Callable[[], object]) -> Cost:
    return sorted((cost_of(work) for _ in range(RUNS)), key=lambda cost: cost.wall)[RUNS // 2]


def run(output: ffmpeg.nodes.OutputStream) -> None:
    media.run(output, timeout_seconds=LIMIT)


def made(source: str) -> ffmpeg.nodes.FilterableStream:
    """A picture or sound that ffmpeg makes up."""
    return ffmpeg.input(source, f="lavfi")


def make_film(path: Path, *, seconds: float) -> None:
    piece = path.with_name("piece.mp4")
    picture = made(f"testsrc2=size=1920x1080:rate={RATE}:duration={PIECE_SECONDS}")
    run(ffmpeg.output(picture, str(piece), vcodec="libx264", preset="ultrafast", pix_fmt="yuv420p", crf=26, g=250))
    # Something like speech: five seconds of noise, five of hardly any.
    noise = made(f"anoisesrc=color=pink:amplitude=0.3:sample_rate=48000:duration={seconds}")
    spoken = noise.filter("volume", "if(lt(mod(t,10),5),1,0.003)", eval="frame")
    looped = media.source(piece, stream_loop=-1)["v:0"]
    run(ffmpeg.output(looped, spoken, str(path), vcodec="copy", acodec="aac", ac=2, t=seconds))
    piece.unlink()


def make_stem(path: Path, kind: StemKind, *, seconds: float) -> StemFile:
    sources = {
        "music": f"sine=frequency=220:sample_rate=48000:duration={seconds}",
        "sounds": f"anoisesrc=color=brown:amplitude=0.4:seed=7:sample_rate=48000:duration={seconds}",
    }
    run(ffmpeg.output(made(sources[kind]), str(path), acodec="flac", ac=2, sample_fmt="s32"))
    return StemFile(kind, path)


def ours(video_input: VideoInput, film: Path, stems: list[StemFile], folder: Path) -> Reconstruction:
    folder.mkdir(exist_ok=True)
    return Reconstructor(ReconstructionSettings()).reconstruct(
        video_input, film, stems=stems, output=folder / "result.mp4"
    )


def plain(film: Path, mix: Path, folder: Path) -> None:
    aac = CONTAINERS["mp4"].sound.options
    streams = media.source(film)["v:0"], media.source(mix)["a:0"]
    run(ffmpeg.output(*streams, str(folder / "plain.mp4"), movflags="+faststart", **{"c:v": "copy", **aac}))


def three_passes(film: Path, stems: list[StemFile], folder: Path, *, seconds: float, copy: bool) -> None:
    coded = {"vcodec": "copy"} if copy else {}
    silent, merged = folder / "silent.mp4", folder / "merged.mp3"
    run(ffmpeg.output(media.source(film, t=seconds)["v:0"], str(silent), vcodec="copy"))
    sounds = [media.source(path, t=seconds)["a:0"] for path in (film, *(stem.path for stem in stems))]
    run(ffmpeg.output(ffmpeg.filter(sounds, "amix", inputs=len(sounds)), str(merged)))
    streams = media.source(silent)["v:0"], media.source(merged)["a:0"]
    run(ffmpeg.output(*streams, str(folder / "merged.mp4"), **coded))


def report(name: str, cost: Cost, beside: Cost) -> None:
    print(
        f"{name}: {cost.wall:.1f} s, {cost.cpu:.1f} s of CPU; "
        f"{cost.wall / beside.wall:.2f} times the plain copy's time, {cost.cpu / beside.cpu:.2f} times its CPU",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    seconds = parser.parse_args().minutes * 60
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = folder / "film.mp4"
        make_film(film, seconds=seconds)
        stems = [make_stem(folder / "music.flac", "music", seconds=seconds)]
        stems.append(make_stem(folder / "sounds.flac", "sounds", seconds=seconds))
        print(f"{seconds / 60:g} min, {film.stat().st_size / 1e6:.0f} MB; medians of {RUNS}", flush=True)
        video_input = probe(SourceFile.of(film, name=film.name, key="film"), options=Options(), limits=MediaLimits())
        record = ours(video_input, film, stems, folder / "ours")
        print(
            f"picture {record.picture}, {record.integrated_lufs} LUFS, ducked for {record.ducked_seconds:.0f} s",
            flush=True,
        )
        copied = median(lambda: plain(film, folder / "ours" / "mix.flac", folder))
        report("plain copy and AAC", copied, copied)
        report("ours", median(lambda: ours(video_input, film, stems, folder / "ours")), copied)
        passes = median(lambda: three_passes(film, stems, folder, seconds=seconds, copy=True))
        report("three passes, picture copied", passes, copied)
        part = min(seconds, ENCODED_SECONDS)
        whole = cost_of(lambda: three_passes(film, stems, folder, seconds=part, copy=False))
        times = seconds / part
        report("three passes, picture encoded", Cost(whole.wall * times, whole.cpu * times), copied)


if __name__ == "__main__":
    main()
