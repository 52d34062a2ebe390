"""Every limit is a setting, and whoever meets one is told what it is. Whose a run is, decides who sees it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.store import Store
from serve.videos import holder
from tests.serve.local import local_client
from tests.serve.test_http import VIDEO, Graph, assert_problem, settings_of

ANN = {"Authorization": "Bearer ann-has-a-long-secret"}
BEN = {"Authorization": "Bearer ben-has-another-secret"}
KEYS = {"ann": "ann-has-a-long-secret", "ben": "ben-has-another-secret"}

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return Graph(Store(str(tmp_path / "store")))


@pytest.fixture
def serve(graph: Graph) -> Serve:
    """serve(keys=…, **settings): a client of the web layer."""

    def client(*, keys: dict[str, str] | None = None, **given: Any) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        return local_client(graph.store, graph.backend, settings_of(**given), keys=keys)

    return client


@pytest.fixture
async def http(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    """Of a service with two API keys."""
    async with serve(keys=KEYS, runs={"per_key": 2}) as client:
        yield client


async def submit(http: httpx.AsyncClient, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
    files, data = {"file": ("a.mp4", VIDEO)}, {"options": json.dumps(options)}
    return await http.post("/v1/runs", files=files, data=data, headers=headers)


async def test_more_frames_than_are_taken_are_refused(serve: Serve, graph: Graph) -> None:
    async with serve(frame_extraction={"max_frames": 12}) as http:
        assert (await submit(http, k=12)).status_code == 202  # k·log10(10) = 12
        assert_problem(await submit(http, k=13), 413, "k = 13", "13 frames", "at most 12")
    assert len(await graph.store.keys("active")) == 1


@pytest.mark.parametrize(
    ("options", "seconds"), [({}, 20), ({"sounds": False, "candidates": 3}, 30), ({"candidates": 8}, 160)]
)
async def test_more_sound_than_is_made_for_one_run_is_refused(
    serve: Serve, options: dict[str, Any], seconds: int
) -> None:
    async with serve(max_audio_seconds=seconds) as http:
        assert (await submit(http, **options)).status_code == 202
    async with serve(max_audio_seconds=seconds - 1) as http:
        assert_problem(await submit(http, **options), 413, f"{seconds} s of sound", f"at most {seconds - 1} s")


async def test_a_refused_run_leaves_nothing(serve: Serve, graph: Graph) -> None:
    async with serve(max_audio_seconds=1) as http:
        assert (await submit(http)).status_code == 413
    assert await graph.store.keys("") == []


async def test_when_as_many_wait_as_may_the_next_is_told_to_come_later(serve: Serve) -> None:
    async with serve(runs={"waiting": 2}) as http:
        runs = [await submit(http) for _ in range(2)]
        answer = await submit(http)
        assert_problem(answer, 429, "2 runs are waiting")
        assert int(answer.headers["retry-after"]) >= 1
        assert_problem(await http.post(runs[0].headers["location"] + "/rerun", json={}), 429)
        await http.post(runs[0].headers["location"] + "/cancel")
        assert (await submit(http)).status_code == 202


async def test_a_busy_service_does_not_take_the_file_first(serve: Serve, graph: Graph) -> None:
    sent = 0

    async def film() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1000
            yield b"v" * 1000

    async with serve(runs={"waiting": 0}) as http:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        assert (await http.post("/v1/runs", content=film(), headers=headers)).status_code == 429
    assert sent <= 2000
    assert graph.sent == []


async def test_one_key_cannot_take_the_whole_service(http: httpx.AsyncClient) -> None:
    assert [(await submit(http, ANN)).status_code for _ in range(3)] == [202, 202, 429]
    assert "2 unfinished runs" in (await submit(http, ANN)).json()["detail"]
    assert (await submit(http, BEN)).status_code == 202


async def test_nobody_comes_in_without_a_key(http: httpx.AsyncClient, graph: Graph) -> None:
    assert_problem(await submit(http), 401, "API key")
    assert_problem(await submit(http, {"Authorization": "Bearer wrong-wrong-wrong"}), 401)
    assert graph.sent == []


async def test_a_run_is_there_for_its_own_key_alone(http: httpx.AsyncClient) -> None:
    location = (await submit(http, ANN)).headers["location"]
    run = (await http.get(location, headers=ANN)).json()
    assert run["key"] == "ann"
    source = run["record"]["video_input"]["path"]
    calls = [
        ("GET", location),
        ("GET", location + "/events"),
        ("GET", location + "/artifacts/source"),
        ("POST", location + "/cancel"),
        ("POST", location + "/rerun"),
        ("DELETE", location),
        ("GET", f"/v1/files/{source}"),
    ]
    for verb, path in calls:
        assert (await http.request(verb, path, headers=BEN)).status_code == 404, path
    answer = await http.post("/v1/modules/object_detection", json=run["record"], headers=BEN)
    assert answer.status_code in (404, 422)
    assert (await http.get(location, headers=ANN)).json() == run
    assert (await http.get(f"/v1/files/{source}", headers=ANN)).content == VIDEO


async def test_the_same_film_of_two_keys_is_kept_once_and_seen_by_both(http: httpx.AsyncClient, graph: Graph) -> None:
    answers = [await submit(http, key) for key in (ANN, BEN)]
    paths = {answer.json()["record"]["video_input"]["path"] for answer in answers}
    assert len(paths) == 1
    token = answers[0].json()["record"]["video_input"]["token"]
    holds = {holder(answer.json()["id"], name) for answer, name in zip(answers, ("ann", "ben"), strict=True)}
    assert {key.rpartition("/")[2] for key in await graph.store.keys(f"videos/{token}/holds")} == holds


async def test_a_rerun_belongs_to_the_same_key(http: httpx.AsyncClient) -> None:
    location = (await submit(http, ANN)).headers["location"]
    again = await http.post(location + "/rerun", json={"options": {"seed": 3}}, headers=ANN)
    assert (again.status_code, again.json()["key"]) == (202, "ann")
    assert again.json()["rerun_of"] == location.rpartition("/")[2]


async def test_uploads_are_their_own_keys_alone(http: httpx.AsyncClient) -> None:
    tus = {"Tus-Resumable": "1.0.0"}
    created = await http.post("/v1/uploads", headers=ANN | tus | {"Upload-Length": "5"})
    location = created.headers["location"]
    assert (await http.head(location, headers=BEN | tus)).status_code == 404
    assert (await http.head(location, headers=ANN | tus)).status_code == 200
    upload_id = location.rpartition("/")[2]
    assert (await http.post("/v1/runs", json={"upload": upload_id}, headers=BEN)).status_code == 404


async def test_of_many_who_come_at_once_no_more_are_taken_than_may_wait(serve: Serve) -> None:
    async with serve(runs={"waiting": 3}) as http:
        answers = await asyncio.gather(*(submit(http, seed=seed) for seed in range(10)))
    assert [answer.status_code for answer in answers].count(202) <= 3
    assert {answer.status_code for answer in answers} == {202, 429}


async def test_one_upload_becomes_many_runs_at_once(http: httpx.AsyncClient) -> None:
    tus = ANN | {"Tus-Resumable": "1.0.0"}
    created = await http.post("/v1/uploads", headers=tus | {"Upload-Length": str(len(VIDEO))})
    headers = tus | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert (await http.patch(created.headers["location"], content=VIDEO, headers=headers)).status_code == 204
    wanted = {"upload": created.headers["location"].rpartition("/")[2]}
    calls = [http.post("/v1/runs", json=wanted, headers=ANN) for _ in range(2)]
    looks = [http.post("/v1/modules/video_input", json=wanted, headers=ANN) for _ in range(4)]
    answers = await asyncio.gather(*calls, *looks)
    assert [answer.status_code for answer in answers] == [202] * 2 + [200] * 4
