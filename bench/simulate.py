"""From 1 to 10,000 GPUs: what is served, how long it takes, and what gives way first. Simulated, from measured times.

    python -m bench.simulate [--measured bench/measured/h200.json] [--film 60] [--share 0.8]      2 minutes
    python -m bench.simulate --check [--seconds 60]                                               7 minutes
    python -m bench.simulate --device base --to bench/measured/NAME.json                          on a machine with a GPU

Whatever comes of it is as good as the times that it is fed; where they are from is printed. --check looks how good the simulation
itself is: it runs the real service (sketch profile, AudioLDM2 on a modelled device, as in `bench/load.py`), takes the times of
single runs from it, then loads it, and simulates the same arrivals. --device measures AudioLDM2's calls on this machine.

The road's columns:
    GPUs            audio replicas, one on each; vision has others
    served          runs per second; offered is a share of what the audio can do
    p50, p95        seconds from arrival to result
    busy            share of the time in which the audio replicas had work
    inside          runs in the service
    vision, CPUs    replicas of vision, and cores for frames and results, for 70 % of their time
    GET PUT LIST    requests per second to the store, counted on real runs with one follower each; LIST: as pages of 1,000 keys
"""

import argparse
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import simpy

from bench.support.measured import Measured
from bench.support.simulated_audio import Work
from bench.support.simulated_service import Outcome, Scaler, Scaling, Service, Shape, outcome, poisson
from bench.support.store_requests import Requests, count
from serve.settings import RunSettings
from serve.worker import LOOK_SECONDS

GPUS = (1, 10, 100, 1_000, 10_000)
STEMS = 2
BUSY = 0.7  # of the servers that are no audio replicas
RUNS = 40_000  # simulated at each size, about
KEYS_PER_PAGE = 1_000
KEYS_PER_RUN = 2  # of an unfinished run below active/: its mark and its owner's claim

# What others say that their parts take.
S3_GET, S3_PUT = 5_500, 3_500
"""Requests per second for each partition of a bucket's keys, at least (Amazon's performance guidelines)."""
RAY_NODES, RAY_ACTORS = 3_000, 20_000
"""The largest cluster that Ray's own release tests start (its scalability envelope)."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", type=Path, default=Path("bench/measured/h200.json"))
    parser.add_argument("--film", type=float, default=60, help="seconds of the films")
    parser.add_argument("--share", type=float, default=0.8, help="of what the audio can do, that is offered")
    parser.add_argument("--check", action="store_true", help="the simulation beside the real service")
    parser.add_argument("--seconds", type=float, default=60, help="of each load in --check")
    parser.add_argument("--device", choices=("toy", "base"), help="measure AudioLDM2 of this size here")
    parser.add_argument("--to", type=Path, help="where that is written to")
    given = parser.parse_args()
    if given.check:
        from bench.support.checking import check

        return check(given.seconds)
    measured = Measured.read(given.measured)
    if given.device:
        from bench.support.checking import measured_here

        found = measured_here(given.device, measured)
        print(found)
        if given.to:
            found.write(given.to)
        return 0
    print(f"{given.measured}: {measured.provenance}\n")
    work = measured.work(given.film, stems=STEMS)
    with tempfile.TemporaryDirectory() as name:
        requests = count(Path(name))
    road(measured, work, requests, film=given.film, share=given.share)
    burst(measured, work)
    return 0


@dataclass(frozen=True)
class Place:
    """The service at one size."""

    gpus: int
    rate: float
    seconds: float
    """Simulated, after as much again to warm up."""
    shape: Shape
    outcome: Outcome
    busy: float

    def lists(self) -> float:
        """Pages of the listing of unfinished runs, per second: every `Pipeline` replica looks, and three times a run that comes."""
        pages = math.ceil(KEYS_PER_RUN * self.outcome.inside / KEYS_PER_PAGE)
        return pages * (self.pipelines / LOOK_SECONDS + 3 * self.rate)

    @property
    def pipelines(self) -> int:
        """Replicas of `Pipeline`, each with as many runs as it takes."""
        return math.ceil(self.outcome.inside / RunSettings().at_once)


def simulate(measured: Measured, work: Work, *, gpus: int, share: float) -> Place:
    """The service with so many audio replicas and as much of everything else as it takes."""
    rate = share * gpus * measured.device.capacity(work)
    costs = measured.costs
    needed = {
        name: math.ceil(rate * getattr(costs, name) / BUSY)
        for name in ("ingress", "extraction", "vision", "reconstruction")
    }
    shape = Shape(replicas=gpus, **{name: max(1, servers) for name, servers in needed.items()})
    alone = sum(
        (costs.ingress, costs.extraction, costs.vision, costs.between, costs.reconstruction)
    ) + 3 / measured.device.capacity(work)
    seconds = max(3 * alone, min(3600.0, RUNS / 2 / rate))
    env = simpy.Environment()
    service = Service(env, measured.device, costs, shape)
    env.process(poisson(service, lambda: work, per_second=rate))
    env.run(seconds)
    busy = sum(replica.busy for replica in service.audio.replicas)
    env.run(2 * seconds)
    busy = sum(replica.busy for replica in service.audio.replicas) - busy
    return Place(gpus, rate, seconds, shape, outcome(service, begin=seconds, end=2 * seconds), busy / seconds / gpus)


def road(measured: Measured, work: Work, requests: Requests, *, film: float, share: float) -> None:
    """The table, and what gives way at which size."""
    device = measured.device
    print(f"films of {film:g} s, {STEMS} stems: {work.windows} windows, {work.steps} steps; ", end="")
    most = device.capacity(work)
    print(f"one audio replica makes {most:.3f} runs/s, {STEMS * film * most:.1f} s of sound a second")
    print(f"a run with a follower: {_told(requests.each)}, and every second {_told(requests.per_second)}\n")
    print(
        f"{'GPUs':>6}{'offered':>10}{'served':>10}{'p50 s':>8}{'p95 s':>8}{'busy':>6}{'inside':>8}{'vision':>8}{'CPUs':>7}",
        end="",
    )
    print(f"{'Pipelines':>10}{'GET/s':>10}{'PUT/s':>9}{'LIST/s':>10}   simulated")
    places = [_row(simulate(measured, work, gpus=gpus, share=share), requests) for gpus in GPUS]
    print()
    for place in places:
        for sentence in limits(place, requests):
            print(f"{place.gpus:>6} GPUs: {sentence}")


def _row(place: Place, requests: Requests) -> Place:
    got, shape = place.outcome, place.shape
    gets, puts = rates(place, requests)
    cores = shape.extraction + shape.reconstruction
    print(
        f"{place.gpus:6}{place.rate:10.2f}{got.served:10.2f}{got.p50:8.1f}{got.p95:8.1f}{place.busy:6.0%}{got.inside:8}",
        end="",
    )
    print(
        f"{shape.vision:8}{cores:7}{place.pipelines:10}{gets:10.0f}{puts:9.0f}{place.lists():10.0f}   {place.seconds:.0f} s",
        flush=True,
    )
    return place


def rates(place: Place, requests: Requests) -> tuple[float, float]:
    """GET and PUT requests per second to the store."""
    gets, puts = (
        place.rate * requests.each[kind] + place.outcome.inside * requests.per_second[kind] for kind in ("GET", "PUT")
    )
    return gets, puts


def limits(place: Place, requests: Requests) -> list[str]:
    """What is asked of a part beyond what its makers say that it takes."""
    gets, puts = rates(place, requests)
    found = []
    if gets > S3_GET or puts > S3_PUT:
        parts = max(math.ceil(gets / S3_GET), math.ceil(puts / S3_PUT))
        found.append(f"S3 has to divide the bucket into {parts} partitions or more")
    if place.lists() > S3_GET:
        found.append(f"{place.lists():.0f} listings a second are of one folder, active/: more than one partition gives")
    actors = place.gpus + sum(
        (place.shape.ingress, place.shape.extraction, place.shape.vision, place.shape.reconstruction, place.pipelines)
    )
    if actors > RAY_ACTORS or place.gpus > RAY_NODES:
        clusters = max(math.ceil(actors / RAY_ACTORS), math.ceil(place.gpus / RAY_NODES))
        found.append(
            f"{actors} actors on {place.gpus} nodes of one GPU are more than Ray tests: {clusters} clusters, one store"
        )
    return found


def burst(measured: Measured, work: Work, *, most: int = 16) -> None:
    """From a tenth to all of the load in one moment, with replicas that have to come."""
    scaling = Scaling(1, most, seconds_to_drain=300, upscale_delay=10, downscale_delay=600, start_up=400, node=180)
    rate = 0.8 * most * measured.device.capacity(work)
    begin, end = 1_200.0, 6_000.0
    env = simpy.Environment()
    shape = simulate(measured, work, gpus=most, share=0.8).shape
    service = Service(env, measured.device, measured.costs, replace(shape, replicas=max(1, most // 8)))
    scaler = Scaler(env, service.audio, scaling)
    env.process(poisson(service, lambda: work, per_second=rate / 10))
    env.run(begin)
    before, most_inside = scaler.target, 0
    env.process(poisson(service, lambda: work, per_second=0.9 * rate, seed=1))
    while env.now < end:
        env.run(env.now + 10)
        most_inside = max(most_inside, service.inside)
    during = outcome(service, begin=begin, end=begin + 1_800)
    after = outcome(service, begin=begin + 1_800, end=end - 600)
    reached = next((at - begin for at, target in scaler.targets if at > begin and target >= 0.8 * most), math.inf)
    print(
        f"\nten times as much in one moment, {rate:.2f} runs/s; the policy of serve_config.gpu.yaml, at most {most} replicas;"
    )
    print(f"ASSUMED: a node comes in {scaling.node:g} s, a replica on it starts in {scaling.start_up:g} s")
    print(
        f"  {before} replicas before; {0.8 * most:.0f} are asked for after {reached:.0f} s; {scaler.target} at the end"
    )
    print(f"  most runs inside {most_inside}; p95 {during.p95:.0f} s in the first half hour, {after.p95:.0f} s later")


def _told(requests: dict[str, float]) -> str:
    return ", ".join(f"{number:.1f} {kind}" for kind, number in requests.items())


if __name__ == "__main__":
    raise SystemExit(main())
