"""`deploy/rayservice.yaml`, taken apart."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "deploy" / "rayservice.yaml"
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFEST.read_text()))


def documents(kind: str) -> list[dict[str, Any]]:
    return [document for document in DOCUMENTS if document["kind"] == kind]


(SERVICE,) = documents("RayService")
CLUSTER: dict[str, Any] = SERVICE["spec"]["rayClusterConfig"]
HEAD: dict[str, Any] = CLUSTER["headGroupSpec"]
GROUPS: dict[str, dict[str, Any]] = {group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}
SERVE_CONFIG: dict[str, Any] = yaml.safe_load(SERVICE["spec"]["serveConfigV2"])
(APPLICATION,) = SERVE_CONFIG["applications"]
DEPLOYMENTS: dict[str, dict[str, Any]] = {one["name"]: one for one in APPLICATION["deployments"]}


def pods() -> dict[str, dict[str, Any]]:
    """All pod templates, by name: head (with the autoscaler's container, which KubeRay adds), the groups', the Job's."""
    options = CLUSTER["autoscalerOptions"]
    given = {key: options[key] for key in ("resources", "securityContext", "volumeMounts")}
    autoscaler = {"name": "autoscaler", "image": HEAD["template"]["spec"]["containers"][0]["image"], **given}
    head = HEAD["template"]["spec"]
    (job,) = documents("Job")
    return {
        "head": {**HEAD["template"], "spec": {**head, "containers": [*head["containers"], autoscaler]}},
        **{name: group["template"] for name, group in GROUPS.items()},
        "job": job["spec"]["template"],
    }


def containers() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(where it is, the pod's spec, the container) of every container there is."""
    return [
        (f"{name}: {container['name']}", pod["spec"], container)
        for name, pod in pods().items()
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
    ]


def group_of(deployment: str) -> str:
    """The worker group that a deployment is pinned to."""
    asked = DEPLOYMENTS[deployment]["ray_actor_options"]["resources"]
    (group,) = (
        name for name, group in GROUPS.items() if all(kind in group["rayStartParams"]["resources"] for kind in asked)
    )
    return group


def replicas(deployment: str, bound: str) -> int:
    """bound: min_replicas or max_replicas."""
    one = DEPLOYMENTS[deployment]
    count: int = one.get("num_replicas") or one["autoscaling_config"][bound]
    return count
