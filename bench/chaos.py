"""Runs while everything that works on them is killed. Sketch profile, real HTTP, a Ray cluster of its own.

    python -m bench.chaos [--runs 60] [--pause 4] [--seed 1]

All runs are submitted; then replicas of every deployment, chosen at random, are killed with SIGKILL every few seconds as long as
runs are in flight, and once all of the application's replicas together. Looked at afterwards: how every run ended, whether its
result plays and is as long as its picture, and, in the replicas' logs, whether a module began once more after it had finished.
"""

import argparse
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import av

from bench.support.replicas import kill, log_lines, replicas
from bench.support.service import fresh_service
from client import ImmersivaudioClient, Options, Run
from client.sample import FRAME_RATE, build_sample
from models.record import ModuleDone

DEPLOYMENTS = (
    "Ingress", "Pipeline", "FrameExtractor", "ObjectDetector", "FrameSelector", "FrameDescriber", "MusicGenerator",
    "SoundGenerator", "Reconstructor",
)  # fmt: skip
LENGTH_TOLERANCE_SECONDS = 1024 / 48_000  # one audio frame


@dataclass
class Kills:
    """Kills replicas, one every `pause` seconds: each deployment in turn, in random order, and once all of them together."""

    temp_dir: Path
    pause: float
    random: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    whole_application: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def go_on(self) -> None:
        """Until `stop` is set."""
        round_ = 0
        while not self.stop.is_set():
            order = list(DEPLOYMENTS)
            self.random.shuffle(order)
            for name in order:
                if self.stop.wait(self.pause):
                    return
                self._kill_one(name)
            round_ += 1
            if round_ == 1 and not self.stop.wait(self.pause):
                self._kill_all()

    def _kill_one(self, name: str) -> None:
        if there := replicas(self.temp_dir).get(name):
            kill(self.random.choice(there))
            self.killed[name] += 1

    def _kill_all(self) -> None:
        for name, there in replicas(self.temp_dir).items():
            for pid in there:
                kill(pid)
                self.killed[name] += 1
        self.whole_application += 1


def submit(service: ImmersivaudioClient, folder: Path, count: int) -> list[str]:
    """Different videos and seeds, so that little can be found in the cache. Ids of the runs."""
    samples = []
    for number in range(5):
        samples.append(folder / f"{number}.mp4")
        build_sample(samples[-1])
        with samples[-1].open("ab") as file:  # a `free` box: another token, and the same film
            file.write(b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    return [service.submit(samples[n % 5], Options(seed=n, k=5 + n // 5)).id for n in range(count)]


def begun_after_done(service: ImmersivaudioClient, runs: Iterable[Run], temp_dir: Path) -> int:
    """How often a module began to work for a run that had its output in the log already."""
    begun = defaultdict(list)
    for line in log_lines(temp_dir):
        if line.get("message") == "module begins":
            at = datetime.strptime(str(line["asctime"]), "%Y-%m-%d %H:%M:%S,%f").timestamp()
            begun[line["run_id"], line["module_name"], line.get("part")].append(at)
    late = 0
    for run in runs:
        for event in service.events(run.id):
            if isinstance(event, ModuleDone):
                stems = event.output.audio_generation.stems if event.output.audio_generation else ()
                unit = run.id, event.module, stems[0].kind if stems else None
                late += sum(at > event.at for at in begun[unit])
    return late


def plays(path: Path, seconds: float) -> bool:
    """Whether every frame of the file decodes, and sound and picture last as long as the picture did."""
    sound = picture = 0.0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0, video=0):
            if isinstance(frame, av.AudioFrame):
                sound = float(frame.time or 0) + frame.samples / frame.sample_rate
            elif isinstance(frame, av.VideoFrame):
                picture = float(frame.time or 0) + 1 / FRAME_RATE
    return all(abs(end - seconds) <= LENGTH_TOLERANCE_SECONDS for end in (sound, picture))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between kills")
    parser.add_argument("--seed", type=int, default=1, help="of the order in which deployments are killed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with fresh_service(folder) as here, ImmersivaudioClient(here.url) as service:
            return _chaos(service, here.scratch, folder, given)


def _chaos(service: ImmersivaudioClient, temp_dir: Path, folder: Path, given: argparse.Namespace) -> int:
    ids = submit(service, folder, given.runs)
    kills = Kills(temp_dir, given.pause, random.Random(given.seed))
    killing = threading.Thread(target=kills.go_on)
    began = time.monotonic()
    killing.start()
    try:
        runs = []
        for run_id in ids:
            for _ in service.events(run_id):
                pass
            runs.append(service.run(run_id))
    finally:
        kills.stop.set()
        killing.join()
    took = time.monotonic() - began
    whole = 0
    for run in runs:
        if run.status == "finished":
            service.download(run.id, "video", folder / "result.mp4")
            whole += plays(folder / "result.mp4", run.record.video_input.result_seconds)
    again = begun_after_done(service, runs, temp_dir)
    ended = Counter(run.status for run in runs)
    print(f"{given.runs} runs of a 12 s video in {took:.0f} s")
    print("killed:", ", ".join(f"{name} {kills.killed[name]}" for name in DEPLOYMENTS))
    print(f"kills {kills.killed.total()}, of the whole application at once {kills.whole_application}")
    print("ended:", ", ".join(f"{status} {number}" for status, number in ended.items()))
    print(f"resumptions {sum(run.resumptions for run in runs)}, retries {sum(run.retries for run in runs)}")
    print(f"lost {given.runs - ended['finished']}, results that play and have the right length {whole}")
    print(f"modules that began again after they had finished {again}")
    return 0 if ended["finished"] == whole == given.runs and again == 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
