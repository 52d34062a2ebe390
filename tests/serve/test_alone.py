"""Every module works alone, on a record that anybody may have written."""

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.dependencies import READS
from models.record import MODULES, Record
from tests import media_factory
from tests.serve.following import run_to_the_end

TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media_factory.make_video(tmp_path_factory.mktemp("video") / "clip.mp4", frames=75)


async def upload(http: httpx.AsyncClient, file: Path) -> str:
    data = file.read_bytes()
    created = await http.post("/v1/uploads", headers=TUS | {"Upload-Length": str(len(data))})
    assert created.status_code == 201, created.text
    headers = TUS | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert (await http.patch(created.headers["location"], content=data, headers=headers)).status_code == 204
    return str(created.headers["location"]).rpartition("/")[2]


async def module(http: httpx.AsyncClient, name: str, body: Any) -> httpx.Response:
    return await http.post(f"/v1/modules/{name}", json=body)


@pytest.fixture(scope="module")
async def whole(http: httpx.AsyncClient, video: Path) -> dict[str, Any]:
    """The record of that video after every module, one call each."""
    record: dict[str, Any] = {"upload": await upload(http, video), "options": {"seed": 1}}
    for name in MODULES:
        answer = await module(http, name, record)
        assert answer.status_code == 200, f"{name}: {answer.text}"
        record = answer.json()
        assert record[name]
    return record


async def test_one_call_per_module_makes_what_a_run_makes(
    http: httpx.AsyncClient, whole: dict[str, Any], video: Path
) -> None:
    record = Record.model_validate(whole)
    run = await run_to_the_end(http, video, seed=1)
    assert run.record.prompt_enhancement == record.prompt_enhancement
    assert record.audio_generation is not None
    assert [stem.kind for stem in record.audio_generation.stems] == ["music", "sounds"]
    assert record.reconstruction is not None
    result = await http.get(f"/v1/files/{record.reconstruction.path}")
    assert result.status_code == 200
    assert (await http.get(f"/v1/runs/{run.id}/artifacts/video")).content == result.content
    assert record.video_input.token == hashlib.md5(video.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", [name for name in MODULES if READS.get(name)])
async def test_what_a_record_lacks_is_named(http: httpx.AsyncClient, whole: dict[str, Any], name: str) -> None:
    lacking = READS[name][0]  # type: ignore[index]
    answer = await module(http, name, {**whole, lacking: None, name: None})
    assert answer.status_code == 422
    assert lacking in answer.json()["detail"]


async def test_what_is_there_is_not_computed_over(http: httpx.AsyncClient, whole: dict[str, Any]) -> None:
    answer = await module(http, "object_detection", whole)
    assert answer.status_code == 422
    assert "has object_detection already" in answer.json()["detail"]


async def test_an_image_needs_no_frames(http: httpx.AsyncClient, tmp_path: Path) -> None:
    image = media_factory.make_image(tmp_path / "a.png")
    record = (await module(http, "video_input", {"upload": await upload(http, image)})).json()
    assert (await module(http, "object_detection", record)).status_code == 200
    assert (await module(http, "frame_selection", record)).status_code == 422


async def test_the_source_is_not_what_a_record_says_of_it(http: httpx.AsyncClient, whole: dict[str, Any]) -> None:
    lies = {"duration_seconds": 9e9, "path": "/etc/passwd", "container": "x/../..", "width": 1, "name": "mine.mp4"}
    record = {**whole, "video_input": whole["video_input"] | lies, "reconstruction": None}
    answer = await module(http, "reconstruction", record)
    assert answer.status_code == 200, answer.text
    said = answer.json()["video_input"]
    assert said["name"] == "mine.mp4"
    assert {name: said[name] for name in lies if name != "name"} == {
        name: whole["video_input"][name] for name in lies if name != "name"
    }


def _with(record: dict[str, Any], place: str, value: object) -> dict[str, Any]:
    changed = json.loads(json.dumps(record))
    *where, last = place.split(".")
    inner = changed
    for name in where:
        inner = inner[int(name)] if name.isdigit() else inner[name]
    inner[last] = value
    return dict(changed)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("object_detection", "frame_extraction.frames.0.path", "/etc/passwd"),
        ("object_detection", "frame_extraction.frames.0.path", "../../../etc/passwd"),
        ("object_detection", "frame_extraction.frames.0.path", "videos/" + "0" * 32 + "/source.mp4"),
        ("frame_description", "frame_selection.index", 999),
        ("frame_description", "frame_selection.index", -1),
        ("prompt_enhancement", "object_detection.frames.0.width", 0),
        ("audio_generation", "prompt_enhancement.music_prompt", "x" * 30_000),
        ("frame_description", "frame_selection.path", "runs/x"),
        ("reconstruction", "audio_generation.stems.0.path", "file:///etc/passwd"),
        ("frame_extraction", "video_input.token", "0" * 32),
        ("frame_extraction", "video_input.token", "../../x"),
        ("frame_extraction", "video_input.options.k", 1e9),
        ("audio_generation", "video_input.options.candidates", 9),
    ],
)
async def test_files_of_others_and_numbers_that_lie_are_refused(
    http: httpx.AsyncClient, whole: dict[str, Any], name: str, place: str, value: object
) -> None:
    answer = await module(http, name, _with({**whole, name: None}, place, value))
    assert answer.status_code in (404, 422), answer.text
    assert len(answer.json()["detail"]) > 10


@pytest.mark.parametrize("named", ["the other stem", "a frame", "the source", "the same stem again"])
async def test_what_is_no_stem_is_not_mixed(http: httpx.AsyncClient, whole: dict[str, Any], named: str) -> None:
    music, sounds = whole["audio_generation"]["stems"]
    lies = {
        "the other stem": [music | {"path": sounds["path"]}, sounds],
        "a frame": [music | {"path": whole["frame_extraction"]["frames"][0]["path"]}, sounds],
        "the source": [music | {"path": whole["video_input"]["path"]}, sounds],
        "the same stem again": [music, sounds, music],
    }
    record = {name: output for name, output in whole.items() if name != "reconstruction"}
    answer = await module(http, "reconstruction", record | {"audio_generation": {"stems": lies[named]}})
    assert (answer.status_code, "stems of one kind" in answer.text) == (422, named == "the same stem again")


async def test_an_upload_that_is_not_complete_is_a_conflict(http: httpx.AsyncClient) -> None:
    created = await http.post("/v1/uploads", headers=TUS | {"Upload-Length": "100"})
    upload_id = created.headers["location"].rpartition("/")[2]
    for path in ("/v1/modules/video_input", "/v1/runs"):
        answer = await http.post(path, json={"upload": upload_id})
        assert answer.status_code == 409
        assert "0 of 100" in answer.json()["detail"]


async def test_a_run_of_an_upload_can_be_started_twice(http: httpx.AsyncClient, video: Path) -> None:
    upload_id = await upload(http, video)
    answers = [await http.post("/v1/runs", json={"upload": upload_id, "options": {"seed": 1}}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    inputs = [answer.json()["record"]["video_input"] for answer in answers]
    assert inputs[0] == inputs[1]


async def test_a_module_that_is_none_is_not_found(http: httpx.AsyncClient) -> None:
    answer = await module(http, "music", {})
    assert answer.status_code == 404
    assert "frame_extraction" in answer.json()["detail"]


@pytest.mark.parametrize("times", [[-1e308, 0, 1, 2], [0, 1e300, 2e300, 1e301], [5, 4, 3, 2], [1000, 1001, 1002, 1003]])
async def test_frames_at_times_that_the_video_does_not_have_are_refused(
    http: httpx.AsyncClient, whole: dict[str, Any], times: list[float]
) -> None:
    frames = [frame | {"seconds": at} for frame, at in zip(whole["frame_extraction"]["frames"], times, strict=True)]
    record = {name: whole[name] for name in ("schema_version", "video_input", "frame_extraction")}
    record["frame_extraction"] = record["frame_extraction"] | {"frames": frames}
    record["video_input"] = record["video_input"] | {"options": whole["video_input"]["options"] | {"scenes": 2}}
    answer = await module(http, "frame_selection", record)
    assert answer.status_code == 422, answer.text
    assert "it lasts 3 s" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("scenes", "words"),
    [
        ([(0, 1), (2, 3)], "begins at 0, and every other where the one before it ends"),
        ([(0, 1), (1, 2)], "must end with the video, at 3 s"),
        ([(number / 100, (number + 1) / 100) for number in range(300)], "at most 50"),
    ],
)
async def test_scenes_that_a_video_cannot_have_are_refused(
    http: httpx.AsyncClient, whole: dict[str, Any], scenes: list[tuple[float, float]], words: str
) -> None:
    chosen = whole["frame_selection"]
    told = [
        {"start_seconds": start, "end_seconds": end, "index": chosen["index"], "path": chosen["path"]}
        for start, end in scenes
    ]
    record = {**whole, "frame_selection": chosen | {"scenes": told}, "frame_description": None}
    answer = await module(http, "frame_description", record)
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]
