"""From 1 to 10,000 GPUs: what is served, how long it takes, and what gives way first. Simulated, from measured times.

    python -m bench.simulate [--measured bench/measured/h200.json] [--film 60] [--share 0.8]      3 minutes
    python -m bench.simulate --check [--seconds 60]                                               7 minutes
    python -m bench.simulate --device base --to bench/measured/NAME.json                          on a machine with a GPU

Whatever comes of it is as good as the times that it is fed; where they are from is printed. --check looks how good the simulation
itself is: it runs the real service (sketch profile, AudioLDM2 on a modelled device, as in `bench/load.py`), takes the times of
single runs from it, then loads it, and simulates the same arrivals. --device measures AudioLDM2's calls on this machine.

The road is told for the device as it was measured, and once more for what it is assumed to become, where the file says that.
Music and sounds are made by pools of their own, side by side, as in serve_config.gpu.yaml; a run has its sound when both are done.

The road's columns:
    GPUs            of the audio, one replica on each, half of them for each stem; a single one has a replica of both, each at half
                    its pace; vision has others
    served          runs per second; offered is a share of what the audio can do
    p50, p95        seconds from arrival to result
    busy            share of the time in which the audio replicas had work
    inside          runs in the service
    vision, CPUs    replicas of vision, and cores for frames and results, for 70 % of their time
    GET PUT LIST    requests per second to the store for runs with one follower each, as counted on real ones
    active/         requests per second that list all unfinished runs, in pages of 1,000 keys
"""

import argparse
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import simpy

from bench.support.measured import Measured
from bench.support.simulated_audio import Device, Work
from bench.support.simulated_service import Outcome, Scaler, Scaling, Service, Shape, outcome, poisson
from bench.support.store_requests import KINDS, Requests, count
from serve.settings import RunSettings
from serve.worker import LOOK_SECONDS

GPUS = (1, 10, 100, 1_000, 10_000)
STEMS = 2
BUSY = 0.7  # of the servers that are no audio replicas
RUNS = 10_000  # counted at each size, about
KEYS_PER_PAGE = 1_000
KEYS_PER_RUN = 2  # of an unfinished run below active/: its mark and its owner's claim
ADMISSION_LISTS = 2  # of active/, for each run that comes: `check_room` and `check_place` of serve/admission.py
WAKES = 2  # a `Pipeline` looks at once, and not a second later, when a run has come and when one has ended

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
    with tempfile.TemporaryDirectory() as name:
        requests = count(Path(name))
    for counted in requests.counted:
        print(f"counted, a run with a follower, there for {counted}")
    print(f"so a run asks for {_told(requests.each)}, and every second for {_told(requests.per_second)}")
    print("(LOOK and BEAT are the Pipeline replica's, whatever the number of its runs)")
    tell("AS MEASURED", measured, requests, film=given.film, share=given.share)
    if measured.assumed:
        guess = replace(measured, device=measured.assumed)
        rows = 2 * measured.assumed.windows
        heading = f"ASSUMED, measured by nobody: a call of {rows} rows takes {guess.device.call_seconds(rows // 2):g} s"
        tell(heading, guess, requests, film=given.film, share=given.share)
    return 0


def tell(heading: str, measured: Measured, requests: Requests, *, film: float, share: float) -> None:
    """The road and the burst of one device."""
    print(f"\n== {heading} ==\n")
    road(measured, requests, film=film, share=share)
    burst(measured, measured.work(film))


@dataclass(frozen=True)
class Place:
    """The service at one size."""

    gpus: int
    rate: float
    seconds: float
    """Counted, after as much again to warm up, and with as much again for the last of them to end."""
    shape: Shape
    outcome: Outcome
    busy: float

    def lists(self) -> float:
        """Pages of the listing of unfinished runs, per second: every `Pipeline` replica looks, and so does admission.

        A replica looks when it is woken, and LOOK_SECONDS after its last look at the latest.
        """
        pages = math.ceil(KEYS_PER_RUN * self.outcome.inside / KEYS_PER_PAGE)
        woken = WAKES * self.rate / self.pipelines
        looks = woken / -math.expm1(-woken * LOOK_SECONDS)
        return pages * (self.pipelines * looks + ADMISSION_LISTS * self.rate)

    @property
    def pipelines(self) -> int:
        """Replicas of `Pipeline`, each with as many runs as it takes."""
        return max(1, math.ceil(self.outcome.inside / RunSettings().at_once))


def pooled(device: Device, *, gpus: int) -> tuple[Device, int]:
    """What a replica of one stem's pool does, and how many it has. A single GPU has one of each, which share its time."""
    if gpus >= STEMS:
        return device, gpus // STEMS
    return replace(
        device, calls={rows: STEMS * took for rows, took in device.calls.items()}, serial=STEMS * device.serial
    ), 1


def simulate(measured: Measured, work: Work, *, gpus: int, share: float) -> Place:
    """The service with GPUs for the audio, and as much of everything else as it takes. work: of one stem."""
    device, replicas = pooled(measured.device, gpus=gpus)
    rate = share * replicas * device.capacity(work)
    costs = measured.costs
    needed = {
        name: math.ceil(rate * getattr(costs, name) / BUSY)
        for name in ("ingress", "extraction", "vision", "reconstruction")
    }
    shape = Shape(STEMS, replicas, **{name: max(1, servers) for name, servers in needed.items()})
    calls = math.ceil(work.windows / device.windows) * work.steps
    elsewhere = (costs.ingress, costs.extraction, costs.vision, costs.between, costs.reconstruction)
    # The more is offered, the longer it takes until replicas have as much in hand as they will have: as a stem takes in a full one.
    settled = sum(elsewhere) + 2 * calls * device.call_seconds(device.windows) / max(0.1, 1 - share)
    seconds = max(settled, RUNS / rate)
    env = simpy.Environment()
    service = Service(env, device, costs, shape)
    env.process(poisson(service, lambda: work, per_second=rate))
    env.run(seconds)
    busy = _busy(service)
    env.run(2 * seconds)
    busy = (_busy(service) - busy) / seconds / (STEMS * replicas)
    env.run(3 * seconds)
    return Place(gpus, rate, seconds, shape, outcome(service, begin=seconds, end=2 * seconds), busy)


def _busy(service: Service) -> float:
    return sum(replica.busy for pool in service.pools for replica in pool.replicas)


def road(measured: Measured, requests: Requests, *, film: float, share: float) -> None:
    """The table, and what gives way at which size."""
    work = measured.work(film)
    print(f"films of {film:g} s, {STEMS} stems of {work.windows} windows, {work.steps} steps: ", end="")
    most = measured.device.capacity(work)
    print(f"a GPU makes {most:.3f} stems/s, {film * most:.1f} s of sound a second\n")
    print(
        f"{'GPUs':>6}{'offered':>10}{'served':>10}{'p50 s':>8}{'p95 s':>8}{'busy':>6}{'inside':>8}{'vision':>8}{'CPUs':>7}",
        end="",
    )
    print(f"{'Pipelines':>10}{'GET/s':>9}{'PUT/s':>8}{'LIST/s':>8}{'active/':>9}   counted")
    places = [_row(simulate(measured, work, gpus=gpus, share=share), requests) for gpus in GPUS]
    print()
    for place in places:
        for sentence in limits(place, requests):
            print(f"{place.gpus:>6} GPUs: {sentence}")


def _row(place: Place, requests: Requests) -> Place:
    got, shape = place.outcome, place.shape
    asked = rates(place, requests)
    cores = shape.extraction + shape.reconstruction
    print(
        f"{place.gpus:6}{place.rate:10.2f}{got.served:10.2f}{got.p50:8.1f}{got.p95:8.1f}{place.busy:6.0%}{got.inside:8}",
        end="",
    )
    print(
        f"{shape.vision:8}{cores:7}{place.pipelines:10}{asked['GET']:9.0f}{asked['PUT']:8.0f}{asked['LIST']:8.0f}"
        f"{place.lists():9.0f}   {place.seconds:.0f} s",
        flush=True,
    )
    return place


def rates(place: Place, requests: Requests) -> dict[str, float]:
    """Requests per second to the store, by kind, that runs and their followers make."""
    inside = place.outcome.inside
    return {kind: place.rate * requests.each[kind] + inside * requests.per_second[kind] for kind in KINDS}


def limits(place: Place, requests: Requests) -> list[str]:
    """What is asked of a part beyond what its makers say that it takes."""
    asked = rates(place, requests)
    gets, puts = asked["GET"] + asked["LIST"], asked["PUT"]
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
    """From a tenth to all of the load in one moment, with replicas that have to come. most: of both pools."""
    each = most // STEMS
    scaling = Scaling(1, each, seconds_to_drain=300, upscale_delay=10, downscale_delay=600, start_up=400, node=180)
    rate = 0.8 * each * measured.device.capacity(work)
    begin, end = 1_200.0, 6_000.0
    env = simpy.Environment()
    shape = simulate(measured, work, gpus=most, share=0.8).shape
    service = Service(env, measured.device, measured.costs, replace(shape, replicas=1))
    scalers = [Scaler(env, pool, scaling) for pool in service.pools]
    env.process(poisson(service, lambda: work, per_second=rate / 10))
    env.run(begin)
    before, most_inside = [scaler.target for scaler in scalers], 0
    env.process(poisson(service, lambda: work, per_second=0.9 * rate, seed=1))
    while env.now < end:
        env.run(env.now + 10)
        most_inside = max(most_inside, service.inside)
    during = outcome(service, begin=begin, end=begin + 1_800)
    after = outcome(service, begin=begin + 1_800, end=end - 600)
    enough = math.ceil(0.8 * each)
    reached = [
        next((f"{at - begin:.0f} s" for at, target in scaler.targets if at > begin and target >= enough), "never")
        for scaler in scalers
    ]
    print(
        f"\nten times as much in one moment, {rate:.2f} runs/s; serve_config.gpu.yaml's policy, {each} replicas a pool at most;"
    )
    print(
        f"ASSUMED: a node comes in {scaling.node:g} s, a replica on it starts in {scaling.start_up:g} s (nobody measured it)"
    )
    print(f"  music and sounds: {_and(before)} replicas before; {enough} are asked for after {_and(reached)}; ", end="")
    print(f"{_and([scaler.target for scaler in scalers])} at the end")
    print(f"  most runs inside {most_inside}; p95 {during.p95:.0f} s in the first half hour, {after.p95:.0f} s later")


def _and(both: Sequence[object]) -> str:
    return " and ".join(str(each) for each in both)


def _told(requests: dict[str, float]) -> str:
    return ", ".join(f"{number:.2f} {kind}" for kind, number in requests.items())


if __name__ == "__main__":
    raise SystemExit(main())
