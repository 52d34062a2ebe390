"""What alerts and dashboard ask for is told by a service that has worked."""

import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import media_factory
from tests.deploy.queries import asked_for, queries
from tests.serve.conftest import Deploy

SEEN_WITHIN = 120
# What no healthy service on a machine without a GPU has: failures, takeovers, nodes that are waited for, GPUs, uploads in parts.
NOT_HERE = (
    "ray_immersivaudio_gpu_memory_bytes",
    "ray_immersivaudio_module_failures_total",
    "ray_immersivaudio_module_retries_total",
    "ray_immersivaudio_runs_resumed_total",
    "ray_immersivaudio_upload_bytes_total",
    "ray_cluster_pending_nodes",
    "ray_node_g",
)


def exported() -> dict[str, set[str]]:
    """Labels by name, of all that this cluster's node tells."""
    import ray

    (node,) = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    text = httpx.get(address, trust_env=False, timeout=60).text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.timeout(600)
def test_what_alerts_and_dashboard_ask_for_is_there_after_a_run(deploy: Deploy, tmp_path: Path) -> None:
    service = deploy("serve_config.yaml", store=str(tmp_path / "store"))
    video = media_factory.make_video(tmp_path / "clip.mp4", frames=50)
    for seed in (1, 2):  # the second finds what the first has seen
        answer = httpx.post(
            f"{service}/v1/runs?follow=true",
            files={"file": (video.name, video.read_bytes())},
            data={"options": f'{{"seed": {seed}}}'},
            timeout=120,
        )
        assert '"finished"' in answer.text
    assert httpx.post(f"{service}/v1/runs", json={"text": ""}).status_code == 422
    asked = {(one.name, one.labels) for query in queries().values() for one in asked_for(query)}
    here = {(name, labels) for name, labels in asked if not name.startswith(NOT_HERE)}
    assert len(here) > 20
    deadline, missing = time.monotonic() + SEEN_WITHIN, here
    while missing and time.monotonic() < deadline:
        time.sleep(1)
        told = exported()
        missing = {(name, labels) for name, labels in here if name not in told or not labels <= told[name]}
    assert not missing
