"""The engine without its thread: turn by turn, so that who joins and leaves when is exactly known."""

import dataclasses
import functools
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed

from models.audio import Samples
from models.audio_generation import batch as batch_module
from models.audio_generation import networks as networks_module
from models.audio_generation import nothing_to_report
from models.audio_generation.batch import ContinuousBatch, Job
from models.audio_generation.engine import Engine
from models.audio_generation.loading import Checkpoint, load_pipeline
from models.audio_generation.networks import Networks
from models.audio_generation.sizes import Sizes
from models.audio_generation.text import TextEncoder
from models.audio_generation.tracks import Plan, Track, noise
from models.errors import ModuleFailed, OutOfMemory, WorkerDied

RATE = 8000
WINDOW = 128
OVERLAP = 32

SAME = 1e-4
"""Of the sound's RMS, so 80 dB below it. Calls with more or fewer rows add up float32 products in another order, which was seen to
change the toy's samples by 2 to 4 parts in 100,000."""


class Studio:
    """A toy's networks, and what is made with them."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline(Checkpoint("toy", folder), device="cpu", dtype=torch.float32)
        self.networks = Networks(self.pipeline, compiled=False)
        self.texts = TextEncoder(self.pipeline)

    def plan(self, prompt: str = "rain", negative: str = "low quality", seconds: float = 2, **named: Any) -> Plan:
        return Plan(
            round(seconds * RATE),
            self.texts.encode(prompt),
            self.texts.encode(negative),
            **{"guidance": 3.5, "steps": 4, "seed": (1,), **named},
        )

    def track(self, plan: Plan) -> Track:
        scheduler = self.pipeline.scheduler
        return Track(plan, self.networks, type(scheduler).from_config(scheduler.config), overlap=OVERLAP)

    def job(self, *plans: Plan) -> Job:
        return Job([self.track(plan) for plan in plans])

    def batch(self, largest: int = 4) -> ContinuousBatch:
        return ContinuousBatch(self.networks, largest=largest)

    def alone(self, plan: Plan) -> Samples:
        job = self.job(plan)
        run(self.batch(), job)
        return result(job)


def run(batch: ContinuousBatch, *jobs: Job) -> None:
    for job in jobs:
        batch.add(job)
    while batch.jobs:
        batch.turn()


def result(job: Job) -> Samples:
    assert job.failure is None
    return np.concatenate([track.result() for track in job.tracks])


def same(one: Samples, other: Samples) -> bool:
    return one.shape == other.shape and bool(np.abs(one - other).max() < SAME * one.std())


@pytest.fixture(scope="module")
def studio(toy_audioldm2: Path) -> Studio:
    return Studio(toy_audioldm2)


@pytest.fixture
def calls(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[int, ...]]]:
    """Rows and timesteps of every call of the UNet."""
    made = []
    predict = studio.networks.predict

    def watched(latents: torch.Tensor, rows: Sequence[int], times: Sequence[int], texts: Any) -> torch.Tensor:
        assert latents.shape[2] == WINDOW
        made.append((len(rows), tuple(times)))
        return predict(latents, rows, times, texts)

    monkeypatch.setattr(studio.networks, "predict", watched)
    return made


def company(studio: Studio) -> list[Job]:
    """Whatever others may ask for: other lengths, steps, guidance, seeds, and texts of other lengths."""
    return [
        studio.job(studio.plan("a calm sea at night and the sound of wind and birds", seconds=6, steps=5, seed=(2,))),
        studio.job(studio.plan("dogs", "", seconds=0.5, steps=2, guidance=1, seed=(3,))),
        studio.job(studio.plan("wind", "music " * 40, seconds=4, steps=3, guidance=8, seed=(4,))),
    ]


class TestTheSameSeedMakesTheSameSound:
    @pytest.mark.parametrize(
        ("seconds", "largest", "guidance"),
        [(1, 3, 3.5), (1, 16, 1), (2.56, 1, 3.5), (2.56, 16, 3.5), (7, 3, 1), (7, 16, 3.5)],
    )
    def test_in_any_company(self, studio: Studio, seconds: float, largest: int, guidance: float) -> None:
        wanted = studio.plan(seconds=seconds, guidance=guidance)
        alone = studio.alone(wanted)
        for place in (0, 3):
            jobs = company(studio)
            jobs.insert(place, studio.job(wanted))
            run(studio.batch(largest), *jobs)
            assert same(alone, result(jobs[place]))

    def test_when_it_joins_others_on_their_way_and_others_join_it(self, studio: Studio) -> None:
        wanted = studio.plan(seconds=5, steps=6)
        alone = studio.alone(wanted)
        first, second, third = company(studio)
        job, batch = studio.job(wanted), studio.batch(2)
        batch.add(first)
        for joining in (job, second, third):
            for _ in range(3):
                batch.turn()
            batch.add(joining)
        run(batch)
        assert same(alone, result(job))

    def test_when_others_leave_it_on_the_way(self, studio: Studio) -> None:
        wanted = studio.plan(seconds=5, steps=6)
        alone = studio.alone(wanted)
        job, batch, others = studio.job(wanted), studio.batch(3), company(studio)
        for joining in (job, *others):
            batch.add(joining)
        for other in others:
            batch.turn()
            other.cancelled = True
        run(batch)
        assert same(alone, result(job))

    def test_bit_by_bit_in_the_same_company_on_another_replica(self, studio: Studio, toy_audioldm2: Path) -> None:
        made = []
        for each in (studio, Studio(toy_audioldm2)):
            jobs = company(each)
            run(each.batch(), *jobs)
            made.append([result(job) for job in jobs])
        assert all(np.array_equal(one, other) for one, other in zip(*made, strict=True))

    def test_and_another_seed_another(self, studio: Studio) -> None:
        assert not same(studio.alone(studio.plan()), studio.alone(studio.plan(seed=(2,))))

    def test_noise_at_a_place_is_the_same_however_long_the_track_and_wherever_it_begins(self, studio: Studio) -> None:
        sizes = studio.networks.sizes
        long = noise((5,), first_row=0, rows=1000, sizes=sizes)
        assert torch.equal(long[:300], noise((5,), first_row=0, rows=300, sizes=sizes))
        assert torch.equal(long[700:750], noise((5,), first_row=700, rows=50, sizes=sizes))
        assert torch.equal(long[:50], noise((5,), first_row=-20, rows=70, sizes=sizes)[20:])
        assert abs(float(long.std()) - 1) < 0.02
        assert not torch.equal(long[:256], long[256:512])


class TestSharedCalls:
    def test_hold_windows_of_several_tracks_at_their_own_timesteps(
        self, studio: Studio, calls: list[tuple[int, tuple[int, ...]]]
    ) -> None:
        run(studio.batch(8), *company(studio))
        assert max(len(set(times)) for _, times in calls) == 3

    def test_are_as_few_as_can_be(self, studio: Studio, calls: list[tuple[int, tuple[int, ...]]]) -> None:
        run(studio.batch(8), *(studio.job(studio.plan(seed=(seed,))) for seed in range(8)))
        assert [rows for rows, _ in calls] == [16] * 4

    def test_are_no_larger_for_a_longer_track_and_more_in_proportion(
        self, studio: Studio, calls: list[tuple[int, tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        decoded: list[torch.Size] = []
        for network in ("decode", "vocode"):
            usual = getattr(studio.networks, network)

            def watched(given: torch.Tensor, usual: Any = usual) -> torch.Tensor:
                decoded.append(given.shape)
                made: torch.Tensor = usual(given)
                return made

            monkeypatch.setattr(studio.networks, network, watched)
        rows, shapes = [], []
        for seconds in (20, 200):
            run(studio.batch(4), studio.job(studio.plan(seconds=seconds, steps=1)))
            assert max(count for count, _ in calls) == 8
            rows.append(sum(count for count, _ in calls))
            shapes.append(set(decoded))
            calls.clear()
            decoded.clear()
        assert 9 < rows[1] / rows[0] < 11
        assert shapes[0] == shapes[1] == {(WINDOW, 4, 4), (WINDOW * 4, 16)}

    def test_take_in_no_more_tracks_than_fill_them(self, studio: Studio) -> None:
        batch, job = studio.batch(4), studio.job(*(studio.plan(seconds=60, seed=(seed,)) for seed in range(8)))
        batch.add(job)
        for _ in range(20):
            batch.turn()
            assert len(job.begun) <= 2

    def test_have_one_of_a_few_shapes_where_they_are_compiled(
        self, toy_audioldm2: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compiled: list[dict[str, Any]] = []
        shapes: set[tuple[Any, ...]] = set()

        def pretended(network: Any, **options: Any) -> Any:
            compiled.append(options)

            def watched(*tensors: torch.Tensor) -> torch.Tensor:
                shapes.add((len(compiled), *(tuple(tensor.shape) for tensor in tensors)))
                made: torch.Tensor = network(*tensors)
                return made

            return watched

        monkeypatch.setattr(torch, "compile", pretended)
        fixed = Studio(toy_audioldm2)
        fixed.networks = Networks(fixed.pipeline, compiled=True)
        assert fixed.networks.warm_up(6) == 6
        warmed = set(shapes)
        jobs = company(fixed)
        run(fixed.batch(6), *jobs)
        assert shapes == warmed
        assert {shape[1][0] for shape in shapes if len(shape) == 6} == {2, 4, 8, 16}
        assert all(options["fullgraph"] for options in compiled)
        for job, plain in zip(jobs, company(studio), strict=True):
            run(studio.batch(1), plain)
            assert same(result(plain), result(job))

    def test_of_each_network_are_one_graph(
        self, toy_audioldm2: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """torch's own tracing, which refuses what is not; its compiler would take minutes here."""
        graphs: list[Any] = []

        def backend(graph: torch.fx.GraphModule, _: object) -> Any:
            graphs.append(graph)
            return graph.forward

        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
        traced = Studio(toy_audioldm2)
        traced.networks = Networks(traced.pipeline, compiled=True)
        assert traced.networks.warm_up(4) == 4
        assert len(graphs) == 3  # VAE, vocoder, and the UNet for calls of 8, 4 and 2 rows
        jobs = company(traced)
        run(traced.batch(4), *jobs)
        assert len(graphs) == 3
        for job, plain in zip(jobs, company(studio), strict=True):
            run(studio.batch(1), plain)
            assert same(result(plain), result(job))

    @pytest.mark.parametrize(
        "told",
        [
            "Failed to find C compiler. Please specify one.",
            "Command '['gcc', '/tmp/cuda_utils.c']' returned non-zero exit status 1.",
            "Found Tesla K80 which is too old: supported are devices of CUDA Capability >= 7.0",
        ],
    )
    def test_go_on_uncompiled_where_nothing_can_be_compiled(
        self,
        toy_audioldm2: Path,
        studio: Studio,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        told: str,
    ) -> None:
        monkeypatch.setattr(torch, "compile", compiler_that_fails(RuntimeError(told)))
        without = Studio(toy_audioldm2)
        without.networks = Networks(without.pipeline, compiled=True)
        assert without.networks.warm_up(4) == 4
        [record] = [record for record in caplog.records if record.name == networks_module.__name__]
        assert record.levelname == "WARNING"
        assert record.exc_info
        assert told in str(record.exc_info[1])
        job = without.job(without.plan(seconds=4))
        run(without.batch(4), job)
        assert same(studio.alone(studio.plan(seconds=4)), result(job))

    def test_do_not_go_on_where_the_device_is_broken(
        self, toy_audioldm2: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        raised = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        monkeypatch.setattr(torch, "compile", compiler_that_fails(raised))
        monkeypatch.setattr(networks_module, "_answers", lambda device: False)
        engine = Engine(Networks(Studio(toy_audioldm2).pipeline, compiled=True), largest=2)
        with pytest.raises(WorkerDied, match="illegal memory access"):
            engine.warm_up()
        with pytest.raises(WorkerDied):
            engine.check_health()


class TestMemory:
    def test_that_a_track_needs_beside_the_calls_is_little(self, studio: Studio) -> None:
        """At real size: of ten minutes less than a tenth of a GiB, where weights and calls take several."""

        class Published:
            sizes = Sizes(16000, frame=160, frames=4, channels=8, columns=16, window=256, text=128)
            device = torch.device("cpu")
            pinned = staticmethod(lambda tensor: tensor)

        plan = dataclasses.replace(studio.plan(), samples=600 * 16000)
        scheduler = type(studio.pipeline.scheduler).from_config(studio.pipeline.scheduler.config)
        track = Track(plan, Published(), scheduler, overlap=64)  # type: ignore[arg-type]
        track.begin()
        assert held_by(track) < 100 * 2**20
        track._decoding.begin(track._latent)
        assert held_by(track) < 120 * 2**20

    def test_of_the_device_is_let_go_when_a_track_is_done(self, studio: Studio) -> None:
        track = studio.track(studio.plan(seconds=60, steps=2))
        run(studio.batch(8), Job([track]))
        texts = 2 * (128 * 32 * 4 + 128 * 8 + 8 * 16 * 4)
        assert held_by(track) <= track.result().nbytes * 1.02 + texts


def held_by(track: Track) -> int:
    """Bytes of all tensors that can be reached from a track."""
    found: dict[int, int] = {}

    def look(thing: Any, depth: int) -> None:
        if isinstance(thing, torch.Tensor):
            found[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
        elif depth < 5 and isinstance(thing, list | tuple | deque):
            for part in thing:
                look(part, depth + 1)
        elif depth < 5 and not isinstance(thing, Networks) and hasattr(thing, "__dict__"):
            for part in vars(thing).values():
                look(part, depth + 1)

    look(track, 0)
    return sum(found.values())


class TestTurns:
    def test_a_short_track_beside_a_long_one_is_done_in_as_many_as_it_has_steps(self, studio: Studio) -> None:
        batch, long, short = studio.batch(4), studio.job(studio.plan(seconds=600)), studio.job(studio.plan(steps=4))
        batch.add(long)
        for _ in range(5):
            batch.turn()
        batch.add(short)
        turns = 0
        while not short.ended:
            batch.turn()
            turns += 1
        # a call of four windows costs the long one eight rows and the short one two: decoding (10 rows) has to wait for its turn
        assert turns <= 4 + 2 + 4
        assert not long.ended

    def test_are_shared_equally_where_there_are_more_tracks_than_places(self, studio: Studio) -> None:
        batch, jobs = studio.batch(2), [studio.job(studio.plan(seed=(seed,), steps=10)) for seed in range(6)]
        for job in jobs:
            batch.add(job)
        for _ in range(21):
            batch.turn()
            assert max(job.done for job in jobs) - min(job.done for job in jobs) <= 2

    def test_a_request_with_many_tracks_gets_no_more_than_one_with_few(self, studio: Studio) -> None:
        batch = studio.batch(2)
        many, one = studio.job(*(studio.plan(seed=(seed,)) for seed in range(8))), studio.job(studio.plan(seconds=20))
        batch.add(many)
        batch.add(one)
        for _ in range(12):
            batch.turn()
        assert abs(many.done - one.done) <= 10  # what one unit of work costs at most
        assert many.done > 10

    def test_who_comes_late_does_not_catch_up_what_it_missed(self, studio: Studio) -> None:
        batch, first, late = studio.batch(2), *(studio.job(studio.plan(seconds=60)) for _ in range(2))
        batch.add(first)
        for _ in range(10):
            batch.turn()
        batch.add(late)
        before = first.done
        for _ in range(10):
            batch.turn()
        assert abs((first.done - before) - late.done) <= 2


class TestLeaving:
    @pytest.mark.parametrize("after", [1, 4, 5])
    def test_takes_effect_at_the_next_turn(
        self, studio: Studio, calls: list[tuple[int, tuple[int, ...]]], after: int
    ) -> None:
        batch, job, other = studio.batch(4), studio.job(studio.plan(steps=4)), studio.job(studio.plan(steps=9))
        batch.add(job)
        batch.add(other)
        for _ in range(after):
            batch.turn()
        done = job.done
        job.cancelled = True
        calls.clear()
        batch.turn()
        assert batch.jobs == [other]
        assert job.done == done
        assert all(rows == 2 for rows, _ in calls)


def compiler_that_fails(raised: Exception) -> Any:
    """In place of torch.compile: what its compiler raises comes out as torch's own wraps it."""

    def backend(graph: torch.fx.GraphModule, _: object) -> Any:
        raise raised

    return functools.partial(torch.compile, backend=backend)


def with_room_for(rows: int, *, wrapped: bool = False) -> Any:
    """In place of torch.compile: networks that run out of memory with more rows, as a call or as the compiler tells it."""

    def compiled(network: Any, **_: Any) -> Any:
        def checked(*tensors: torch.Tensor) -> torch.Tensor:
            if len(tensors[0]) > rows:
                short = torch.OutOfMemoryError("CUDA out of memory")
                raise BackendCompilerFailed(compiled, short, None) if wrapped else short
            made: torch.Tensor = network(*tensors)
            return made

        return checked

    return compiled


class TestTooLittleMemory:
    def test_halves_the_calls_and_loses_nothing(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        alone = [studio.alone(studio.plan(seconds=5, seed=(seed,))) for seed in range(4)]
        predict = studio.networks.predict

        def tight(latents: torch.Tensor, rows: Sequence[int], times: Sequence[int], texts: Any) -> torch.Tensor:
            if len(rows) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return predict(latents, rows, times, texts)

        monkeypatch.setattr(studio.networks, "predict", tight)
        batch, jobs = studio.batch(8), [studio.job(studio.plan(seconds=5, seed=(seed,))) for seed in range(4)]
        run(batch, *jobs)
        assert batch.largest == 2
        assert all(same(one, result(job)) for one, job in zip(alone, jobs, strict=True))

    def test_of_a_moment_is_forgotten_after_a_while(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        predict = studio.networks.predict
        short = [True]

        def tight(*given: Any) -> torch.Tensor:
            if short:
                short.pop()
                raise torch.OutOfMemoryError("CUDA out of memory")
            return predict(*given)

        monkeypatch.setattr(studio.networks, "predict", tight)
        monkeypatch.setattr(batch_module, "PATIENCE", 3)
        batch = studio.batch(8)
        for seed in range(2):
            batch.add(studio.job(studio.plan(seed=(seed,), steps=20)))
        batch.turn()
        assert batch.largest == 1
        for _ in range(12):
            batch.turn()
        assert batch.largest == 8

    @pytest.mark.parametrize(
        ("raised", "failure"),
        [
            (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
            (RuntimeError("DefaultCPUAllocator: can't allocate memory"), OutOfMemory),
            (MemoryError(), OutOfMemory),
            (ValueError("odd"), ModuleFailed),
        ],
    )
    def test_for_a_track_to_begin_ends_its_request_alone(
        self, studio: Studio, raised: Exception, failure: type[Exception]
    ) -> None:
        job, other = studio.job(studio.plan(), studio.plan(seed=(3,))), studio.job(studio.plan(seed=(2,)))

        def begin() -> None:
            raise raised

        job.tracks[1].begin = begin  # type: ignore[method-assign]
        run(studio.batch(8), job, other)
        assert isinstance(job.failure, failure)
        assert job.ended
        assert same(result(other), studio.alone(studio.plan(seed=(2,))))

    def test_found_at_the_start_stays(self, toy_audioldm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is not compiled is not asked for, however calm it is."""
        monkeypatch.setattr(torch, "compile", with_room_for(4))
        monkeypatch.setattr(batch_module, "PATIENCE", 1)
        studio = Studio(toy_audioldm2)
        studio.networks = Networks(studio.pipeline, compiled=True)
        engine = Engine(studio.networks, largest=8)
        engine.warm_up()
        tracks = [studio.track(studio.plan(seconds=9)) for _ in range(2)]
        engine.run(tracks, on_step=nothing_to_report)
        assert engine._loop.batch.largest == 2

    @pytest.mark.parametrize("network", ["predict", "decode", "vocode"])
    @pytest.mark.parametrize(
        "raised",
        [
            torch.OutOfMemoryError("CUDA out of memory"),
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            torch.AcceleratorError("CUDA error: out of memory"),
        ],
    )
    def test_for_a_single_window_fails_who_asked_for_it_and_nobody_else(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch, network: str, raised: Exception
    ) -> None:
        job, other = studio.job(studio.plan()), studio.job(studio.plan(seed=(2,)))
        batch = studio.batch(1)
        usual = getattr(studio.networks, network)
        failed: list[bool] = []

        def once(*arguments: Any) -> Any:
            if not failed:
                failed.append(True)
                raise raised
            return usual(*arguments)

        monkeypatch.setattr(studio.networks, network, once)
        run(batch, job, other)
        assert isinstance(job.failure, OutOfMemory)
        assert same(result(other), studio.alone(studio.plan(seed=(2,))))

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_at_the_start_leaves_out_the_shapes_that_do_not_fit(
        self, toy_audioldm2: Path, monkeypatch: pytest.MonkeyPatch, wrapped: bool
    ) -> None:
        pipeline = load_pipeline(Checkpoint("toy", toy_audioldm2), device="cpu", dtype=torch.float32)
        monkeypatch.setattr(torch, "compile", with_room_for(10, wrapped=wrapped))
        assert Networks(pipeline, compiled=True).warm_up(16) == 4


class TestDecoding:
    def test_gives_what_the_vocoder_would_if_it_heard_the_whole(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heard: list[torch.Tensor] = []
        vocode = studio.networks.vocode

        def watched(mel: torch.Tensor) -> torch.Tensor:
            heard.append(mel)
            return vocode(mel)

        monkeypatch.setattr(studio.networks, "vocode", watched)
        made = studio.alone(studio.plan(seconds=12, steps=1))
        assert len({len(mel) for mel in heard}) == 1
        # the pieces follow one another by their length less twice the context: put together again, they are the whole
        whole, size = heard[0], len(heard[0])
        for mel in heard[1:]:
            shared = max(length for length in range(32, size) if torch.equal(whole[-length:], mel[:length]))
            whole = torch.cat([whole, mel[shared:]])
        with torch.no_grad():
            at_once = studio.pipeline.vocoder(whole[None])[0].numpy()
        assert np.abs(made - at_once[: len(made)]).max() < 1e-5

    def test_leaves_no_jump_where_windows_or_pieces_meet(self, studio: Studio) -> None:
        made = studio.alone(studio.plan(seconds=30))
        row = studio.networks.sizes.row
        borders = [start * row for start in range(WINDOW - OVERLAP, 1500, WINDOW - OVERLAP)]
        borders += [border + OVERLAP * row for border in borders]
        pieces = WINDOW * 4 - 64
        borders += [round((WINDOW * 4 - 32 + number * pieces) * 40) for number in range(12)]
        jumps = np.abs(np.diff(made))
        at_borders = [jumps[border - 3 : border + 3].max() for border in borders if border < len(jumps)]
        elsewhere = [jumps[place - 3 : place + 3].max() for place in range(500, len(jumps) - 500, 977)]
        assert len(at_borders) > 30
        assert np.median(at_borders) < 1.3 * np.median(elsewhere)
        assert max(at_borders) < 1.3 * max(elsewhere)

    def test_where_windows_overlap_the_latent_is_one(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        """With a network that looks at no other row, windows must change nothing: the whole latent at once is the truth."""
        monkeypatch.setattr(studio.networks, "_run_unet", lambda latents, *_: torch.tanh(latents) * 0.3)
        for joining in ("average", "swap"):
            plan = studio.plan(seconds=12, joining=joining)
            track = studio.track(plan)
            latent = track._noise.clone()
            scheduler = type(studio.pipeline.scheduler).from_config(studio.pipeline.scheduler.config)
            scheduler.set_timesteps(plan.steps)
            for time in scheduler.timesteps:
                latent = scheduler.step(torch.tanh(latent) * 0.3, time, latent).prev_sample
            batch, job = studio.batch(), Job([track])
            batch.add(job)
            while not track.denoised:
                batch.turn()
            assert torch.allclose(track._decoding._latent, latent, atol=1e-5)
            assert len(latent) > 3 * WINDOW

    def test_a_track_has_exactly_as_many_samples_as_planned(self, studio: Studio) -> None:
        for samples in (1, 159, 160, 161, WINDOW * 160, WINDOW * 160 + 1, 99_999):
            assert len(studio.alone(studio.plan(seconds=samples / RATE, steps=1))) == samples


class TestALoop:
    @pytest.mark.parametrize("seconds", [0.48, 2.56, 8])
    def test_has_no_beginning_and_no_end(self, studio: Studio, seconds: float) -> None:
        """The noise, turned by a share of its length, makes the sound turned by as much: no place in it is the joint."""
        plain, turned = (studio.track(studio.plan(seconds=seconds, loop=True)) for _ in range(2))
        jobs = [Job([plain]), Job([turned])]
        for job in jobs:
            job.window()  # lets the track begin; the step is begun again below
        rows, windows = len(plain._latent), plain._windows
        assert rows % windows == 0
        turned._latent = torch.roll(plain._latent, rows // windows, 0)
        for track in (plain, turned):
            track._begin_step()
        run(studio.batch(), *jobs)
        assert len(result(jobs[0])) == round(seconds * RATE)
        assert same(np.roll(result(jobs[0]), rows // windows * studio.networks.sizes.row), result(jobs[1]))
