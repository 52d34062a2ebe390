"""The simulation against what is known of queues without it."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import simpy

from bench.simulate import limits, simulate
from bench.support.measured import Measured
from bench.support.simulated_audio import Audio, Device, Work
from bench.support.simulated_service import Costs, Scaler, Scaling, Service, Shape, at_times, outcome, poisson
from bench.support.store_requests import Counted, Requests, through

FREE = Costs(ingress=0, extraction=0, vision=0, reconstruction=0)
ONE = Device({2: 1.0}, windows=1, serial=0, at_once=1)
"""A call makes one window in a second, and one run is worked on at a time."""
SHARED = Device({2: 0.1, 16: 0.17}, windows=8, serial=0, at_once=16)
MEASURED = Path(__file__).parents[2] / "bench" / "measured"


def simulated(
    device: Device,
    work: Work,
    *,
    costs: Costs = FREE,
    shape: Shape | None = None,
    per_second: float,
    seconds: float,
    vary: Callable[[float], float] = lambda mean: mean,
) -> Service:
    env = simpy.Environment()
    service = Service(env, device, costs, shape or Shape(), vary=vary)
    env.process(poisson(service, lambda: work, per_second=per_second))
    env.run(seconds)
    return service


def mean_seconds(service: Service) -> float:
    """From arrival to end, of the runs that came when the service was not empty any more."""
    runs = [run for run in service.runs[len(service.runs) // 10 :] if run.ended is not None]
    return sum((run.ended or 0) - run.came for run in runs) / len(runs)


def test_every_run_that_came_is_finished_refused_or_still_there() -> None:
    costs = Costs(ingress=0.01, extraction=0.1, vision=0.3, reconstruction=0.2, between=0.05)
    shape = Shape(most_inside=20, cores=2)
    service = simulated(SHARED, Work(3, 20), costs=costs, shape=shape, per_second=5, seconds=200)
    ended = sum(run.ended is not None for run in service.runs)
    refused = sum(run.refused for run in service.runs)
    assert min(ended, refused, service.inside) > 0
    assert len(service.runs) == ended + refused + service.inside
    assert service.inside <= 20


def test_a_replica_that_works_on_one_run_at_a_time_is_the_queue_m_d_1() -> None:
    # Pollaczek and Khinchine: the mean wait is ρ / (2 μ (1 - ρ)).
    service = simulated(ONE, Work(1, 1), per_second=0.7, seconds=20_000)
    assert mean_seconds(service) - 1 == pytest.approx(0.7 / (2 * 0.3), rel=0.15)


def test_a_place_with_several_servers_is_the_queue_m_m_c() -> None:
    # Erlang's C: of c servers that are offered a erlangs, a run finds all busy with this probability, and waits 1 / (c - a) then.
    servers, offered = 3, 2.1
    some = sum(offered**k / math.factorial(k) for k in range(servers))
    all_busy = offered**servers / math.factorial(servers) * servers / (servers - offered)
    expected = all_busy / (some + all_busy) / (servers - offered)
    times = random.Random(5)
    service = simulated(
        Device({2: 1e-9}, windows=1, serial=0, at_once=1),
        Work(1, 1),
        costs=Costs(ingress=0, extraction=0, vision=1, reconstruction=0),
        shape=Shape(vision=servers),
        per_second=offered,
        seconds=8_000,
        vary=lambda mean: times.expovariate(1 / mean) if mean else 0,
    )
    assert mean_seconds(service) - 1 == pytest.approx(expected, rel=0.2)


def test_runs_that_share_a_replica_take_as_long_as_in_processor_sharing() -> None:
    # Whatever they bring: E[S] / (1 - ρ).
    shared = Device({2: 0.01}, windows=1, serial=0, at_once=10**6)
    service = simulated(shared, Work(1, 100), per_second=0.7, seconds=15_000)
    assert mean_seconds(service) == pytest.approx(1 / 0.3, rel=0.15)


@pytest.mark.parametrize(("tracks", "seconds"), [(1, 20 * 0.1), (8, 20 * 0.17), (16, 2 * 20 * 0.17)])
def test_tracks_share_calls_up_to_the_most_windows_of_one(tracks: int, seconds: float) -> None:
    env = simpy.Environment()
    audio = Audio(env, SHARED, replicas=1)
    done = [audio.work(Work(1, 20)) for _ in range(tracks)]
    env.run(simpy.AllOf(env, done))
    assert env.now == pytest.approx(seconds)


def test_a_long_track_does_not_keep_a_short_one_waiting() -> None:
    env = simpy.Environment()
    audio = Audio(env, SHARED, replicas=1)
    audio.work(Work(100, 20))
    env.run(audio.work(Work(1, 20)))
    assert env.now == pytest.approx(20 * 0.17)  # one window in each of the calls that are full


def test_more_than_a_device_can_do_is_served_at_its_capacity() -> None:
    work = Work(3, 20)
    device = Device({2: 0.1, 16: 0.17}, windows=8, serial=0.05, at_once=16)
    service = simulated(device, work, per_second=2 * device.capacity(work), seconds=400)
    assert outcome(service, begin=100, end=400).served == pytest.approx(device.capacity(work), rel=0.05)
    assert device.capacity(work) == pytest.approx(1 / (3 * (20 * 0.17 / 8 + 0.05)))


def test_two_replicas_serve_twice_as_much_as_one() -> None:
    work = Work(3, 20)
    served = []
    for replicas in (1, 2):
        service = simulated(SHARED, work, shape=Shape(replicas=replicas), per_second=5, seconds=200)
        served.append(outcome(service, begin=50, end=200).served)
    assert served[1] == pytest.approx(2 * served[0], rel=0.05)


def test_replicas_come_for_what_waits_when_their_nodes_are_there_and_go_again() -> None:
    env = simpy.Environment()
    service = Service(env, SHARED, FREE, Shape())
    scaling = Scaling(1, 4, seconds_to_drain=30, upscale_delay=10, downscale_delay=60, start_up=20, node=40)
    [pool] = service.pools
    scaler = Scaler(env, pool, scaling)
    work = Work(3, 20)
    times = itertools.accumulate([0.3] * 500)
    env.process(at_times(service, lambda: work, list(times)))
    env.run(60)
    assert len(pool.replicas) == 1, "a node takes 40 s to come, and a replica 20 s more"
    env.run(150)
    assert len(pool.replicas) > 1
    env.run(1_000)
    assert service.inside == 0
    assert scaler.target == len(pool.replicas) == 1


def test_replicas_that_are_starting_when_fewer_are_wanted_never_come() -> None:
    env = simpy.Environment()
    service = Service(env, SHARED, FREE, Shape())
    [pool] = service.pools
    scaler = Scaler(env, pool, Scaling(1, 4, 30, upscale_delay=10, downscale_delay=60, start_up=200, node=400))
    env.process(at_times(service, lambda: Work(3, 20), [1.0 + 0.3 * run for run in range(300)]))
    env.run(500)
    assert max(target for _, target in scaler.targets) > 1
    assert scaler.target == len(pool.replicas) == 1
    env.run(3_000)
    assert scaler.target == len(pool.replicas) == 1


def test_a_replica_goes_only_when_fewer_were_wanted_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    env = simpy.Environment()
    monkeypatch.setattr(Scaler, "_wanted", lambda self: 3 if 30 <= env.now < 35 else 1)
    scaler = Scaler(env, Audio(env, SHARED, replicas=2), Scaling(1, 4, 30, 10, 60, start_up=0, node=0))
    env.run(1_000)
    assert scaler.targets[1:] == [(35 + 60, 1)], "for some seconds more were wanted, and the minute began again"


def test_a_run_has_its_sound_when_every_pool_has_made_its_stem() -> None:
    env = simpy.Environment()
    service = Service(env, ONE, FREE, Shape(pools=2))
    service.pools[1].work(Work(1, 5))  # something else keeps one of them busy for five seconds
    service.come(Work(1, 1))
    env.run(20)
    assert [run.ended for run in service.runs] == [6.0]
    assert [replica.busy for pool in service.pools for replica in pool.replicas] == [1.0, 6.0]


def test_two_pools_on_one_gpu_serve_half_as_much_as_on_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.simulate.RUNS", 1_000)
    measured = Measured("none", SHARED, Costs(0.01, 0.1, 0.1, 0.1), 10.24, 7.68, 20)
    one, two = (simulate(measured, measured.work(60), gpus=gpus, share=0.8) for gpus in (1, 2))
    assert two.rate == pytest.approx(2 * one.rate)
    assert two.outcome.served == pytest.approx(2 * one.outcome.served, rel=0.1)


def test_what_a_run_asks_of_the_store_is_the_line_through_what_was_counted() -> None:
    short, long = Counted(20, Counter(GET=300, PUT=80, LIST=40)), Counted(60, Counter(GET=500, PUT=80, LIST=60))
    found = through(short, long)
    assert found.per_second == {"GET": 5, "PUT": 0, "LIST": 0.5}
    assert found.each == {"GET": 200, "PUT": 80, "LIST": 30}
    assert str(short) == "20.0 s: 300 GET, 40 LIST, 80 PUT"


@pytest.mark.parametrize("path", sorted(MEASURED.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_measured_opens_and_says_where_it_comes_from(path: Path, tmp_path: Path) -> None:
    measured = Measured.read(path)
    assert len(measured.provenance) > 50
    measured.write(tmp_path / "again.json")
    assert Measured.read(tmp_path / "again.json") == measured


def test_a_thousand_gpus_are_said_to_ask_too_much_of_one_part_of_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.simulate.RUNS", 1_000)
    device = Device({2: 1.0, 32: 1.0}, windows=16, serial=0, at_once=32)
    measured = Measured("none", device, Costs(0.01, 0.1, 0.1, 0.1), 10.24, 7.68, 20)
    requests = Requests({"GET": 30, "PUT": 30, "LIST": 3}, {"GET": 10, "PUT": 3, "LIST": 3})
    one, thousand = (simulate(measured, measured.work(60), gpus=gpus, share=0.8) for gpus in (1, 1_000))
    assert limits(one, requests) == []
    assert any("partition" in sentence for sentence in limits(thousand, requests))
    assert thousand.outcome.p95 <= one.outcome.p95
