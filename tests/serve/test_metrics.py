"""What the service counts, summed over replicas and nodes. The sums on a real cluster, the rest without."""

import http.server
import logging
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from serve.http_metrics import EXAMPLE, add_metrics, merge, read_application
from serve.metrics import GpuMemory, Metrics, NoMetrics, RayMetrics
from tests.serve.asking import everything_logged

SEEN_WITHIN = 120
"""Seconds until a cluster tells what was counted: many times what Ray takes, for slow machines."""


def numbers(text: str) -> dict[str, float]:
    """Samples by name and labels; those of several nodes are added up."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = [f"{name}={value}" for name, value in sorted(sample.labels.items()) if name != "node"]
            key = " ".join([sample.name.removeprefix("immersivaudio_"), *labels])
            found[key] = found.get(key, 0) + sample.value
    return found


def exported(*lines: str) -> str:
    """As a node exports it: among much else, and with Ray's own labels."""
    ray = 'Component="core_worker",NodeAddress="10.0.0.1",application="ours",deployment="Pipeline"'
    return "\n".join(
        [
            "# HELP ray_tasks Tasks",
            "# TYPE ray_tasks gauge",
            "ray_tasks 3.0",
            *(line.replace("RAY", ray) for line in lines),
            "",
        ]
    )


ENDED = (
    "# HELP ray_immersivaudio_runs_ended_total Runs that ended.",
    "# TYPE ray_immersivaudio_runs_ended_total counter",
)


def test_counts_of_replicas_are_added_up_and_their_names_left_out() -> None:
    text = exported(
        *ENDED,
        'ray_immersivaudio_runs_ended_total{RAY,WorkerId="a",replica="x",status="finished"} 3.0',
        'ray_immersivaudio_runs_ended_total{RAY,WorkerId="b",replica="y",status="finished"} 4.0',
        'ray_immersivaudio_runs_ended_total{RAY,WorkerId="b",replica="y",status="failed"} 1.0',
    )
    assert merge([("n1", text)], application="ours").splitlines() == [
        "# HELP immersivaudio_runs_ended_total Runs that ended.",
        "# TYPE immersivaudio_runs_ended_total counter",
        'immersivaudio_runs_ended_total{node="n1",status="finished"} 7.0',
        'immersivaudio_runs_ended_total{node="n1",status="failed"} 1.0',
    ]


def test_a_node_that_leaves_takes_its_own_counts_only() -> None:
    text = exported(*ENDED, 'ray_immersivaudio_runs_ended_total{RAY,status="finished"} 3.0')
    both = merge([("n1", text), ("n2", text)], application="ours")
    assert numbers(both) == {"runs_ended_total status=finished": 6}
    assert both.count("# TYPE") == both.count("# HELP") == 1
    one = merge([("n2", text)], application="ours")
    assert set(one.splitlines()) < set(both.splitlines())


def test_another_application_on_the_cluster_is_not_counted() -> None:
    text = exported(*ENDED, 'ray_immersivaudio_runs_ended_total{RAY,status="finished"} 3.0')
    assert merge([("n1", text)], application="theirs") == ""


def test_of_what_all_replicas_know_the_largest_is_told_once() -> None:
    gauge = ("# HELP ray_immersivaudio_runs_waiting Runs.", "# TYPE ray_immersivaudio_runs_waiting gauge")
    told = [
        ("n1", exported(*gauge, 'ray_immersivaudio_runs_waiting{RAY,replica="x"} 3.0')),
        ("n2", exported(*gauge, *(f'ray_immersivaudio_runs_waiting{{RAY,replica="{r}"}} {r}' for r in (5, 4)))),
    ]
    assert merge(told, application="ours").splitlines()[2:] == ["immersivaudio_runs_waiting 5.0"]


def test_windows_that_wait_are_added_up_over_the_replicas_of_a_deployment() -> None:
    gauge = ("# HELP ray_immersivaudio_windows_waiting W.", "# TYPE ray_immersivaudio_windows_waiting gauge")
    labels = 'application="ours",deployment="{}",replica="{}"'

    def said(deployment: str, replica: str, windows: float) -> str:
        return f"ray_immersivaudio_windows_waiting{{{labels.format(deployment, replica)}}} {windows}"

    told = [
        ("n1", exported(*gauge, said("MusicGenerator", "x", 2.5), said("SoundGenerator", "y", 1.0))),
        ("n2", exported(*gauge, said("MusicGenerator", "z", 40.0))),
    ]
    assert numbers(merge(told, application="ours")) == {
        "windows_waiting deployment=MusicGenerator": 42.5,
        "windows_waiting deployment=SoundGenerator": 1,
    }


def test_a_label_of_any_characters_survives() -> None:
    odd = r"a\"b\\c\nd"
    text = exported(*ENDED, f'ray_immersivaudio_runs_ended_total{{RAY,status="{odd}"}} 1')
    assert f'status="{odd}"' in merge([("n1", text)], application="ours")


async def scrape(read: Callable[[], Awaitable[str]]) -> tuple[httpx.Response, dict[str, object]]:
    app = FastAPI()
    add_metrics(app, read)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        return await client.get("/metrics"), (await client.get("/openapi.json")).json()["paths"]["/metrics"]["get"]


async def test_the_route_answers_as_prometheus_asks_and_is_described() -> None:
    async def read() -> str:
        return EXAMPLE

    answer, described = await scrape(read)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert numbers(answer.text) == {"runs_ended_total status=finished": 12, "runs_waiting": 3}
    (content,) = described["responses"]["200"]["content"].items()  # type: ignore[index]
    assert content == (answer.headers["content-type"], {"example": EXAMPLE})


class Node(http.server.BaseHTTPRequestHandler):
    """A node's metrics endpoint: /good answers, /slow does not."""

    def do_GET(self) -> None:
        body = exported(*ENDED, 'ray_immersivaudio_runs_ended_total{RAY,status="finished"} 3.0').encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Node)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


async def test_a_node_that_does_not_answer_is_left_out_and_logged(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))
        ports = {"good": port, "silent": silent.getsockname()[1], "closed": closed.getsockname()[1], "gone": 1}
        nodes = [
            {"NodeID": name, "Alive": name != "gone", "NodeManagerAddress": "127.0.0.1", "MetricsExportPort": number}
            for name, number in ports.items()
        ]
        monkeypatch.setattr("ray.nodes", lambda: nodes)
        monkeypatch.setattr("ray.serve.get_replica_context", lambda: SimpleNamespace(app_name="ours"))
        monkeypatch.setattr("serve.http_metrics.NODE_SECONDS", 0.5)
        with everything_logged(caplog):
            text = (await scrape(read_application))[0].text
    assert 'immersivaudio_runs_ended_total{node="good",status="finished"} 3.0' in text.splitlines()
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sorted(str(ports[name]) in line for name in ("silent", "closed") for line in warned) == [
        False,
        False,
        True,
        True,
    ]


def test_a_replica_that_has_used_a_gpu_says_what_it_holds_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    used = False
    told: list[int] = []
    cuda = SimpleNamespace(is_initialized=lambda: used, memory_reserved=lambda: 3 << 30)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr("ray.serve.metrics.Gauge", lambda name, told_as: SimpleNamespace(set=told.append))
    memory = GpuMemory()
    memory.tell()
    assert told == []
    used = True
    memory.tell()
    memory.tell()
    assert told == [3 << 30, 3 << 30]
    monkeypatch.delitem(sys.modules, "torch")
    memory.tell()
    assert len(told) == 2


def test_of_what_replicas_hold_of_their_gpus_the_largest_of_each_deployment_is_told() -> None:
    name = "ray_immersivaudio_gpu_memory_bytes"
    lines = [
        f'{name}{{application="ours",deployment="{of}",replica="{n}"}} {n}.0'
        for of, n in (("a", 1), ("a", 2), ("b", 5))
    ]
    text = exported(f"# HELP {name} Memory.", f"# TYPE {name} gauge", *lines)
    assert merge([("n1", text)], application="ours").splitlines()[2:] == [
        'immersivaudio_gpu_memory_bytes{deployment="a"} 2.0',
        'immersivaudio_gpu_memory_bytes{deployment="b"} 5.0',
    ]


def count(metrics: Metrics) -> None:
    metrics.run_accepted()
    metrics.run_resumed()
    metrics.run_ended("finished", 7.0)
    metrics.run_ended("cancelled", -0.1)  # by the clocks of two machines
    metrics.module_done("audio_generation", "music", "computed", 0.7)
    metrics.module_done("audio_generation", "music", "computed", 20.0)
    metrics.module_done("object_detection", None, "cached", 0.0)
    metrics.module_done("object_detection", None, "kept", 0.0)
    metrics.module_retried("reconstruction", "worker_died")
    metrics.module_failed("reconstruction", "broken")
    metrics.sound_made("music", "sketch/music", 12.5)
    metrics.sound_made("music", "sketch/music", 0.0)
    metrics.uploaded(1000)
    metrics.uploaded(0)
    metrics.queue(waiting=2, running=1)
    metrics.oldest_waiting(90.0)


def test_counting_for_nobody_needs_no_cluster() -> None:
    count(NoMetrics())


ONCE = {
    "runs_accepted_total": 1,
    "runs_resumed_total": 1,
    "runs_ended_total status=finished": 1,
    "runs_ended_total status=cancelled": 1,
    "module_retries_total cause=worker_died module=reconstruction": 1,
    "module_failures_total cause=broken module=reconstruction": 1,
    "sound_seconds_total model=sketch/music part=music": 12.5,
    "run_seconds_count status=finished": 1,
    "run_seconds_bucket le=5.0 status=finished": 0,
    "run_seconds_bucket le=10.0 status=finished": 1,
    "run_seconds_bucket le=0.05 status=cancelled": 1,
    "upload_bytes_total": 1000,
    "cache_misses_total module=audio_generation": 2,
    "cache_hits_total module=object_detection": 1,
    "module_seconds_sum module=audio_generation origin=computed part=music": 20.7,
    "module_seconds_count module=audio_generation origin=computed part=music": 2,
    "module_seconds_bucket le=0.5 module=audio_generation origin=computed part=music": 0,
    "module_seconds_bucket le=1.0 module=audio_generation origin=computed part=music": 1,
    "module_seconds_bucket le=+Inf module=audio_generation origin=computed part=music": 2,
    "module_seconds_count module=object_detection origin=cached": 1,
    "module_seconds_count module=object_detection origin=kept": 1,
}


def test_whichever_replica_answers_tells_what_all_have_counted(cluster: str) -> None:
    from ray import serve as rs

    @rs.ingress()
    class Counting:
        def __serve_build_asgi_app__(self) -> FastAPI:
            app, metrics = FastAPI(), RayMetrics()
            count(metrics)

            def repeat() -> None:
                while True:
                    time.sleep(1)
                    metrics.queue(waiting=2, running=1)
                    metrics.oldest_waiting(90.0)

            threading.Thread(target=repeat, daemon=True).start()
            add_metrics(app, read_application)

            @app.get("/me")
            async def me() -> str:
                return rs.get_replica_context().replica_tag

            return app

    deployed = rs.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.1})(Counting)
    rs.run(deployed.bind(), name="counting", route_prefix="/counting")
    try:
        expected = {name: 2 * value for name, value in ONCE.items()} | {
            "runs_waiting": 2,
            "runs_running": 1,
            "oldest_waiting_seconds": 90,
        }
        seen: dict[str, float] = {}
        deadline = time.monotonic() + SEEN_WITHIN
        while expected.items() - seen.items() and time.monotonic() < deadline:
            time.sleep(0.5)
            seen = numbers(httpx.get(f"{cluster}/counting/metrics", timeout=20).text)
        assert {name: seen.get(name) for name in expected} == pytest.approx(expected)
        # One connection may stay with one replica: sixteen of them reach both.
        assert len({httpx.get(f"{cluster}/counting/me", timeout=60).text for _ in range(16)}) == 2
        answers = [numbers(httpx.get(f"{cluster}/counting/metrics", timeout=20).text) for _ in range(6)]
        assert answers == [seen] * 6
    finally:
        rs.delete("counting")
