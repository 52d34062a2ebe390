"""Runs while what works on them is killed, or replaced by a new version. Sketch profile, real HTTP, a Ray cluster of its own.

    python -m bench.chaos [--runs 60] [--pause 4] [--seed 1] [--upgrades 0]

All runs are submitted; then replicas of every deployment, chosen at random, are killed with SIGKILL every few seconds as long as
runs are in flight, and once all of the application's replicas together. Looked at afterwards: how every run ended, whether its
result plays and is as long as its picture, and, in the replicas' logs, whether a module began once more after it had finished.

With `--upgrades`, so many new versions are deployed one after another, each after its share of the runs was sent: the first ones
without kills, the last one (of two or more) with them. Meanwhile newcomers ask for further runs, and a file is uploaded in parts.
"""

import argparse
import functools
import io
import math
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path

import av
import yaml
from PIL import Image

from bench.support.nodes import Nodes, free_ports, nodes, wait_until_ready
from bench.support.replicas import kill, log_lines, replicas
from bench.support.upgrades import Followers, Newcomers, Seen, slow_upload, upgrade, version
from client import ImmersivaudioClient, Options, Run
from client.sample import FRAME_RATE, build_sample
from models.record import ModuleDone

DEPLOYMENTS = (
    "Ingress", "Pipeline", "FrameExtractor", "ObjectDetector", "FrameSelector", "FrameDescriber", "MusicGenerator",
    "SoundGenerator", "Reconstructor",
)  # fmt: skip
READY_SECONDS = 180.0
CPUS = 4  # that Ray counts, for two versions side by side
UPLOAD_BYTES = 24 * 2**20
LENGTH_TOLERANCE_SECONDS = 1024 / 48_000  # one audio frame


@dataclass
class Kills:
    """Kills replicas, one every `pause` seconds: each deployment in turn, in random order; after the first round, all together."""

    temp_dir: Path
    pause: float
    random: random.Random
    rounds: float = math.inf
    killed: Counter[str] = field(default_factory=Counter)
    whole_application: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def go_on(self) -> None:
        """Until `stop` is set, or all rounds are done."""
        round_ = 0
        while not self.stop.is_set() and round_ < self.rounds:
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


def submit(service: ImmersivaudioClient, folder: Path, count: int, *, seed: int = 0) -> list[str]:
    """Different videos and seeds, the first of them given, so that little can be found in the cache. Ids of the runs."""
    sample = folder / "sample.mp4"
    if not sample.exists():
        build_sample(sample)
    samples = [folder / f"{number}.mp4" for number in range(5)]
    for number, path in enumerate(samples):  # the same film in files that differ: each has a token of its own
        if not path.exists():
            path.write_bytes(padded(sample.read_bytes(), sample.stat().st_size + 8 + number))
    return [service.submit(samples[n % 5], Options(seed=n, k=5 + n // 5)).id for n in range(seed, seed + count)]


def padded(sample: bytes, size: int) -> bytes:
    """The same film in a file of so many bytes: a `free` box follows it."""
    padding = size - len(sample)
    return sample + padding.to_bytes(4, "big") + b"free" + bytes(padding - 8)


def begun_after_done(service: ImmersivaudioClient, runs: Iterable[Run], *temp_dirs: Path) -> int:
    """How often a module began to work for a run that had its output in the log already. `temp_dirs`: every node's Ray folder."""
    begun = defaultdict(list)
    for line in chain.from_iterable(map(log_lines, temp_dirs)):
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


@dataclass
class Upgrade:
    """One new version, and what newcomers saw while it came."""

    seconds: float
    kills: int
    seen: Seen


@dataclass
class Upgrades:
    """Deploys one version after another, each while runs are in flight, the last one while replicas are killed as well."""

    cluster: Nodes
    config: dict[str, object]
    count: int
    kills: Kills
    newcomers: Newcomers
    done: list[Upgrade] = field(default_factory=list)

    def go_on(self, send: Callable[[int], None]) -> None:
        """Until the last version is there. `send` sends the runs that are to be in flight for this one."""
        for number in range(1, self.count + 1):
            send(number)
            if 1 < number == self.count:
                _thread(self.kills.go_on)
            self.newcomers.seen = Seen()
            deploy = functools.partial(self.cluster.deploy, version(self.config, number))
            seconds = upgrade(deploy, self.kills.temp_dir)
            self.done.append(Upgrade(seconds, self.kills.killed.total(), self.newcomers.seen))
        self.kills.stop.set()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between kills")
    parser.add_argument("--seed", type=int, default=1, help="of the order in which deployments are killed")
    parser.add_argument("--upgrades", type=int, default=0, help="new versions to deploy meanwhile")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, one_node(Path(name)) as (cluster, config, url):
        rounds = 1 if given.upgrades else math.inf  # whoever is killed for ever is never replaced by a new version
        kills = Kills(cluster.nodes[0].ray, given.pause, random.Random(given.seed), rounds)
        with ImmersivaudioClient(url) as service:
            if given.upgrades:
                newcomers = Newcomers(url, _picture())
                upgrades = Upgrades(cluster, config, given.upgrades, kills, newcomers)
                return _upgrades(service, url, given.runs, upgrades, Path(name))
            return _chaos(service, url, submit(service, Path(name), given.runs), kills, Path(name))


def _picture() -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (64, 36), "teal").save(picture, "PNG")
    return picture.getvalue()


@contextmanager
def one_node(folder: Path) -> Iterator[tuple[Nodes, dict[str, object], str]]:
    """The service on a cluster of one node: the cluster, what was deployed, and the service's address."""
    config = yaml.safe_load(Path("serve_config.yaml").read_text())
    config["applications"][0]["args"]["store"] = str(folder / "store")
    config["http_options"]["port"] = free_ports(1)[0]
    url = f"http://127.0.0.1:{config['http_options']['port']}"
    with nodes({}) as cluster:
        cluster.start_head(cpus=CPUS)
        cluster.deploy(config)
        wait_until_ready(url, seconds=READY_SECONDS)
        yield cluster, config, url


def _chaos(service: ImmersivaudioClient, url: str, ids: list[str], kills: Kills, folder: Path) -> int:
    began, killing = time.monotonic(), _thread(kills.go_on)
    followers = Followers(url)
    followers.follow(ids)
    runs, heard = followers.told()
    kills.stop.set()
    killing.join()
    print(f"{len(ids)} runs of a 12 s video in {time.monotonic() - began:.0f} s")
    _tell_kills(kills)
    return 0 if nothing_lost(service, runs, heard, folder, kills.temp_dir) else 1


def _upgrades(service: ImmersivaudioClient, url: str, count: int, upgrades: Upgrades, folder: Path) -> int:
    followers, share = Followers(url), count // upgrades.count
    upgrading = threading.Event()
    upload: list[tuple[str, int]] = []

    def send(number: int) -> None:
        followers.follow(submit(service, folder, share, seed=share * (number - 1)))
        if number == 1:
            content = padded((folder / "sample.mp4").read_bytes(), UPLOAD_BYTES)
            sending.append(_thread(lambda: upload.append(slow_upload(url, content, upgrading.is_set))))
            _thread(upgrades.newcomers.go_on)

    sending: list[threading.Thread] = []
    upgrading.set()
    upgrades.go_on(send)
    upgrading.clear()
    upgrades.newcomers.stop.set()
    runs, heard = followers.told()
    sending[0].join()
    ((sent, broke),) = upload
    whole = service.wait(sent).status == "finished"
    print(f"{len(runs)} runs of a 12 s video")
    print("version  seconds  kills  newcomers accepted  refused  longest answer  longest gap, seconds")
    for number, one in enumerate(upgrades.done, 1):
        accepted = one.seen.answers["202"]
        refused = one.seen.answers.total() - accepted
        print(f"{number:7} {one.seconds:8.0f} {one.kills:6} {accepted:19} {refused:8}", end="")
        print(f" {one.seen.longest_answer:15.1f} {one.seen.longest_gap:12.1f}")
    if upgrades.kills.killed:
        _tell_kills(upgrades.kills)
    fine = nothing_lost(service, runs, heard, folder, upgrades.kills.temp_dir)
    print(f"an upload through all of them: {broke} parts sent again, {'finished' if whole else 'lost'}")
    return 0 if fine and whole else 1


def _thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _tell_kills(kills: Kills) -> None:
    print("killed:", ", ".join(f"{name} {kills.killed[name]}" for name in DEPLOYMENTS))
    print(f"kills {kills.killed.total()}, of the whole application at once {kills.whole_application}")


def nothing_lost(service: ImmersivaudioClient, runs: list[Run], heard: int, folder: Path, *temp_dirs: Path) -> bool:
    """Prints what has become of the runs, and says whether that is as it should be.

    `heard`: how many followers heard everything. `temp_dirs`: every node's Ray folder.
    """
    whole = 0
    for run in runs:
        if run.status == "finished":
            service.download(run.id, "video", folder / "result.mp4")
            whole += plays(folder / "result.mp4", run.record.video_input.result_seconds)
    again = begun_after_done(service, runs, *temp_dirs)
    ended = Counter(run.status for run in runs)
    print("ended:", ", ".join(f"{status} {number}" for status, number in ended.items()))
    print(f"resumptions {sum(run.resumptions for run in runs)}, retries {sum(run.retries for run in runs)}")
    print(f"lost {len(runs) - ended['finished']}, results that play and have the right length {whole}")
    print(f"followers who heard every event once and in order {heard}")
    print(f"modules that began again after they had finished {again}")
    return ended["finished"] == whole == heard == len(runs) and again == 0


if __name__ == "__main__":
    raise SystemExit(main())
