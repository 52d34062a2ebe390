"""Traces: one per run, from the client's request to the slow calls of the store, read back from a collector."""

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.errors import WorkerDied
from serve import tracing
from serve.active import ActiveRuns
from serve.ingress import Ingress
from serve.log import RunLog
from serve.metrics import NoMetrics
from serve.modules import Unit
from serve.runner import Runner
from serve.settings import AppSettings
from serve.store import Store
from tests import media_factory
from tests.serve import records
from tests.serve.asking import everything_logged
from tests.serve.collector import Collector, Told, collector
from tests.serve.conftest import Deploy
from tests.serve.following import run_to_the_end
from tests.serve.local import local_http
from tests.serve.test_runner import Graph

CLIENTS_TRACE, CLIENTS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FROM_A_CLIENT = {"traceparent": f"00-{CLIENTS_TRACE}-{CLIENTS_SPAN}-01"}
RUN = "c" * 32
AT_WORK = {
    "video_input at work",
    "frame_extraction at work",
    "object_detection at work",
    "frame_selection at work",
    "frame_description at work",
    "audio_generation at work",
    "reconstruction at work",
}
ATTEMPTS = {
    "frame_extraction",
    "object_detection",
    "frame_selection",
    "frame_description",
    "prompt_enhancement",
    "audio_generation music",
    "audio_generation sounds",
    "reconstruction",
}
EVERY_NAME = AT_WORK | ATTEMPTS | {"run", "POST /v1/runs"}
EVERY_DEPLOYMENT = {
    "Ingress",
    "Pipeline",
    "FrameExtractor",
    "ObjectDetector",
    "FrameSelector",
    "FrameDescriber",
    "MusicGenerator",
    "SoundGenerator",
    "Reconstructor",
}


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """What this process sends while the test runs. `tracing.stop()` sends what is left."""
    with collector() as (address, kept):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setattr(tracing, "STOP_SECONDS", 60.0)
        tracing.start("here")
        yield kept
        tracing.stop()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return media_factory.make_video(tmp_path / "aunt-mary.mp4", frames=50)


async def finished(http: httpx.AsyncClient, video: Path, **headers: str) -> str:
    """Id of a run of this video, when it has ended."""
    http.headers.update(headers)
    return (await run_to_the_end(http, video, music_prompt="a secret waltz", seed=1)).id


def by_id(spans: list[Told]) -> dict[str, Told]:
    return {span.id: span for span in spans}


async def test_a_run_is_one_trace_that_begins_with_its_client(
    collected: Collector, video: Path, tmp_path: Path
) -> None:
    async with local_http(AppSettings(store=str(tmp_path / "store"))) as http:
        run = await finished(http, video, **FROM_A_CLIENT)
    tracing.stop()
    assert collected.paths == {"/v1/traces"}
    spans = collected.spans(CLIENTS_TRACE)
    (request,) = (span for span in spans if span.name == "POST /v1/runs")
    assert request.parent == CLIENTS_SPAN
    assert request.attributes["http.response.status_code"] == 200
    (whole,) = (span for span in spans if span.name == "run")
    assert whole.parent == request.id
    assert whole.attributes["immersivaudio.run_id"] == run
    assert whole.attributes["immersivaudio.status"] == "finished"
    children = {span.name for span in spans if span.parent == whole.id}
    assert children >= ATTEMPTS
    known = by_id(spans)
    for work in (span for span in spans if span.name in AT_WORK):
        assert known[work.parent].name.split()[0] == work.name.split()[0]
    assert {span.name for span in spans} >= AT_WORK - {
        "video_input at work"
    }  # the look has the graph's ingress before it


async def test_a_span_says_what_was_made_by_whom_and_at_which_attempt(
    collected: Collector, video: Path, tmp_path: Path
) -> None:
    async with local_http(AppSettings(store=str(tmp_path / "store"))) as http:
        run = await finished(http, video)
    tracing.stop()
    (music,) = collected.named("audio_generation music")
    assert music.attributes == {
        "immersivaudio.run_id": run,
        "immersivaudio.module": "audio_generation",
        "immersivaudio.part": "music",
        "immersivaudio.attempt": 1,
        "immersivaudio.memory_was_short": False,
        "immersivaudio.origin": "computed",
        "immersivaudio.model": "sketch/music",
    }
    assert music.resource["service.name"] == "immersivaudio"
    assert music.resource["immersivaudio.deployment"] == "here"


async def test_nothing_that_a_user_wrote_or_named_is_sent(collected: Collector, video: Path, tmp_path: Path) -> None:
    async with local_http(AppSettings(store=str(tmp_path / "store"))) as http:
        run = await finished(http, video)
        refused = await http.post("/v1/runs", files={"file": ("uncle-bob.mp4", b"no video")}, data={"options": "{}"})
        assert refused.status_code == 415, refused.text
        await http.get(f"/v1/runs/{run}/artifacts/uncle-bob", headers=FROM_A_CLIENT)
    tracing.stop()
    sent = b"".join(collected.bodies)
    assert run.encode() in sent
    for word in (b"aunt-mary", b"waltz", b"uncle-bob", b"videos/", str(tmp_path).encode()):
        assert word not in sent
    (request,) = collected.named("GET /v1/runs/{run_id}/artifacts/{name}")
    assert request.attributes["http.response.status_code"] == 404


async def accepted(store: Store, request: str | None) -> None:
    with tracing.span("request", within=request):
        await ActiveRuns(store).open(RUN, "studio")
    await RunLog.create(store, RUN, records.video_input(), key="studio")


async def test_a_run_that_another_replica_takes_over_stays_in_its_trace(collected: Collector, tmp_path: Path) -> None:
    store, graph = Store(str(tmp_path)), Graph()
    graph.seconds = 0.2
    await accepted(store, FROM_A_CLIENT["traceparent"])
    first = asyncio.create_task(Runner(store, graph.modules(store), NoMetrics(), pauses=()).execute(RUN, owner="first"))
    while len(graph.begun) < 2:
        await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait({first})
    assert await Runner(store, graph.modules(store), NoMetrics(), pauses=()).execute(RUN, owner="second")
    tracing.stop()
    (request,) = collected.named("request")
    given_up, taken_over = collected.named("run")
    assert {given_up.trace, taken_over.trace} == {CLIENTS_TRACE}
    assert {given_up.parent, taken_over.parent} == {request.id}
    assert given_up.attributes["immersivaudio.cancelled"]
    assert taken_over.attributes["immersivaudio.resumptions"] == 1


async def test_an_attempt_that_failed_is_told_by_the_class_of_its_error(collected: Collector, tmp_path: Path) -> None:
    store, selection = Store(str(tmp_path)), Unit("frame_selection")
    graph = Graph(broken={selection: [WorkerDied("it worked on aunt-mary.mp4")]})
    await accepted(store, None)
    assert await Runner(store, graph.modules(store), NoMetrics(), pauses=(0.0,)).execute(RUN, owner="me")
    tracing.stop()
    failed, succeeded = collected.named("frame_selection")
    assert (failed.failed, succeeded.failed) == (True, False)
    assert failed.attributes["error.type"] == "WorkerDied"
    assert [span.attributes["immersivaudio.attempt"] for span in (failed, succeeded)] == [1, 2]
    assert b"aunt-mary" not in b"".join(collected.bodies)


async def test_an_ingress_that_is_ended_in_order_sends_what_is_left(collected: Collector) -> None:
    with tracing.span("the last request"):
        pass
    ours: Any = Ingress.__mro__[1]  # Serve's wrapper calls what it wraps
    await ours.__del__(None)
    assert collected.named("the last request")


async def test_a_run_that_failed_is_an_error_of_the_whole_trace(collected: Collector, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    graph = Graph(broken={Unit("frame_selection"): [ValueError("we broke")]})
    await accepted(store, None)
    assert await Runner(store, graph.modules(store), NoMetrics(), pauses=()).execute(RUN, owner="me")
    tracing.stop()
    (run,) = collected.named("run")
    assert run.failed
    assert run.attributes["error.type"] == "internal"
    assert run.attributes["immersivaudio.status"] == "failed"


async def test_a_slow_call_to_the_store_has_a_span_and_a_quick_one_has_none(
    collected: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path))
    monkeypatch.setattr(tracing, "SLOW_SECONDS", 60.0)
    await accepted(store, None)
    with tracing.span("quick"):
        await store.write("a/b", b"x")
    monkeypatch.setattr(tracing, "SLOW_SECONDS", 0.0)
    with tracing.span("slow"):
        await store.write("a/b", b"x")
        await store.read("a/c")
    await store.read("a/c")  # in no trace, and so of no use in one
    tracing.stop()
    (slow,) = collected.named("slow")
    assert [span.name for span in collected.spans() if span.name.startswith("store ")] == ["store write", "store read"]
    assert {span.parent for span in collected.spans() if span.name.startswith("store ")} == {slow.id}


async def test_a_look_is_traced_only_where_its_client_asks_for_it(collected: Collector, tmp_path: Path) -> None:
    async with local_http(AppSettings(store=str(tmp_path))) as http:
        await http.get("/v1/modules")
        await http.get("/healthz")
        await http.get("/v1/modules", headers=FROM_A_CLIENT)
        await http.get("/v1/modules", headers={"traceparent": "00-nonsense"})
    tracing.stop()
    ours, new = collected.named("GET /v1/modules")
    assert ours.trace == CLIENTS_TRACE
    assert (new.trace != CLIENTS_TRACE, new.parent) == (True, "")


async def test_who_may_not_come_in_makes_no_traces(collected: Collector, tmp_path: Path) -> None:
    async with local_http(AppSettings(store=str(tmp_path)), keys={"studio": "s" * 20}) as http:
        answer = await http.post("/v1/runs", headers=FROM_A_CLIENT)
        assert answer.status_code == 401
    tracing.stop()
    assert collected.spans() == []


async def test_log_lines_of_a_run_name_its_trace(
    collected: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, graph = Store(str(tmp_path)), Graph()
    await accepted(store, FROM_A_CLIENT["traceparent"])
    with everything_logged(caplog):
        await Runner(store, graph.modules(store), NoMetrics(), pauses=()).execute(RUN, owner="me")
    lines = [line for line in caplog.records if line.getMessage() in ("module done", "run finished")]
    assert len(lines) > len(ATTEMPTS)
    assert {getattr(line, "trace_id", None) for line in lines} == {CLIENTS_TRACE}


async def test_a_collector_that_is_away_holds_nothing_up(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    tracing.start("here")
    try:
        async with local_http(AppSettings(store=str(tmp_path / "store"))) as http:
            assert await finished(http, video)
    finally:
        before = time.monotonic()
        await asyncio.to_thread(tracing.stop)
        assert time.monotonic() - before < 8
        logging.getLogger("opentelemetry").setLevel(logging.NOTSET)


@pytest.mark.parametrize("within", [tracing.span, tracing.slow])
def test_a_span_that_begins_while_another_thread_stops_tracing_holds_nothing_up(
    collected: Collector, monkeypatch: pytest.MonkeyPatch, within: Callable[[str], AbstractContextManager[object]]
) -> None:
    begin = tracing._begin

    def begin_late(*arguments: Any, **more: Any) -> Any:
        tracing.stop()
        return begin(*arguments, **more)

    monkeypatch.setattr(tracing, "SLOW_SECONDS", 0.0)
    with tracing.span("before"):
        monkeypatch.setattr(tracing, "_begin", begin_late)
        with within("late"):
            pass
    assert not tracing.is_on()


SILENT = """
import sys
from serve import app, http, pipeline, tracing
tracing.start("Pipeline")
with tracing.span("run") as run:
    run.tell({"status": "finished"})
    run.failed("WorkerDied")
assert not tracing.is_on() and tracing.traceparent() is None and tracing.log_fields() == {}
assert not [name for name in sys.modules if name.startswith("opentelemetry.exporter.otlp")]
"""


def test_without_the_variable_nothing_of_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_the_packages_a_warning_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with everything_logged(caplog):
        tracing.start("here")
    assert not tracing.is_on()
    assert "pip install '.[tracing]' in the project's folder" in caplog.text


@pytest.mark.timeout(600)
def test_on_a_cluster_the_replicas_of_all_deployments_tell_one_trace(
    deploy: Deploy, video: Path, tmp_path: Path
) -> None:
    with collector() as (address, kept):
        sent = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        service = deploy("serve_config.yaml", environment=sent, store=str(tmp_path / "store"))
        answer = httpx.post(
            f"{service}/v1/runs",
            params={"follow": True},
            files={"file": (video.name, video.read_bytes())},
            data={"options": json.dumps({"seed": 1})},
            headers=FROM_A_CLIENT,
            timeout=120,
        )
        assert '"finished"' in answer.text
        deadline = time.monotonic() + 60
        while True:  # each replica sends its own, when it comes to it
            spans = kept.spans(CLIENTS_TRACE)
            names = {span.name for span in spans}
            told_by = {span.resource["immersivaudio.deployment"] for span in spans}
            if (names >= EVERY_NAME and told_by >= EVERY_DEPLOYMENT) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
    assert names >= EVERY_NAME
    assert told_by >= EVERY_DEPLOYMENT
    known = by_id(spans)
    assert all(span.parent in known or span.parent == CLIENTS_SPAN for span in spans)
