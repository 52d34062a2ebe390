"""The HTTP contract, through the real service and store, without Ray and without models."""

import asyncio
import contextlib
import hashlib
import io
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest

from models.errors import DamagedMedia, NotFound
from models.record import (
    SCHEMA_VERSION,
    Finished,
    Module,
    ModuleDone,
    ModuleInfo,
    Options,
    Outputs,
    Record,
    Run,
    Started,
    TextRun,
    UploadedRun,
    VideoInput,
)
from serve.log import RunLog
from serve.metrics import NoMetrics
from serve.service import Backend, RunService
from serve.settings import AppSettings
from serve.sources import Incoming, Sent
from serve.store import Store
from tests.serve import records
from tests.serve.local import local_client

LARGEST = 200_000
VIDEO = b"\x00\x01video" * 1000
TOKEN = hashlib.md5(VIDEO).hexdigest()


class Graph:
    """Stands behind the service: knows every file that begins like VIDEO, and only notes what it should do."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.nudged = 0
        self.sent: list[Sent] = []
        self.computed: list[tuple[Module, Record]] = []
        self.answers = True
        self.seconds = 10.0

    async def probe(self, sent: Sent) -> VideoInput:
        self.sent.append(sent)
        data = await self.store.read(sent.path)
        if data is None:  # another run of the same upload has put it in its place
            raise NotFound("the file is not there any more; send it again")
        if not data.startswith(VIDEO[:7]):
            raise DamagedMedia("no frame of this file decodes")
        changes = {"token": sent.token, "path": sent.path, "options": sent.options, "duration_seconds": self.seconds}
        return records.video_input(name=sent.name or "unnamed", **changes)

    async def nudge(self) -> None:
        self.nudged += 1

    async def compute(self, module: Module, record: Record, key: str | None) -> Outputs:
        self.computed.append((module, record))
        return records.output(module, "music")

    async def modules(self) -> Sequence[ModuleInfo]:
        if not self.answers:
            await asyncio.sleep(60)
        return [ModuleInfo(module="frame_extraction", model="ffmpeg", device="cpu", profile="any")]

    @property
    def backend(self) -> Backend:
        return Backend(self.probe, self.nudge, self.compute, self.modules)


def settings_of(**given: object) -> AppSettings:
    return AppSettings.model_validate({"upload_bytes": LARGEST, "heartbeat_seconds": 0.1, **given})


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return Graph(Store(str(tmp_path / "store")))


@pytest.fixture
async def http(graph: Graph) -> AsyncIterator[httpx.AsyncClient]:
    async with local_client(graph.store, graph.backend, settings_of()) as client:
        yield client


def files_in(store: Path) -> list[Path]:
    return [path for path in store.rglob("*") if path.is_file()]


async def submit(http: httpx.AsyncClient, **options: object) -> httpx.Response:
    return await http.post("/v1/runs", files={"file": ("a.mp4", VIDEO)}, data={"options": json.dumps(options)})


def assert_problem(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    for word in words:
        assert word in told["detail"]


async def test_a_video_is_accepted_and_started(http: httpx.AsyncClient, graph: Graph) -> None:
    answer = await submit(http, k=5, music_prompt="slow piano")
    assert answer.status_code == 202
    run = answer.json()
    assert answer.headers["location"] == f"/v1/runs/{run['id']}"
    assert await graph.store.keys("active") == [f"active/{run['id']}/000000"]
    assert graph.nudged == 1
    assert run["status"] == "accepted"
    assert run["record"]["video_input"]["options"]["k"] == 5
    assert (await http.get(answer.headers["location"])).json() == run
    source = await http.get(f"/v1/runs/{run['id']}/artifacts/source")
    assert source.content == VIDEO


async def test_a_seed_is_drawn_once_and_told(http: httpx.AsyncClient) -> None:
    seeds = [(await submit(http)).json()["record"]["video_input"]["options"]["seed"] for _ in range(2)]
    assert None not in seeds
    assert seeds[0] != seeds[1]
    given = (await submit(http, seed=7)).json()
    assert given["record"]["video_input"]["options"]["seed"] == 7


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ('{"sead": 3}', ("options: there is no option sead; there are k, scenes, music, ",)),
        ('{"k": 0}', ("k", "greater than 0")),
        ('{"candidates": 99}', ("candidates", "less than or equal to 8")),
        ('{"seconds": 1e9}', ("seconds", "1800")),
        ('{"seed": -1}', ("seed", "greater than or equal to 0")),
        ('{"format": "avi"}', ("format", "'mp4'")),
        ('{"music": false, "sounds": false}', ("neither",)),
        ('{"guidance": NaN}', ("options",)),
        ("[1, 2]", ("options",)),
        ("{nonsense", ("options",)),
    ],
)
async def test_wrong_options_are_refused_by_name_and_with_their_bounds(
    http: httpx.AsyncClient, graph: Graph, tmp_path: Path, options: str, words: tuple[str, ...]
) -> None:
    answer = await http.post("/v1/runs", files={"file": ("a.mp4", VIDEO)}, data={"options": options})
    assert_problem(answer, 422, *words)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("", {"upload": "0" * 32, "options": {"lop": True}}, "there is no option lop; there are k, scenes, "),
        ("", {"uplaod": "0"}, "there is no field uplaod; there are upload, options, reference"),
        ("rerun", {"options": {"lop": True}}, "options: there is no option lop; there are k, scenes, "),
        (
            "rerun",
            {"edits": {"prompt_enhancement": {"words": "x"}}},
            "there is no field edits.prompt_enhancement.words; there are music_prompt, sound_prompt, music_take",
        ),
    ],
)
async def test_a_name_that_is_not_known_is_answered_with_those_that_are(
    http: httpx.AsyncClient, path: str, body: dict[str, object], told: str
) -> None:
    place = f"/v1/runs/{(await submit(http)).json()['id']}/rerun" if path else "/v1/runs"
    assert_problem(await http.post(place, json=body), 422, told)


async def test_a_file_that_is_not_a_video_leaves_nothing_behind(
    http: httpx.AsyncClient, graph: Graph, tmp_path: Path
) -> None:
    answer = await http.post("/v1/runs", files={"file": ("a.mp4", b"<html>not a video</html>")})
    assert_problem(answer, 422, "no frame")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (
            {"content": b"raw bytes", "headers": {"content-type": "video/mp4"}},
            415,
            ("multipart/form-data", "video/mp4"),
        ),
        ({"content": b""}, 415, ("untyped",)),
        ({"data": {"options": "{}"}}, 415, ("x-www-form-urlencoded",)),
        ({"files": {"video": ("a.mp4", VIDEO)}}, 422, ("unknown part 'video'",)),
        ({"files": {"file": ("a.mp4", VIDEO)}, "data": {"seed": "3"}}, 422, ("unknown part 'seed'",)),
        ({"files": {"options": (None, "{}")}}, 422, ("there is no file",)),
        (
            {"files": [(name, ("a.mp4", VIDEO)) for name in ("file", "reference", "file")]},
            422,
            ("there are several parts 'file': a submission has one",),
        ),
        ({"files": [("file", ("a.mp4", VIDEO)), *[("options", (None, "{}"))] * 2]}, 422, ("several parts 'options'",)),
        ({"files": {"file": ("a.mp4", b"v" * 300_000)}}, 413, ("0.190735 MiB",)),
        (
            {"content": b"rubbish", "headers": {"content-type": "multipart/form-data; boundary=x"}},
            400,
            (),
        ),
        (
            {
                "content": b"",
                "headers": {"content-type": "multipart/form-data; boundary=x", "content-length": "9" * 5000},
            },
            413,
            (),
        ),
    ],
    ids=[
        "raw",
        "empty",
        "urlencoded",
        "other-part",
        "option-as-part",
        "no-file",
        "twice",
        "options-twice",
        "too-large",
        "malformed",
        "no-number",
    ],
)
async def test_a_malformed_submission_is_refused_in_words(
    http: httpx.AsyncClient, tmp_path: Path, request_: dict[str, object], status: int, words: tuple[str, ...]
) -> None:
    answer = await http.post("/v1/runs", **request_)  # type: ignore[arg-type]
    assert_problem(answer, status, *words)
    assert files_in(tmp_path) == []


async def test_a_body_without_a_length_is_cut_off_at_the_limit(http: httpx.AsyncClient, tmp_path: Path) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        while sent < 100 * LARGEST:
            sent += 10_000
            yield b"v" * 10_000

    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert_problem(await http.post("/v1/runs", content=endless(), headers=headers), 413)
    assert sent < 2 * LARGEST + 100_000
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["a b'\".mp4", "../../etc/passwd", "Übung ☃.mp4", "x" * 300 + ".mp4", "-y.mp4", "a;b|c.mp4"]
)
async def test_a_files_name_is_never_part_of_a_path(http: httpx.AsyncClient, tmp_path: Path, name: str) -> None:
    answer = await http.post("/v1/runs", files={"file": (name, VIDEO)})
    assert answer.status_code == 202
    stored = {str(path.relative_to(tmp_path / "store")) for path in files_in(tmp_path)}
    run = answer.json()["id"]
    assert stored == {
        f"videos/{TOKEN}/source.mp4",
        f"videos/{TOKEN}/holds/{run}",
        f"runs/{run}/events/000001.json",
        f"active/{run}/000000",
    }


async def _ended_run(http: httpx.AsyncClient, graph: Graph) -> str:
    run_id: str = (await submit(http)).json()["id"]
    log = await RunLog.open(graph.store, run_id)
    await log.append(Started, owner="me")
    output = records.output("frame_extraction")
    await log.append(ModuleDone, module="frame_extraction", output=output, seconds=0.5)
    await log.append(Finished)
    return run_id


async def test_events_are_told_as_server_sent_events(http: httpx.AsyncClient, graph: Graph) -> None:
    run_id = await _ended_run(http, graph)
    answer = await http.get(f"/v1/runs/{run_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = answer.text.strip().split("\n\n")
    assert [block.split("\n")[:2] for block in blocks] == [
        ["id: 1", "event: accepted"],
        ["id: 2", "event: started"],
        ["id: 3", "event: module_done"],
        ["id: 4", "event: finished"],
    ]
    assert json.loads(blocks[2].split("data: ")[1])["output"]["frame_extraction"]["count"] == 1


async def test_events_are_told_as_ndjson_from_anywhere(http: httpx.AsyncClient, graph: Graph) -> None:
    run_id = await _ended_run(http, graph)
    path, ndjson = f"/v1/runs/{run_id}/events", {"accept": "application/x-ndjson"}
    for ask, first in (({}, 1), ({"params": {"after": 2}}, 3), ({"headers": {**ndjson, "last-event-id": "3"}}, 4)):
        answer = await http.get(path, **{"headers": ndjson, **ask})  # type: ignore[arg-type]
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        assert [json.loads(line)["seq"] for line in answer.text.splitlines()] == list(range(first, 5))


async def test_following_a_submission_streams_its_events(http: httpx.AsyncClient, graph: Graph) -> None:
    async def finish() -> None:
        (marker,) = await graph.store.keys("active")
        log = await RunLog.open(graph.store, marker.split("/")[1])
        await log.append(Finished)

    graph.nudge = finish  # type: ignore[method-assign]
    headers = {"accept": "application/x-ndjson"}
    async with local_client(graph.store, graph.backend, settings_of()) as client:
        answer = await client.post(
            "/v1/runs", params={"follow": True}, files={"file": ("a.mp4", VIDEO)}, headers=headers
        )
    assert answer.status_code == 200
    assert [json.loads(line)["type"] for line in answer.text.splitlines()] == ["accepted", "finished"]
    assert (await http.get(answer.headers["location"])).json()["status"] == "finished"


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        (None, 200, 0, 7000),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-199", 206, 100, 200),
        ("bytes=6990-", 206, 6990, 7000),
        ("bytes=-10", 206, 6990, 7000),
        ("bytes=-99999", 206, 0, 7000),
        ("bytes=6000-99999", 206, 6000, 7000),
        ("bytes=5-3", 200, 0, 7000),
        ("bytes=0-1,5-6", 200, 0, 7000),
        ("lines=1-2", 200, 0, 7000),
        ("bytes=-", 200, 0, 7000),
    ],
)
async def test_a_part_of_an_artifact_can_be_asked_for(
    http: httpx.AsyncClient, asked: str | None, status: int, start: int, end: int
) -> None:
    run_id = (await submit(http)).json()["id"]
    headers = {"range": asked} if asked else {}
    answer = await http.get(f"/v1/runs/{run_id}/artifacts/source", headers=headers)
    assert (answer.status_code, answer.content) == (status, VIDEO[start:end])
    assert answer.headers["content-type"] == "video/mp4"
    assert int(answer.headers["content-length"]) == end - start
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/7000"


async def test_a_range_behind_the_end_is_refused_with_the_size(http: httpx.AsyncClient) -> None:
    run_id = (await submit(http)).json()["id"]
    answer = await http.get(f"/v1/runs/{run_id}/artifacts/source", headers={"range": "bytes=7000-"})
    assert_problem(answer, 416, "7000")
    assert answer.headers["content-range"] == "bytes */7000"


async def test_an_unchanged_artifact_is_not_sent_again(http: httpx.AsyncClient) -> None:
    path = f"/v1/runs/{(await submit(http)).json()['id']}/artifacts/source"
    head = await http.head(path)
    assert (head.content, head.headers["content-length"]) == (b"", "7000")
    again = await http.get(path, headers={"if-none-match": head.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await http.get(path, headers={"if-none-match": "*"})).status_code == 304
    assert (await http.head(path, headers={"range": "bytes=0-9"})).status_code == 200
    stale = await http.get(path, headers={"range": "bytes=0-9", "if-range": '"another"'})
    assert (stale.status_code, len(stale.content)) == (200, 7000)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/runs/" + "f" * 32, ("no run",)),
        ("/v1/runs/..%2f..%2fetc", ()),
        ("/v1/runs/latest", ("32 hexadecimal",)),
        ("/v1/runs/latest/events", ("32 hexadecimal",)),
        ("/v1/nothing", ("nothing at '/v1/nothing'",)),
    ],
)
async def test_what_is_not_there_is_a_404(http: httpx.AsyncClient, path: str, words: tuple[str, ...]) -> None:
    assert_problem(await http.get(path), 404, *words)


async def test_a_call_that_a_path_does_not_take_is_refused_with_those_that_it_takes(http: httpx.AsyncClient) -> None:
    assert_problem(await http.put("/v1/runs"), 405, "/v1/runs", "takes POST, not PUT")


async def test_an_artifact_that_is_not_there_says_why(http: httpx.AsyncClient) -> None:
    path = f"/v1/runs/{(await submit(http, sounds=False)).json()['id']}/artifacts/"
    assert_problem(await http.get(path + "video"), 404, "none yet", "accepted")
    assert_problem(await http.get(path + "sounds"), 404, "not asked for")
    assert_problem(await http.get(path + "event"), 404, "'event'", "video, audio, music")


async def test_what_broke_in_us_is_a_500_without_its_secrets(http: httpx.AsyncClient, graph: Graph) -> None:
    async def broken(sent: Sent) -> VideoInput:
        raise OSError("/secret/path is gone")

    graph.probe = broken  # type: ignore[method-assign]
    async with local_client(graph.store, graph.backend, settings_of()) as client:
        answer = await client.post("/v1/runs", files={"file": ("a.mp4", VIDEO)})
    assert_problem(answer, 500)
    assert "secret" not in answer.text


async def test_readiness_is_that_of_the_modules(
    http: httpx.AsyncClient, graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.http_modules.READY_SECONDS", 0.05)
    assert (await http.get("/readyz")).json() == {"status": "ready"}
    assert (await http.get("/v1/modules")).json()[0]["model"] == "ffmpeg"
    graph.answers = False
    assert_problem(await http.get("/readyz"), 503)
    assert (await http.get("/healthz")).json() == {"status": "ok"}


async def test_every_call_is_described_with_examples(http: httpx.AsyncClient) -> None:
    described = (await http.get("/openapi.json")).json()
    assert set(described["paths"]) >= {"/v1/runs", "/v1/runs/{run_id}", "/v1/runs/{run_id}/events", "/v1/modules"}
    for path, calls in described["paths"].items():
        for verb, call in calls.items():
            where = f"{verb} {path}"
            good = {status: answer for status, answer in call["responses"].items() if status < "300"}
            assert good, where
            for status, answer in good.items():
                content = answer.get("content", {})
                assert content or answer.get("headers") or status == "204", f"{where} {status}"
                assert all("example" in one for one in content.values()), where
            for status, answer in call["responses"].items():
                if status >= "400":
                    assert list(answer["content"]) == ["application/problem+json"], f"{where} {status}"
            for parameter in call.get("parameters", []):
                assert parameter["schema"].get("examples") or parameter["schema"].get("type") == "boolean", where
    submission = described["paths"]["/v1/runs"]["post"]["requestBody"]["content"]["multipart/form-data"]
    Options.model_validate_json(submission["example"]["options"])
    assert "reference" in submission["example"]
    assert (await http.get("/docs")).status_code == 200


async def test_the_examples_are_what_the_service_says(http: httpx.AsyncClient, graph: Graph) -> None:
    calls = (await http.get("/openapi.json")).json()["paths"]
    runs, run = calls["/v1/runs"]["post"], calls["/v1/runs/{run_id}"]
    stopped = calls["/v1/runs/{run_id}/cancel"]["post"]["responses"]["200"]
    told = [runs["responses"]["202"], stopped, run["delete"]["responses"]["202"]]
    statuses = [Run.model_validate(one["content"]["application/json"]["example"]).status for one in told]
    assert statuses == ["accepted", "cancelled", "cancelled"]
    sent = runs["requestBody"]["content"]["application/json"]["examples"]
    assert UploadedRun.model_validate(sent["an upload"]["value"]).reference
    assert TextRun.model_validate(sent["words alone"]["value"]).options.seconds == 20
    path, ndjson = f"/v1/runs/{await _ended_run(http, graph)}/events", {"accept": "application/x-ndjson"}
    example = runs["responses"]["200"]["content"]["application/x-ndjson"]["example"]
    for lines in (example, (await http.get(path, headers=ndjson)).text):
        versions = {event.get("schema_version") for event in map(json.loads, lines.splitlines())}
        assert versions - {None} == {SCHEMA_VERSION}


async def test_a_name_with_control_characters_does_no_harm(http: httpx.AsyncClient, graph: Graph) -> None:
    """Sent as raw bytes: HTTP libraries would escape them."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a\\"b\x01\x7f;\xff.mp4"\r\n\r\n'
        + VIDEO
        + b"\r\n--x--\r\n"
    )
    answer = await http.post("/v1/runs", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 202, answer.text
    source = await http.get(f"/v1/runs/{answer.json()['id']}/artifacts/source")
    assert source.headers["content-disposition"] == 'inline; filename="source.mp4"'


@pytest.mark.parametrize("charset", ["undefined", "no-such-charset", "utf-16"])
async def test_a_form_in_no_usable_charset_is_refused(http: httpx.AsyncClient, charset: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nv\r\n--x--\r\n'
    headers = {"content-type": f"multipart/form-data; boundary=x; charset={charset}"}
    answer = await http.post("/v1/runs", content=body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("after", ["9" * 300, "-1", "x"])
async def test_a_place_that_no_log_can_have_is_refused(http: httpx.AsyncClient, graph: Graph, after: str) -> None:
    run_id = await _ended_run(http, graph)
    assert_problem(await http.get(f"/v1/runs/{run_id}/events", params={"after": after}), 422, "after")


async def test_the_same_video_twice_is_kept_once(http: httpx.AsyncClient, tmp_path: Path) -> None:
    first = (await submit(http)).json()["id"]
    before = await http.head(f"/v1/runs/{first}/artifacts/source")
    await submit(http)
    after = await http.head(f"/v1/runs/{first}/artifacts/source")
    assert after.headers["etag"] == before.headers["etag"]
    assert len([path for path in files_in(tmp_path) if path.name == "source.mp4"]) == 1


async def test_a_run_that_nobody_is_told_of_is_accepted_all_the_same(http: httpx.AsyncClient, graph: Graph) -> None:
    async def dead() -> None:
        raise ConnectionError("the pipeline is gone")

    graph.nudge = dead  # type: ignore[method-assign]
    async with local_client(graph.store, graph.backend, settings_of()) as client:
        answer = await submit(client)
    assert answer.status_code == 202
    assert await graph.store.keys("active") == [f"active/{answer.json()['id']}/000000"]


async def test_who_leaves_while_a_file_comes_in_leaves_no_half_of_it(graph: Graph, tmp_path: Path) -> None:
    service = RunService(graph.store, graph.backend, settings_of(), NoMetrics())
    for turns in range(12):
        file = io.BytesIO(VIDEO * 40)
        task = asyncio.create_task(service.submit(Incoming(file, "a.mp4", TOKEN), options=Options(), key=None))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    stored = {path.relative_to(tmp_path / "store").parts[0] for path in files_in(tmp_path)}
    assert "incoming" not in stored
    runs = {path.name for path in (tmp_path / "store" / "runs").iterdir()} if "runs" in stored else set()
    assert {key.split("/")[1] for key in await graph.store.keys("active")} == runs


async def test_a_dead_module_makes_the_service_unready_not_broken(graph: Graph) -> None:
    async def dead() -> Sequence[ModuleInfo]:
        raise ConnectionError("no replica")

    graph.modules = dead  # type: ignore[method-assign]
    async with local_client(graph.store, graph.backend, settings_of()) as client:
        assert_problem(await client.get("/readyz"), 503, "try again")
        assert_problem(await client.get("/v1/modules"), 503)
