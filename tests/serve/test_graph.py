"""Whole runs of the sketch profile, over HTTP, in this process."""

import asyncio
import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from models.record import MODULES, SCHEMA_VERSION, Run
from tests import media_factory
from tests.serve.following import download, picture_packets, picture_seconds, run_to_the_end, sound_of


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds without sound."""
    return media_factory.make_video(tmp_path_factory.mktemp("video") / "silent clip.mp4", frames=75, rate=25)


@pytest.fixture(scope="module")
async def finished(http: httpx.AsyncClient, video: Path) -> Run:
    """The run of that video."""
    return await run_to_the_end(http, video, seed=3)


async def test_a_silent_video_gets_its_sound_and_keeps_its_picture(
    http: httpx.AsyncClient, video: Path, finished: Run, tmp_path: Path
) -> None:
    assert finished.status == "finished", finished.error
    result = await download(http, finished, "video", tmp_path)
    assert picture_packets(result) == picture_packets(video)
    assert picture_seconds(result) == pytest.approx(3, abs=0.001)
    samples, rate = sound_of(result)
    assert (rate, samples.shape[0]) == (48_000, 2)
    assert samples.shape[1] / rate == pytest.approx(3, abs=1024 / 48_000)
    assert np.sqrt(np.mean(samples**2)) > 0.01


async def test_every_module_appends_its_output_and_says_what_made_it(finished: Run) -> None:
    record = finished.record
    assert all(record.done(module) for module in MODULES)
    assert record.frame_extraction is not None
    assert record.frame_extraction.count == len(record.frame_extraction.frames) == 4  # floor(10·log10(3))
    assert record.object_detection is not None
    assert len(record.object_detection.frames) == 4
    assert record.frame_selection is not None
    assert record.frame_selection.path == record.frame_extraction.frames[record.frame_selection.index].path
    assert record.frame_description is not None
    assert record.prompt_enhancement is not None
    assert record.frame_description.text.rstrip(".") in record.prompt_enhancement.music_prompt
    assert record.audio_generation is not None
    assert [(stem.kind, stem.model) for stem in record.audio_generation.stems] == [
        ("music", "sketch/music"),
        ("sounds", "sketch/foley"),
    ]
    assert record.object_detection.model == record.frame_description.model == "sketch/scene"
    assert {timing.module for timing in finished.timings} == set(MODULES) - {"video_input"}


async def test_every_artifact_can_be_had(http: httpx.AsyncClient, finished: Run, tmp_path: Path) -> None:
    for name in ("music", "sounds"):
        samples, rate = sound_of(await download(http, finished, name, tmp_path))
        assert samples.shape == (2, 3 * rate)
        assert np.abs(samples).max() > 0.01
    frame = await http.get(f"/v1/runs/{finished.id}/artifacts/frame")
    assert frame.headers["content-type"] == "image/jpeg"
    assert media_factory.frame_number(await download(http, finished, "frame", tmp_path)) > 0


async def test_the_same_seed_gives_the_same_sound_and_another_another(
    http: httpx.AsyncClient, video: Path, finished: Run, tmp_path: Path
) -> None:
    again, other = await run_to_the_end(http, video, seed=3), await run_to_the_end(http, video, seed=4)
    for name in ("music", "sounds"):
        first, _ = sound_of(await download(http, finished, name, tmp_path))
        assert np.array_equal(first, sound_of(await download(http, again, name, tmp_path))[0])
        assert not np.array_equal(first, sound_of(await download(http, other, name, tmp_path))[0])


async def test_an_image_becomes_a_video_of_the_asked_length(http: httpx.AsyncClient, tmp_path: Path) -> None:
    image = media_factory.make_image(tmp_path / "photo.png", size=(101, 67))
    run = await run_to_the_end(http, image, seconds=2.5, music=False)
    assert run.status == "finished", run.error
    assert run.record.frame_extraction is None
    assert run.record.frame_selection is None
    result = await download(http, run, "video", tmp_path)
    assert picture_seconds(result) == pytest.approx(2.5, abs=0.05)
    assert run.record.reconstruction is not None
    assert run.record.reconstruction.picture == "encoded"


async def test_the_sound_alone_can_be_asked_for(http: httpx.AsyncClient, video: Path, tmp_path: Path) -> None:
    run = await run_to_the_end(http, video, format="flac", sounds=False)
    samples, rate = sound_of(await download(http, run, "audio", tmp_path))
    assert samples.shape == (2, 3 * rate)
    assert run.record.audio_generation is not None
    assert [stem.kind for stem in run.record.audio_generation.stems] == ["music"]


async def test_the_users_own_words_lead_the_prompts(http: httpx.AsyncClient, video: Path) -> None:
    run = await run_to_the_end(http, video, music_prompt="solo cello", sound_prompt="distant thunder")
    prompts = run.record.prompt_enhancement
    assert prompts is not None
    assert prompts.music_prompt.lower().startswith("solo cello")
    assert prompts.sound_prompt.lower().startswith("distant thunder")


async def test_runs_of_the_same_video_at_the_same_time_do_not_disturb_each_other(
    http: httpx.AsyncClient, video: Path, finished: Run, tmp_path: Path
) -> None:
    runs = await asyncio.gather(*(run_to_the_end(http, video, seed=3) for _ in range(4)))
    assert {run.status for run in runs} == {"finished"}
    assert len({run.id for run in runs}) == 4
    expected, _ = sound_of(await download(http, finished, "music", tmp_path))
    for run in runs:
        assert np.array_equal(sound_of(await download(http, run, "music", tmp_path))[0], expected)


@pytest.mark.parametrize("name", ['it\'s; a "name".mp4', "a\nb.mp4", "../../x.mp4", "☃ Übung.mp4", "y" * 300 + ".mp4"])
async def test_a_files_name_is_kept_for_people_and_used_for_nothing(
    http: httpx.AsyncClient, video: Path, store: Path, name: str
) -> None:
    answer = await http.post("/v1/runs", files={"file": (name, video.read_bytes())}, params={"follow": True})
    assert answer.status_code == 200, answer.text
    run = Run.model_validate_json((await http.get(answer.headers["location"])).text)
    assert run.status == "finished", run.error
    assert run.record.video_input.name
    assert not any("x.mp4" in path.name or "name" in path.name for path in store.rglob("*"))
    assert "/" not in run.record.video_input.name


def _snapshot(store: Path) -> set[Path]:
    return set(store.rglob("*"))


def _bad_files(folder: Path) -> dict[str, bytes]:
    good = media_factory.make_video(folder / "good.mp4").read_bytes()
    faststart = media_factory.make_video(
        folder / "faststart.mp4", frames=200, muxer_options={"movflags": "faststart"}
    ).read_bytes()
    sound = media_factory.make_sound(folder / "sound.m4a").read_bytes()
    hostile = media_factory.hostile_files(folder, target=str(folder / "good.mp4"))
    return {
        "empty": b"",
        "text": b"hello\n" * 100,
        "html": b"<!doctype html><html><body>404</body></html>",
        "without its index": good[: len(good) // 2],
        "cut short": faststart[: len(faststart) // 2],
        "sound only": sound,
        "noise": np.random.default_rng(0).bytes(50_000),
        **{name: path.read_bytes() for name, path in hostile.items()},
    }


async def test_what_is_not_a_video_is_refused_in_words_and_leaves_nothing_behind(
    http: httpx.AsyncClient, store: Path, tmp_path: Path
) -> None:
    before = _snapshot(store)
    for what, data in _bad_files(tmp_path).items():
        answer = await http.post("/v1/runs", files={"file": ("film.mp4", data)})
        assert 400 <= answer.status_code < 500, f"{what}: {answer.status_code} {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"
        assert len(answer.json()["detail"]) > 15, what
        assert str(store) not in answer.text, what
    assert _snapshot(store) == before


async def test_a_video_with_a_broken_sound_of_its_own_still_works(http: httpx.AsyncClient, tmp_path: Path) -> None:
    video = media_factory.make_video(tmp_path / "loud.mkv", frames=50, sound=True)
    run = await run_to_the_end(http, video, original=0.3)
    assert run.status == "finished", run.error
    assert run.record.reconstruction is not None
    assert run.record.reconstruction.original_used
    data = bytearray(video.read_bytes())
    for packet in _sound_packets(video):
        data[packet.start : packet.stop] = b"\xff" * (packet.stop - packet.start)
    (tmp_path / "broken.mkv").write_bytes(data)
    run = await run_to_the_end(http, tmp_path / "broken.mkv", original=0.3)
    assert run.status == "finished", run.error
    assert run.record.reconstruction is not None
    assert not run.record.reconstruction.original_used
    assert picture_packets(await download(http, run, "video", tmp_path)) == picture_packets(video)


def _sound_packets(path: Path) -> list[slice]:
    """Where the packets of the sound stand in the file."""
    import av

    data = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size > 16]
    places = [data.find(packet) for packet in packets]
    return [slice(at, at + len(packet)) for at, packet in zip(places, packets, strict=True) if at > 0]


async def test_what_is_loaded_is_said(http: httpx.AsyncClient) -> None:
    loaded = (await http.get("/v1/modules")).json()
    assert {item["module"] for item in loaded} >= {"object_detection", "audio_generation", "reconstruction"}
    assert {item["profile"] for item in loaded} == {"sketch", "any"}


async def test_a_record_opens_again_from_its_own_json(finished: Run) -> None:
    text = finished.model_dump_json()
    assert Run.model_validate_json(text) == finished
    assert json.loads(text)["record"]["schema_version"] == SCHEMA_VERSION
