"""`GET /metrics`: what all replicas of the application counted, in the text format of Prometheus, whichever replica answers.

Every node of a Ray cluster exports what was counted on it, also where no dashboard runs. All nodes are read at each call, and
what is ours is added up: without the labels of workers and replicas, which come and go, but with the node's, since a sum over
nodes would fall when one leaves, and a counter must not. Numbers are up to about ten seconds old (`serve/metrics.py`).
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

import httpx
from fastapi import FastAPI, Response
from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from serve.metrics import EXACT_SECONDS, GPU_MEMORY, SECONDS, WINDOWS

logger = logging.getLogger("ray.serve")

NODE_SECONDS = 5
"""After these, a node is left out. Prometheus waits ten seconds for all."""
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
EXAMPLE = """\
# HELP immersivaudio_runs_ended_total Runs that ended, by how.
# TYPE immersivaudio_runs_ended_total counter
immersivaudio_runs_ended_total{node="99b763b2b18daef07d54221d8d58f70a4e362fa6f0d603961892994f",status="finished"} 12.0
# HELP immersivaudio_runs_waiting Runs that wait for a replica in the whole store; the largest number that a replica gives.
# TYPE immersivaudio_runs_waiting gauge
immersivaudio_runs_waiting 3.0
"""
_RAY = "ray_"
_OURS = tuple(f"{start}{_RAY}immersivaudio_" for start in ("", "# HELP ", "# TYPE "))
_LABELS = ("status", "module", "part", "model", "origin", "cause", "le")


def add_metrics(app: FastAPI, read: Callable[[], Awaitable[str]]) -> None:
    """Adds the route. `read` gives the text: in a replica, `read_application`."""

    @app.get(
        "/metrics",
        response_class=Response,
        responses={
            200: {"description": "Counts, as Prometheus reads them.", "content": {MEDIA_TYPE: {"example": EXAMPLE}}}
        },
        summary="What was done so far",
    )
    async def metrics() -> Response:
        return Response(await read(), media_type=MEDIA_TYPE)


async def read_application() -> str:
    """The metrics of the application that this replica belongs to. A node that does not answer is left out, and logged."""
    import ray
    from ray import serve as rs

    nodes = [node for node in await asyncio.to_thread(ray.nodes) if node["Alive"]]
    # trust_env: what is set for the internet's sake, as a proxy, is not meant for the cluster's own nodes
    async with httpx.AsyncClient(trust_env=False) as client:
        urls = (_url(node["NodeManagerAddress"], node["MetricsExportPort"]) for node in nodes)
        texts = await asyncio.gather(*(_text(client, url) for url in urls))
    told = [(node["NodeID"], text) for node, text in zip(nodes, texts, strict=True) if text is not None]
    return await asyncio.to_thread(merge, told, application=rs.get_replica_context().app_name)


def _url(address: str, port: int) -> str:
    return f"http://[{address}]:{port}/metrics" if ":" in address else f"http://{address}:{port}/metrics"


async def _text(client: httpx.AsyncClient, url: str) -> str | None:
    try:
        async with asyncio.timeout(NODE_SECONDS):
            answer = await client.get(url, timeout=NODE_SECONDS)
            return answer.raise_for_status().text
    except (httpx.HTTPError, TimeoutError) as error:
        logger.warning("the metrics of a node are left out: %s says %s", url, error or type(error).__name__)
        return None


def merge(told: Iterable[tuple[str, str]], *, application: str) -> str:
    """One text of what the nodes say of an application.

    Args:
        told: id of a node, and what it exports.
        application: name that Serve knows it by.
    """
    merged = _Merged()
    for node, text in told:
        ours = "\n".join(line for line in text.split("\n") if line.startswith(_OURS))
        for family in text_string_to_metric_families(ours + "\n"):
            for sample in family.samples:
                if sample.labels.get("application") == application:
                    merged.add(family, sample, node)
    return generate_latest(merged).decode()


class _Merged(Collector):
    """Adds up counters and histograms by node, and windows by deployment; of another gauge, keeps the largest value of all."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = defaultdict(dict)

    def add(self, family: Metric, sample: Sample, node: str) -> None:
        kind = family.type
        named, name = family.name.removeprefix(_RAY), sample.name.removeprefix(_RAY)
        if kind == "histogram" and name.endswith("_sum"):
            return  # Ray makes it of the middles of the buckets; where the true one is asked for, a counter of ours has it
        if named == EXACT_SECONDS:
            named, name = SECONDS, f"{SECONDS}_sum"
        else:
            self._families.setdefault(named, Metric(named, family.documentation, kind))
        labels = {label: sample.labels[label] for label in _LABELS if sample.labels.get(label)}
        if named in (WINDOWS, GPU_MEMORY):
            labels["deployment"] = sample.labels["deployment"]
        elif kind != "gauge":
            labels["node"] = node
        key, values = (name, tuple(labels.items())), self._values[named]
        largest = kind == "gauge" and named != WINDOWS
        values[key] = max(values.get(key, sample.value), sample.value) if largest else values.get(key, 0) + sample.value

    def collect(self) -> Iterable[Metric]:
        for named, family in self._families.items():
            family.samples = [
                Sample(name, dict(labels), value) for (name, labels), value in self._values[named].items()
            ]
            yield family
