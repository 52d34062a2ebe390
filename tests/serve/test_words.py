"""Words alone become a sound: over HTTP, the whole sketch service in this process."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models.record import Record, Run
from serve.retention import GRACE_SECONDS, Retention
from serve.settings import AppSettings, RetentionSettings, UploadSettings
from serve.store import Store
from serve.uploads import Uploads
from serve.videos import Videos
from tests.serve import records
from tests.serve.following import download, sound_of, words_to_the_end
from tests.serve.local import local_http
from tests.serve.test_http import assert_problem
from tests.serve.test_retention import age
from tests.serve.test_runs import origins, rerun, run_of

WORDS = "rain on a tin roof"
MODULES = ("video_input", "prompt_enhancement", "audio_generation", "reconstruction")


@pytest.fixture
def words(counter: Iterator[int]) -> str:
    """Others at every turn: what one test has computed must not be found by the next."""
    return f"rain on {next(counter)} roofs"


@pytest.fixture(scope="module")
def counter() -> Iterator[int]:
    return iter(range(100))


@pytest.fixture(scope="module")
async def finished(http: httpx.AsyncClient) -> Run:
    run = await words_to_the_end(http, WORDS, seed=3, seconds=2.5, music_prompt="slow strings", negative_prompt="drums")
    assert run.status == "finished", run.error
    return run


async def test_words_become_a_sound_as_long_as_asked(http: httpx.AsyncClient, finished: Run, tmp_path: Path) -> None:
    assert finished.record.reconstruction is not None
    assert (finished.record.reconstruction.format, finished.record.reconstruction.picture) == ("wav", "none")
    assert finished.record.reconstruction.duration_seconds == 2.5
    for name in ("audio", "music", "sounds", "mix"):
        samples, rate = sound_of(await download(http, finished, name, tmp_path))
        assert (rate, samples.shape) == (48_000, (2, 120_000)), name
        assert np.abs(samples).max() > 0.05, name


async def test_nothing_is_looked_at_and_the_record_has_the_words(finished: Run) -> None:
    record = finished.record
    assert record.modules == MODULES
    assert [name for name in MODULES if getattr(record, name) is None] == []
    assert {timing.module for timing in finished.timings} == set(MODULES[1:])
    came = record.video_input
    assert (came.media, came.text, came.name) == ("text", WORDS, WORDS)
    assert came.token == hashlib.md5(WORDS.encode()).hexdigest()
    assert Record.model_validate_json(record.model_dump_json()) == record


async def test_the_prompts_are_made_of_the_words_and_led_by_the_users_own(finished: Run) -> None:
    prompts = finished.record.prompt_enhancement
    assert prompts is not None
    assert prompts.music_prompt.startswith("slow strings. ")
    for prompt in (prompts.music_prompt, prompts.sound_prompt):
        assert WORDS in prompt
    assert prompts.negative_prompt.startswith("drums. ")
    assert finished.record.audio_generation is not None
    assert [stem.prompt for stem in finished.record.audio_generation.stems] == [
        prompts.music_prompt,
        prompts.sound_prompt,
    ]


async def test_its_files_are_there_and_those_of_a_picture_say_why_not(http: httpx.AsyncClient, finished: Run) -> None:
    place = f"/v1/runs/{finished.id}/artifacts"
    source = await http.get(f"{place}/source")
    assert (source.text, source.headers["content-type"]) == (WORDS, "text/plain; charset=utf-8")
    assert (await http.get(f"/v1/files/{finished.record.video_input.path}")).text == WORDS
    for name in ("video", "frame", "original", "descriptions"):
        assert_problem(await http.get(f"{place}/{name}"), 404, name, "words alone", "without a picture")


async def test_another_format_is_made_and_a_videos_is_refused(http: httpx.AsyncClient, words: str) -> None:
    run = await words_to_the_end(http, words, seconds=0.5, format="mp3", sounds=False)
    assert run.record.reconstruction is not None
    assert (run.record.reconstruction.format, run.record.reconstruction.audio_codec) == ("mp3", "mp3")
    refused = await http.post("/v1/runs", json={"text": words, "options": {"format": "mkv"}})
    assert_problem(refused, 422, "mkv", "no picture", "wav, flac, mp3")
    again = await http.post(f"/v1/runs/{run.id}/rerun", json={"options": {"format": "mp4"}})
    assert_problem(again, 422, "mp4", "no picture")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"text": ""}, ("text", "blank")),
        ({"text": " \n\t\u200b"}, ("text", "blank")),
        ({"text": "x" * 1001}, ("text", "at most 1000")),
        ({"text": 5}, ("text", "valid string")),
        ({"text": "x", "upload": "0" * 32}, ("either `upload`", "or `text`")),
        ({"options": {"seed": 1}}, ("either `upload`", "or `text`")),
        ({"text": "x", "reference": "0" * 32}, ("no field reference", "text, options")),
        ({"text": "x", "options": {"sead": 1}}, ("no option sead",)),
        ({"text": "x", "options": {"seconds": 1801}}, ("seconds", "1800")),
        ({"text": "x", "options": {"music": False, "sounds": False}}, ("neither",)),
        (["text"], ("an object",)),
    ],
    ids=lambda given: str(given)[:40],
)
async def test_what_is_no_run_is_refused_in_words(
    http: httpx.AsyncClient, store: Path, body: Any, told: tuple[str, ...]
) -> None:
    before = set(store.rglob("*"))
    assert_problem(await http.post("/v1/runs", json=body), 422, *told)
    assert_problem(await http.post("/v1/modules/video_input", json=body), 422, *told)
    assert set(store.rglob("*")) == before


async def test_the_same_words_are_not_paid_for_twice_and_a_longer_sound_is(http: httpx.AsyncClient, words: str) -> None:
    first, again, longer = [
        await words_to_the_end(http, words, seed=1, seconds=seconds) for seconds in (0.5, 0.5, 0.75)
    ]
    assert set(origins(first.record).values()) == {"computed"}
    assert {name for name, origin in origins(again.record).items() if origin == "cached"} == {
        "music",
        "sounds",
        "reconstruction",
    }
    assert set(origins(longer.record).values()) == {"computed"}


async def test_a_run_is_changed_by_options_and_prompts(http: httpx.AsyncClient, words: str) -> None:
    first = await words_to_the_end(http, words, seed=1, seconds=0.5)
    edits = {"prompt_enhancement": {"sound_prompt": "hail"}}
    other = await rerun(http, first, edits=edits, options={"music_volume_db": -6})
    told = origins(other.record)
    assert (told["prompt_enhancement"], told["music"], told["sounds"]) == ("edited", "cached", "computed")
    third = await rerun(http, other, options={"seconds": 1})
    assert third.record.prompt_enhancement is not None
    assert third.record.prompt_enhancement.sound_prompt == "hail"
    assert third.record.reconstruction is not None
    assert third.record.reconstruction.duration_seconds == 1
    seeded = await rerun(http, first, options={"seed": None, "sound_prompt": "gulls"})
    assert seeded.record.video_input.options.seed != 1
    assert seeded.record.prompt_enhancement is not None
    assert seeded.record.prompt_enhancement.sound_prompt.startswith("gulls. ")


@pytest.mark.parametrize(
    "edits",
    [{"frame_selection": {"index": 0}}, {"frame_description": {"text": "x"}}],
    ids=lambda edits: next(iter(edits)),
)
async def test_an_edit_of_what_was_never_looked_at_is_refused(
    http: httpx.AsyncClient, finished: Run, edits: dict[str, Any]
) -> None:
    answer = await http.post(f"/v1/runs/{finished.id}/rerun", json={"edits": edits})
    assert_problem(answer, 422, next(iter(edits)), "words alone")


async def test_a_loop_goes_over_into_its_beginning(http: httpx.AsyncClient, words: str, tmp_path: Path) -> None:
    run = await words_to_the_end(http, words, seconds=3, loop=True)
    assert run.record.audio_generation is not None
    assert all(stem.loops for stem in run.record.audio_generation.stems)
    samples, _ = sound_of(await download(http, run, "audio", tmp_path))
    joint = np.abs(samples[:, 0] - samples[:, -1]).max()
    assert joint <= np.abs(np.diff(samples)).max()
    assert np.abs(samples[:, -480:]).max() > 0.01  # no fade


async def test_a_run_can_be_stopped_and_then_deleted_with_its_words(
    http: httpx.AsyncClient, store: Path, words: str
) -> None:
    answer = await http.post("/v1/runs", json={"text": words, "options": {"seconds": 1500}})
    assert answer.status_code == 202
    location, token = answer.headers["location"], answer.json()["record"]["video_input"]["token"]
    async with asyncio.timeout(20):
        while (await run_of(http, location)).record.prompt_enhancement is None:
            await asyncio.sleep(0.02)
    assert (await http.post(f"{location}/cancel")).json()["status"] == "cancelled"
    assert (store / "videos" / token / "source.txt").read_text() == words
    assert (await http.delete(location)).status_code == 204
    async with asyncio.timeout(20):
        while (store / "videos" / token / "source.txt").exists():
            await asyncio.sleep(0.02)
    assert (await http.get(location)).status_code == 404


async def test_every_module_works_alone(http: httpx.AsyncClient, finished: Run) -> None:
    record: dict[str, Any] = {"text": WORDS, "options": finished.record.video_input.options.model_dump()}
    for name in MODULES:
        answer = await http.post(f"/v1/modules/{name}", json=record)
        assert answer.status_code == 200, f"{name}: {answer.text}"
        record = answer.json()
    alone, run = Record.model_validate(record), finished.record
    assert alone.video_input == run.video_input
    assert alone.prompt_enhancement == run.prompt_enhancement
    assert alone.reconstruction is not None
    assert run.reconstruction is not None
    assert alone.reconstruction.integrated_lufs == run.reconstruction.integrated_lufs
    for name in ("frame_extraction", "object_detection", "frame_selection", "frame_description"):
        answer = await http.post(f"/v1/modules/{name}", json=record)
        assert_problem(answer, 422, name, "nothing to do with words alone")


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("video_input", "text"), "gulls", None),
        (("video_input", "text"), None, "words of a run of words alone"),
        (("video_input", "media"), "image", "words of a run of words alone"),
        (("video_input", "options", "format"), "webm", "no picture"),
        (("video_input", "duration_seconds"), -1, "greater than or equal to 0"),
        (("object_detection",), {"model": "t", "confidence": 0.2, "frames": [], "objects": []}, "words alone"),
    ],
    ids=str,
)
async def test_a_record_that_lies_about_its_words_is_not_believed(
    http: httpx.AsyncClient, finished: Run, place: tuple[str, ...], value: object, told: str | None
) -> None:
    record = finished.record.model_copy(update={"reconstruction": None}).model_dump(mode="json")
    inner = record
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    answer = await http.post("/v1/modules/reconstruction", json=record)
    if told is None:
        assert answer.json()["video_input"]["text"] == WORDS
    else:
        assert_problem(answer, 422, told)


async def test_words_are_their_own_keys_alone_and_limits_hold_for_them(tmp_path: Path) -> None:
    ann, ben = ({"Authorization": f"Bearer {name}-has-a-long-secret"} for name in ("ann", "ben"))
    settings = AppSettings.model_validate(
        {"store": str(tmp_path), "max_audio_seconds": 4, "limits": {"max_seconds": 3}}
    )
    async with local_http(settings, keys={name: f"{name}-has-a-long-secret" for name in ("ann", "ben")}) as http:
        assert_problem(await http.post("/v1/runs", json={"text": WORDS}), 401, "API key")
        first, other = [
            await words_to_the_end(http, WORDS, headers=key, seed=1, seconds=0.5, sounds=False) for key in (ann, ben)
        ]
        assert set(origins(other.record).values()) == {"computed"}
        for path in (f"/v1/runs/{first.id}", f"/v1/runs/{first.id}/artifacts/source"):
            assert_problem(await http.get(path, headers=ben), 404)
        for seconds, told in ((3.5, "seconds = 3.5 is asked for; at most 3 s"), (2.5, "5 s of sound are asked for")):
            options = {"seconds": seconds, "sounds": True}
            submitted = await http.post("/v1/runs", json={"text": WORDS, "options": options}, headers=ann)
            assert_problem(submitted, 413, told)
            changed = await http.post(f"/v1/runs/{first.id}/rerun", json={"options": options}, headers=ann)
            assert_problem(changed, 413, told)


async def test_words_that_no_run_was_made_of_go_after_a_day(http: httpx.AsyncClient, store: Path, words: str) -> None:
    record = (await http.post("/v1/modules/video_input", json={"text": words})).json()
    source = store / record["video_input"]["path"]
    there = Store(str(store))
    retention = Retention(there, Uploads(there, UploadSettings()), RetentionSettings(runs_seconds=None))
    await retention.sweep()
    assert source.read_text() == words
    age(source.parent, GRACE_SECONDS + 60)
    await retention.sweep()
    assert not source.exists()


async def test_words_are_not_taken_for_a_file_of_the_same_bytes(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for ending in ("txt", "webp"):
        store.put(f"videos/{records.TOKEN}/source.{ending}", b"the same")
    videos = Videos(store)
    assert (await videos.source(records.TOKEN)).endswith(".webp")
    assert (await videos.source(records.TOKEN, words=True)).endswith(".txt")
