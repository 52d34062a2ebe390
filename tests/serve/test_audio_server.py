"""One audio model works on many requests at once, of one run or of many. Each keeps its own end, deadline and progress."""

import asyncio
import contextlib
import logging
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.audio import Audio
from models.audio_generation import AudioRequest, GeneratedAudio, OnStep
from models.audio_generation.audioldm2 import AudioLDM2Generator
from models.errors import DeadlinePassed, OtherModel
from models.record import Options, Outputs, Progress, Record, StemKind
from serve.audio_server import MusicGenerator
from serve.log import progress_key
from serve.modules import Task
from serve.settings import AppSettings
from tests import media_factory
from tests.serve import records
from tests.serve.following import run_to_the_end
from tests.serve.local import local_http
from tests.toys.audioldm2 import make_audioldm2

AT_ONCE = 4


class Meeting:
    """A generator none of whose calls goes on before all have come: one by one they would never end."""

    model = "meeting"
    at_once = AT_ONCE

    def __init__(self) -> None:
        self._all_here = threading.Barrier(AT_ONCE)

    def generate(self, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio:
        self._all_here.wait(10)
        on_step(1, 1)
        return sound()


class Endless:
    """A generator that goes on with every request until its seed is let go. What is stuck takes no steps."""

    model = "endless"

    def __init__(self) -> None:
        self.at_work: set[int] = set()
        self.let_go: set[int] = set()
        self.stuck: set[int] = set()

    def generate(self, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio:
        self.at_work.add(request.seed)
        try:
            step = 0
            while request.seed not in self.let_go:
                time.sleep(0.01)
                if request.seed not in self.stuck:
                    step += 1
                    on_step(step, 10_000)
        finally:
            self.at_work.discard(request.seed)
        return sound()


class EndlessMany(Endless):
    """And takes several at once."""

    at_once = AT_ONCE


def sound() -> GeneratedAudio:
    return GeneratedAudio(Audio(np.zeros((1, 8000), np.float32), 8000), steps=1, guidance=None)


def server(tmp_path: Path, model: Any, **given: object) -> MusicGenerator:
    class Fake(MusicGenerator):
        def load(self, settings: AppSettings) -> Any:
            return model

    return Fake(AppSettings.model_validate({"store": str(tmp_path / "store"), **given}))


def task(seed: int = 0, part: StemKind = "music", run_id: str | None = None, *, seconds: float = 1) -> Task:
    record = Record(video_input=records.video_input(duration_seconds=seconds, options=Options(seed=seed)))
    for module in (
        "frame_extraction",
        "object_detection",
        "frame_selection",
        "frame_description",
        "prompt_enhancement",
    ):
        record = record.append(records.output(module))
    return Task(record, f"videos/x/made/{part}-{seed}", run_id=run_id, part=part)


async def until(ready: Any) -> None:
    async with asyncio.timeout(10):
        while not ready():
            await asyncio.sleep(0.01)


def well(audio: MusicGenerator) -> bool:
    try:
        audio.check_health()
    except RuntimeError as error:
        return "has not stopped" not in str(error)
    return True


def seed_of(outputs: Outputs) -> int:
    assert outputs.audio_generation is not None
    (stem,) = outputs.audio_generation.stems
    return stem.seed


async def test_as_many_requests_are_worked_on_at_once_as_the_model_takes(tmp_path: Path) -> None:
    audio = server(tmp_path, Meeting())
    made = await asyncio.gather(*(audio.run(task(seed)) for seed in range(2 * AT_ONCE)))
    assert [seed_of(outputs) for outputs in made] == list(range(2 * AT_ONCE))
    assert len(await audio.store.keys("videos/x/made")) == 2 * AT_ONCE


async def test_a_request_that_is_meant_for_another_model_is_no_work_that_came(tmp_path: Path) -> None:
    audio = server(tmp_path, Endless())
    with pytest.raises(OtherModel):
        await audio.run(replace(task(seconds=1000), identity="what was here before"))
    told = audio.record_autoscaling_stats()
    assert (told["windows"], told["requests"], told["windows_per_request"]) == (0, 0, 0)


async def test_a_model_that_does_not_say_so_works_on_one_thing_at_a_time(tmp_path: Path) -> None:
    model = Endless()
    audio = server(tmp_path, model)
    running = [asyncio.create_task(audio.run(task(seed))) for seed in range(3)]
    for seed in range(3):
        await until(lambda: model.at_work)
        await asyncio.sleep(0.1)
        assert model.at_work == {seed}
        model.let_go.add(seed)
        await running[seed]


async def test_a_cancel_ends_its_own_request_alone(tmp_path: Path) -> None:
    model = EndlessMany()
    audio = server(tmp_path, model)
    running = [asyncio.create_task(audio.run(task(seed))) for seed in range(AT_ONCE)]
    await until(lambda: len(model.at_work) == AT_ONCE)
    running[1].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running[1]
    await until(lambda: 1 not in model.at_work)
    assert model.at_work == {0, 2, 3}
    model.let_go |= {0, 2, 3}
    made = await asyncio.gather(*(running[seed] for seed in (0, 2, 3)))
    assert [seed_of(outputs) for outputs in made] == [0, 2, 3]
    assert not any("music-1" in key for key in await audio.store.keys("videos"))


async def test_one_that_never_stops_makes_its_replica_unhealthy_while_others_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.module_server.STUCK_SECONDS", 3)
    model = EndlessMany()
    audio = server(tmp_path, model, deadlines={"audio_generation": {"seconds": 0.1, "per_second": 60}})
    model.stuck.add(0)
    with pytest.raises(DeadlinePassed):
        await audio.run(task(0, seconds=0.01))
    assert well(audio)
    await until(lambda: not well(audio))
    other = asyncio.create_task(audio.run(task(1)))
    await until(lambda: 1 in model.at_work)
    assert not well(audio)
    model.let_go.add(1)
    assert seed_of(await other) == 1
    assert not well(audio)
    model.let_go.add(0)
    await until(lambda: well(audio))


async def test_the_model_is_asked_whether_it_is_well(tmp_path: Path) -> None:
    class Broken(Meeting):
        def check_health(self) -> None:
            raise RuntimeError("the device is gone")

    server(tmp_path, Meeting()).check_health()
    with pytest.raises(RuntimeError, match="the device is gone"):
        server(tmp_path, Broken()).check_health()


async def test_one_server_makes_both_stems_and_tells_them_apart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = EndlessMany()
    audio = server(tmp_path, model)
    run_id = "a" * 32
    with caplog.at_level(logging.INFO, "ray.serve"):
        parts: tuple[StemKind, ...] = ("music", "sounds")
        running = [asyncio.create_task(audio.run(task(7, part, run_id))) for part in parts]
        await until(lambda: len(model.at_work) == 2)
        reports = {part: tmp_path / "store" / progress_key(run_id, "audio_generation", part) for part in parts}
        await until(lambda: all(report.exists() for report in reports.values()))
    for part, report in reports.items():
        assert Progress.model_validate_json(report.read_bytes()).part == part
        assert (await audio.info(part)).part == part
    model.let_go |= model.at_work
    made = [outputs.audio_generation for outputs in await asyncio.gather(*running)]
    assert [stem.kind for output in made if output for stem in output.stems] == ["music", "sounds"]
    begun = [line for line in caplog.records if line.getMessage() == "module begins"]
    assert {getattr(line, "part", None) for line in begun} == {"music", "sounds"}


async def test_music_and_sounds_of_one_run_are_made_by_one_model_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    music = {
        "kind": "audioldm2",
        "checkpoint": str(make_audioldm2(tmp_path / "toy")),
        "device": "cpu",
        "steps": 2,
        "at_once": 2,
    }
    given = {"store": str(tmp_path / "store"), "music": music, "sounds": {"kind": "with_music"}}
    image = media_factory.make_image(tmp_path / "photo.png", size=(64, 36))
    both_here, models = threading.Barrier(2), set()
    generate = AudioLDM2Generator.generate

    def meet(self: AudioLDM2Generator, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio:
        models.add(self)
        both_here.wait(30)
        return generate(self, request, on_step=on_step)

    async with local_http(AppSettings.model_validate(given)) as http:
        monkeypatch.setattr(AudioLDM2Generator, "generate", meet)
        run = await run_to_the_end(http, image, seconds=1)
        loaded = (await http.get("/v1/modules")).json()
    assert run.status == "finished", run.error
    assert all(run.record.done(module) for module in run.record.modules)
    assert len(models) == 1
    made = run.record.audio_generation
    assert made is not None
    assert [(stem.kind, stem.model) for stem in made.stems] == [("music", "toy"), ("sounds", "toy")]
    told = [(info["part"], info["model"]) for info in loaded if info["module"] == "audio_generation"]
    assert told == [("music", "toy"), ("sounds", "toy")]
    assert {timing.part for timing in run.timings if timing.module == "audio_generation"} == {"music", "sounds"}
