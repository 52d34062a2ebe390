"""A sound to sound like: sent beside a file, kept with it, heard by models that can, and refused like any file that is none.

And what else may be asked of the sound: loops, and candidates that are kept. The whole service in this process.
"""

import hashlib
import io
import json
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from models.record import Run, Stem
from serve.settings import AppSettings, UploadSettings
from tests import media_factory
from tests.serve.asking import ALICE, BOB
from tests.serve.following import download
from tests.serve.local import local_http
from tests.serve.test_alone import module, upload
from tests.toys.generator import Model

NDJSON = {"accept": "application/x-ndjson"}
MIB = 2**20


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Another video at every turn."""
    folder = tmp_path_factory.mktemp("videos")
    return (media_factory.make_video(folder / f"{count}.mp4", frames=12 + count) for count in range(100))


@pytest.fixture
def video(videos: Iterator[Path]) -> Path:
    return next(videos)


@pytest.fixture(scope="module")
def drums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media_factory.make_sound(tmp_path_factory.mktemp("sounds") / "drums.mp3", seconds=2)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    """What makes the sound instead of a sketch."""
    model = Model()
    monkeypatch.setattr("serve.audio_server.load_generator", lambda chosen, kind: model)
    return model


@pytest.fixture
async def studio(model: Model, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A service of its own, with that model."""
    async with local_http(AppSettings(store=str(tmp_path / "store"))) as client:
        yield client


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


async def submit(
    http: httpx.AsyncClient, video: Path, *references: Path | tuple[str, bytes], **options: object
) -> httpx.Response:
    sent = [(file.name, file.read_bytes()) if isinstance(file, Path) else file for file in references]
    files = [("file", (video.name, video.read_bytes())), *(("reference", one) for one in sent)]
    return await http.post("/v1/runs", files=files, data={"options": json.dumps({"seed": 1, **options})})


async def followed(http: httpx.AsyncClient, answer: httpx.Response) -> Run:
    assert answer.status_code == 202, answer.text
    address = answer.headers["location"]
    await http.get(f"{address}/events", headers=NDJSON)
    run = Run.model_validate_json((await http.get(address)).text)
    assert run.status == "finished", run.error
    return run


def stems_of(run: Run) -> tuple[Stem, ...]:
    assert run.record.audio_generation is not None
    return run.record.audio_generation.stems


async def rerun(http: httpx.AsyncClient, run: Run, **options: object) -> Run:
    return await followed(http, await http.post(f"/v1/runs/{run.id}/rerun", json={"options": options}))


def files_of(store: Path) -> set[str]:
    return {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}


async def test_a_reference_is_kept_beside_the_video_as_the_sound_that_is_heard(
    http: httpx.AsyncClient, store: Path, video: Path, drums: Path, tmp_path: Path
) -> None:
    run = await followed(http, await submit(http, video, drums))
    reference = run.record.video_input.reference
    assert reference is not None
    assert (reference.token, reference.name) == (md5(drums), "drums.mp3")
    assert reference.path == f"videos/{md5(video)}/references/{md5(drums)}.flac"
    kept = await download(http, run, "reference", tmp_path)
    heard, rate = soundfile.read(kept)
    assert (heard.ndim, rate) == (1, 48_000)
    assert len(heard) / rate == reference.seconds == pytest.approx(2, abs=0.06)
    assert (await http.get(f"/v1/files/{reference.path}")).content == kept.read_bytes()
    assert run.record.video_input.token == md5(video)
    assert not [name for name in files_of(store) if name.startswith("incoming")]


async def test_a_sketch_cannot_listen_and_says_so(http: httpx.AsyncClient, video: Path, drums: Path) -> None:
    run = await followed(http, await submit(http, video, drums, candidates=2, keep_candidates=True))
    for stem in stems_of(run):
        assert (stem.reference, stem.candidates, stem.kept) == (None, 1, {})
        assert stem.notes == (
            f"2 candidates were asked for, and {stem.model} makes one",
            f"{stem.model} cannot listen to a reference: the words alone decided",
        )
    answer = await http.get(f"/v1/runs/{run.id}/artifacts/music-1")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "this run has none: music-1 (one was made: it is music)"


async def test_a_sketch_makes_a_loop(http: httpx.AsyncClient, tmp_path: Path) -> None:
    image = media_factory.make_image(tmp_path / "photo.jpg")
    run = await followed(http, await submit(http, image, loop=True, seconds=3, format="flac"))
    assert [(stem.loops, stem.notes) for stem in stems_of(run)] == [(True, ()), (True, ())]
    result, rate = soundfile.read(await download(http, run, "audio", tmp_path))
    assert len(result) == 3 * rate
    assert abs(result[0] - result[-1]).max() < 0.2
    assert (result[-2000:] ** 2).mean() > 0.05 * (result**2).mean()


async def test_a_model_that_can_listen_is_given_the_reference(
    studio: httpx.AsyncClient, model: Model, video: Path, drums: Path
) -> None:
    run = await followed(studio, await submit(studio, video, drums, reference_weight=0.8))
    assert [(stem.reference, stem.reference_weight) for stem in stems_of(run)] == [(md5(drums), 0.8)] * 2
    assert {asked.reference is not None for asked in model.asked} == {True}
    assert run.record.audio_generation is not None
    assert stems_of(run)[0].notes == ()


async def test_a_rerun_has_the_reference_too_and_may_do_without(
    studio: httpx.AsyncClient, model: Model, video: Path, drums: Path
) -> None:
    run = await followed(studio, await submit(studio, video, drums))
    again = await rerun(studio, run, seed=2)
    assert again.record.video_input.reference == run.record.video_input.reference
    assert {stem.reference for stem in stems_of(again)} == {md5(drums)}
    same = await rerun(studio, run, original=0.3)
    assert {stem.origin for stem in stems_of(same)} == {"cached"}
    without = await rerun(studio, run, reference_weight=0)
    assert {(stem.reference, stem.origin) for stem in stems_of(without)} == {(None, "computed")}


async def test_the_reference_goes_when_the_last_run_of_its_video_goes(
    studio: httpx.AsyncClient, video: Path, drums: Path, tmp_path: Path
) -> None:
    first = await followed(studio, await submit(studio, video, drums))
    second = await followed(studio, await submit(studio, video, seed=2))
    (key,) = [name for name in files_of(tmp_path / "store") if "/references/" in name]
    assert (await studio.delete(f"/v1/runs/{first.id}")).status_code == 204
    assert key in files_of(tmp_path / "store")
    assert (await studio.delete(f"/v1/runs/{second.id}")).status_code == 204
    assert not [name for name in files_of(tmp_path / "store") if not name.startswith("owners/")]


async def test_an_upload_may_have_another_one_for_a_reference(
    studio: httpx.AsyncClient, model: Model, video: Path, drums: Path
) -> None:
    wanted = {"upload": await upload(studio, video), "reference": await upload(studio, drums), "options": {"seed": 1}}
    for _ in range(2):  # the second time, the video is in its place already
        run = await followed(studio, await studio.post("/v1/runs", json=wanted))
        assert {stem.reference for stem in stems_of(run)} == {md5(drums)}
    itself = media_factory.make_video(video.with_name("loud.mp4"), sound=True)
    uploaded = await upload(studio, itself)
    run = await followed(studio, await studio.post("/v1/runs", json={"upload": uploaded, "reference": uploaded}))
    assert {stem.reference for stem in stems_of(run)} == {md5(itself)}


def silence(seconds: float) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, [0.0] * round(8000 * seconds), 8000, format="WAV")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("reference", "status", "words"),
    [
        (("notes.txt", b"more drums, please"), 415, "the reference notes.txt: it seems to be text"),
        (("nothing.wav", b""), 415, "the reference nothing.wav: it seems to be empty"),
        (("quiet.wav", silence(1)), 415, "the reference quiet.wav: its first 1 s are silent"),
        (("short.wav", silence(0.05)), 422, "less than 0.1 s"),
        (("large.wav", b"RIFF" + bytes(16 * MIB)), 413, "the reference is larger than the 16 MiB"),
    ],
    ids=["text", "empty", "silent", "short", "large"],
)
async def test_what_cannot_be_listened_to_is_refused_and_nothing_is_left(
    studio: httpx.AsyncClient, video: Path, tmp_path: Path, *, reference: tuple[str, bytes], status: int, words: str
) -> None:
    answer = await submit(studio, video, reference)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert words in answer.json()["detail"]
    assert not [name for name in files_of(tmp_path / "store") if not name.startswith("owners/")]


async def test_a_reference_must_be_one_file(studio: httpx.AsyncClient, video: Path, drums: Path) -> None:
    twice = await submit(studio, video, drums, drums)
    assert (twice.status_code, "several parts 'reference'" in twice.text) == (422, True)
    several = [("reference", ("a", b"a")), ("reference", ("b", b"b"))]
    answer = await studio.post("/v1/runs", files=several)
    assert (answer.status_code, "several parts 'reference'" in answer.text) == (422, True)
    named = {"reference": "drums.mp3"}
    answer = await studio.post("/v1/runs", files={"file": (video.name, video.read_bytes())}, data=named)
    assert (answer.status_code, "`reference` is a file" in answer.text) == (422, True)


async def test_a_large_file_may_not_hide_in_the_room_for_a_reference(tmp_path: Path) -> None:
    async with local_http(AppSettings(store=str(tmp_path / "store"), upload_bytes=100_000)) as client:
        answer = await client.post("/v1/runs", files={"file": ("a.mp4", bytes(100_001))})
        assert (answer.status_code, "the file is larger than" in answer.text) == (413, True)


async def test_uploads_that_cannot_be_references_are_refused(
    studio: httpx.AsyncClient, video: Path, drums: Path, tmp_path: Path
) -> None:
    film = await upload(studio, video)
    (tmp_path / "large").write_bytes(bytes(16 * MIB + 1))
    for wanted, status, words in (
        ({"reference": "0" * 32}, 404, "no upload"),
        ({"reference": "drums.mp3"}, 422, "reference"),
        ({"reference": await upload(studio, tmp_path / "large")}, 413, "16 MiB"),
        ({"reference": film}, 415, "no sound in it"),
    ):
        for path in ("/v1/runs", "/v1/modules/video_input"):
            answer = await studio.post(path, json={"upload": film, **wanted})
            assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert not [name for name in files_of(tmp_path / "store") if name.startswith(("videos", "incoming"))]
    assert (await studio.post("/v1/runs", json={"upload": film})).status_code == 202


async def test_candidates_that_are_kept_are_files_of_the_run(
    studio: httpx.AsyncClient, model: Model, video: Path, tmp_path: Path
) -> None:
    run = await followed(studio, await submit(studio, video, candidates=3, keep_candidates=True, sounds=False))
    (music,) = stems_of(run)
    assert (music.chosen, [candidate.score for candidate in music.ranking]) == (1, [0.1, 0.4, 0.1])
    sounds = {}
    for name in ("music", "music-1", "music-2", "music-3"):
        path = await download(studio, run, name, tmp_path)
        sounds[name] = path.read_bytes()
        heard, rate = soundfile.read(path)
        assert (heard.shape[1], rate) == (2, 48_000)
        assert len(heard) / rate == run.record.video_input.result_seconds
    assert sounds["music"] == sounds["music-2"]
    assert len(set(sounds.values())) == 3
    for candidate in music.ranking:
        assert (await studio.get(f"/v1/files/{candidate.path}")).status_code == 200
    again = await rerun(studio, run, original=0.2)
    assert {stem.origin for stem in stems_of(again)} == {"cached"}


async def test_an_image_is_not_shown_for_longer_than_sound_is_made_neither_at_first_nor_in_a_rerun(
    model: Model, tmp_path: Path
) -> None:
    image = media_factory.make_image(tmp_path / "photo.jpg")
    settings = {"store": str(tmp_path / "store"), "limits": {"max_seconds": 5}}
    told = "seconds = 6 is asked for; at most 5 s are allowed"
    async with local_http(AppSettings.model_validate(settings)) as http:
        answer = await submit(http, image, seconds=6)
        assert (answer.status_code, answer.json()["detail"]) == (413, f"photo.jpg: {told}")
        run = await followed(http, await submit(http, image, seconds=1))
        answer = await http.post(f"/v1/runs/{run.id}/rerun", json={"options": {"seconds": 6}})
        assert (answer.status_code, answer.json()["detail"]) == (413, told)


async def test_one_candidate_is_not_kept_beside_itself(studio: httpx.AsyncClient, video: Path) -> None:
    told = "keep_candidates keeps several: ask for 2 candidates or more"
    answer = await submit(studio, video, keep_candidates=True)
    assert (answer.status_code, answer.json()["detail"]) == (422, f"options: {told}")
    run = await followed(studio, await submit(studio, video, candidates=2, keep_candidates=True))
    answer = await studio.post(f"/v1/runs/{run.id}/rerun", json={"options": {"candidates": 1}})
    assert (answer.status_code, answer.json()["detail"]) == (422, f"options: {told}")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "music-4",
            {"candidates": 3, "keep_candidates": True},
            "none: music-4 (3 were made: music-1 to music-3)",
        ),
        ("music-1", {"candidates": 3}, "candidates were not asked to be kept"),
        ("sounds-1", {"candidates": 2, "keep_candidates": True, "sounds": False}, "it was not asked for"),
        ("reference", {}, "it was given none"),
        (
            "drums-1",
            {"candidates": 2, "keep_candidates": True},
            "source, reference, music-1, music-2, sounds-1, sounds-2",
        ),
        ("drums-1", {}, "source, reference, and of the candidates that a run keeps music-1, music-2 …, sounds-1 …"),
    ],
)
async def test_a_candidate_that_is_not_there_says_why(
    studio: httpx.AsyncClient, video: Path, *, name: str, options: dict[str, Any], words: str
) -> None:
    run = await followed(studio, await submit(studio, video, **options))
    answer = await studio.get(f"/v1/runs/{run.id}/artifacts/{name}")
    assert answer.status_code == 404
    assert words in answer.json()["detail"]


async def test_modules_alone_hear_the_reference_that_the_source_has_and_no_other(
    studio: httpx.AsyncClient, model: Model, video: Path, drums: Path
) -> None:
    wanted = {"upload": await upload(studio, video), "reference": await upload(studio, drums), "options": {"seed": 1}}
    looked_at = (await module(studio, "video_input", wanted)).json()
    run = await followed(studio, await submit(studio, video, drums, candidates=2, keep_candidates=True))
    whole = run.record.model_dump(mode="json")
    assert looked_at["video_input"]["reference"] == whole["video_input"]["reference"] | {"name": "unnamed"}
    record = deepcopy({**whole, "audio_generation": None, "reconstruction": None})
    lies = {"path": "../../etc/passwd", "name": "\x1b[31m" + "a" * 12_000, "seconds": 1e9}
    record["video_input"]["reference"] |= lies
    made = await module(studio, "audio_generation", record)
    assert made.status_code == 200, made.text
    assert made.json()["audio_generation"]["stems"][0]["reference"] == md5(drums)
    known = made.json()["video_input"]["reference"]
    assert known == whole["video_input"]["reference"] | {"name": ("[31m" + "a" * 12_000)[:255]}
    assert (await module(studio, "reconstruction", {**made.json()})).status_code == 200
    record["video_input"]["reference"]["token"] = "0" * 32
    lie = await module(studio, "audio_generation", record)
    assert (lie.status_code, "the source has no such file" in lie.text) == (422, True)
    ranked = deepcopy({**whole, "reconstruction": None})
    assert (await module(studio, "reconstruction", ranked)).status_code == 200
    ranked["audio_generation"]["stems"][0]["ranking"][0]["path"] = "/etc/passwd"
    lie = await module(studio, "reconstruction", ranked)
    assert (lie.status_code, "'/etc/passwd', and the source has no such file" in lie.text) == (422, True)


async def test_a_reference_is_there_for_its_own_key_only(tmp_path: Path, video: Path, drums: Path) -> None:
    settings = AppSettings(store=str(tmp_path / "store"), uploads=UploadSettings(reserve_bytes=0))
    ann, ben = ({"authorization": f"Bearer {secret}"} for secret in (ALICE, BOB))
    async with local_http(settings, keys={"ann": ALICE, "ben": BOB}) as client:
        client.headers.update(ann)
        run = await followed(client, await submit(client, video, drums))
        theirs = await upload(client, drums)
        reference = run.record.video_input.reference
        assert reference is not None
        client.headers.update(ben)
        assert (await client.get(f"/v1/files/{reference.path}")).status_code == 404
        film = await upload(client, video)
        assert (await client.post("/v1/runs", json={"upload": film, "reference": theirs})).status_code == 404


async def test_who_sends_the_same_video_does_not_get_the_reference_of_another_key(
    model: Model, tmp_path: Path, video: Path, drums: Path
) -> None:
    settings = AppSettings(store=str(tmp_path / "store"), uploads=UploadSettings(reserve_bytes=0))
    ann, ben = ({"authorization": f"Bearer {secret}"} for secret in (ALICE, BOB))
    async with local_http(settings, keys={"ann": ALICE, "ben": BOB}) as client:
        client.headers.update(ann)
        hers = await followed(client, await submit(client, video, drums))
        reference = hers.record.video_input.reference
        assert reference is not None
        assert (await client.get(f"/v1/files/{reference.path}")).status_code == 200
        alone = {**hers.record.model_dump(mode="json"), "audio_generation": None, "reconstruction": None}
        assert (await module(client, "audio_generation", alone)).status_code == 200
        client.headers.update(ben)
        his = await followed(client, await submit(client, video))
        plain = f"videos/{md5(video)}/references/{md5(drums)}.flac"
        for path in (reference.path, plain):
            assert (await client.get(f"/v1/files/{path}")).status_code == 404
        alone = {**his.record.model_dump(mode="json"), "audio_generation": None, "reconstruction": None}
        alone["video_input"]["reference"] = reference.model_dump(mode="json")
        answer = await module(client, "audio_generation", alone)
        assert (answer.status_code, "the source has no such file" in answer.text) == (422, True)
        own = await followed(client, await submit(client, video, drums))
        assert own.record.video_input.reference is not None
        assert (await client.get(f"/v1/files/{own.record.video_input.reference.path}")).status_code == 200
        assert (await client.get(f"/v1/files/{reference.path}")).status_code == 404
        assert (await module(client, "audio_generation", alone)).status_code == 200  # it is his own that is heard
