"""What frame extraction costs, beside the first implementation's way: `ffmpeg -i FILE -vf fps=…`, which decodes everything.

    python -m bench.extraction [--minutes 10 60]

Makes H.264 videos (1280 x 720, 25 frames per second, a keyframe every 250) in a temporary folder: a camera that moves over a
photograph for 20 s, its packets repeated. Then takes the paper's n frames from each, in both ways. Ours uses one core, ffmpeg
all that there are.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import ffmpeg
from PIL import Image

from models import media
from models.frame_extraction import FrameExtractionSettings, FrameExtractor, frame_count

K = 10
PIECE_SECONDS, RATE, GOP = 20, 25, 250
RUNS = 5  # of ours; the other way takes too long


def make_piece(path: Path) -> None:
    from sklearn.datasets import load_sample_image

    photo = path.with_suffix(".png")
    Image.fromarray(load_sample_image("china.jpg")).resize((1920, 1280)).save(photo)
    moving = ffmpeg.input(photo, loop=1, framerate=RATE, t=PIECE_SECONDS).filter(
        "crop", 1280, 720, "(in_w-out_w)*(0.5+0.5*sin(t))", "(in_h-out_h)*(0.5+0.5*cos(t*0.7))"
    )
    noisy = moving.filter("noise", alls=12, allf="t")
    options = {"vcodec": "libx264", "preset": "veryfast", "pix_fmt": "yuv420p", "g": GOP, "crf": 26}
    media.run(ffmpeg.output(noisy, str(path), **options), timeout_seconds=600)


def repeat(piece: Path, path: Path, *, minutes: float) -> None:
    times = round(minutes * 60 / PIECE_SECONDS)
    media.run(media.source(piece, stream_loop=times - 1).output(str(path), c="copy"), timeout_seconds=600)


def decode_everything(video: Path, folder: Path, *, rate: float) -> None:
    folder.mkdir()
    taken = media.source(video).filter("fps", rate).output(str(folder / "%04d.jpg"), **{"q:v": 2})
    media.run(taken, timeout_seconds=3600)


def measure(video: Path, folder: Path, *, minutes: float) -> float:
    extractor = FrameExtractor(FrameExtractionSettings())
    times, cpu_times = [], []
    for run in range(RUNS):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        extractor.extract(video, folder / f"ours-{run}", k=K)
        times.append(time.perf_counter() - begin)
        cpu_times.append(time.process_time() - cpu_begin)
    ours, cpu = statistics.median(times), statistics.median(cpu_times)
    n = frame_count(minutes * 60, k=K)
    begin = time.perf_counter()
    decode_everything(video, folder / "theirs", rate=n / (minutes * 60))
    theirs = time.perf_counter() - begin
    made = [len(list((folder / way).iterdir())) for way in ("ours-0", "theirs")]
    print(
        f"{minutes:g} min ({video.stat().st_size / 1e6:.0f} MB), n = {n}: "
        f"FrameExtractor {ours:.2f} s ({made[0]} frames; {cpu:.2f} s of CPU; medians of {RUNS}), "
        f"ffmpeg -vf fps {theirs:.2f} s ({made[1]} frames), {theirs / ours:.0f} times as long",
        flush=True,
    )
    return ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 60])
    lengths = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_piece(folder / "piece.mp4")
        taken = []
        for minutes in lengths:
            video = folder / f"{minutes:g}.mp4"
            repeat(folder / "piece.mp4", video, minutes=minutes)
            (folder / video.stem).mkdir()
            taken.append(measure(video, folder / video.stem, minutes=minutes))
            video.unlink()
    if len(taken) > 1:
        print(f"{lengths[-1]:g} min / {lengths[0]:g} min: {taken[-1] / taken[0]:.2f}")


if __name__ == "__main__":
    main()
