"""The cluster's manifest, without a cluster: what Kubernetes, KubeRay, Ray's autoscaler, Serve and we ourselves read in it."""

import json
import re
import shlex
from typing import Any

import kubernetes_validate
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from serve.check import problems
from serve.config import applications
from serve.settings import AppSettings
from serve.strict import unknown_keys
from tests.deploy.kuberay import RayService
from tests.deploy.manifest import (
    APPLICATION,
    CLUSTER,
    DEPLOYMENTS,
    DOCUMENTS,
    GROUPS,
    HEAD,
    ROOT,
    SERVE_CONFIG,
    SERVICE,
    containers,
    documents,
    group_of,
    pods,
    replicas,
)

ONE_MACHINE: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.gpu.yaml").read_text())["applications"][0]


def _check(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("document", [one for one in DOCUMENTS if one is not SERVICE], ids=lambda one: one["kind"])
def test_kubernetes_knows_every_field(document: dict[str, Any]) -> None:
    _check(document)


@pytest.mark.parametrize("name", pods())
def test_kubernetes_knows_every_field_of_a_pod(name: str) -> None:
    pod = pods()[name]
    _check({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **pod["metadata"]}, "spec": pod["spec"]})


def test_kuberay_knows_every_field_of_its_own() -> None:
    RayService.model_validate(SERVICE)


def test_a_misspelt_field_would_be_noticed() -> None:
    pod = {"containers": [{"name": "ray", "image": "ray", "securityContex": {}}]}
    with pytest.raises(kubernetes_validate.ValidationError, match="securityContex"):
        _check({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod})
    with pytest.raises(ValueError, match="minReplica\n"):
        RayService.model_validate(_with(SERVICE, "workerGroupSpecs", [{**GROUPS["cpu"], "minReplica": 1}]))


def _with(service: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    return {**service, "spec": {**service["spec"], "rayClusterConfig": {**CLUSTER, key: value}}}


def test_serve_and_the_application_read_every_key() -> None:
    assert unknown_keys(SERVE_CONFIG) == []
    ServeDeploySchema.model_validate(SERVE_CONFIG)
    assert AppSettings.model_validate(APPLICATION["args"]).store.startswith("s3://")


def test_every_deployment_of_the_graph_has_an_entry_and_every_entry_is_one() -> None:
    from ray.serve._private.build_app import build_app

    from serve.app import build

    graph = build_app(build(AppSettings.model_validate(APPLICATION["args"])), name="immersivaudio")
    assert set(DEPLOYMENTS) == {deployment.name for deployment in graph.deployments}
    assert APPLICATION["import_path"] == f"{build.__module__}:{build.__name__}"


def test_the_job_fetches_what_the_application_loads() -> None:
    """The Job reads serve_config.gpu.yaml; models and weights have to be the same as here."""
    ours, fetched = (_models(args) for args in (APPLICATION["args"], ONE_MACHINE["args"]))
    assert ours == fetched


def _models(args: dict[str, Any]) -> dict[str, Any]:
    settings = AppSettings.model_validate(args)
    modules = ("object_detection", "frame_selection", "frame_description", "music", "sounds")
    return {name: getattr(settings, name).model_dump(exclude=set(getattr(settings, name).tuning)) for name in modules}


def test_every_deployment_is_pinned_to_nodes_of_one_kind_and_gpus_go_to_models_alone() -> None:
    kinds = {"cpu_worker": 0, "gpu_vision": 1, "gpu_audio": 1}
    for one in DEPLOYMENTS.values():
        options = one["ray_actor_options"]
        (kind,) = options["resources"]
        assert (options.get("num_gpus", 0) > 0) == bool(kinds[kind]), one["name"]
    for group in GROUPS.values():
        (kind,) = _custom(group["rayStartParams"])
        assert group["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", "0") == str(
            kinds[kind]
        )


def _custom(parameters: dict[str, str]) -> dict[str, float]:
    """As the shell hands it to `ray start --resources`, which reads JSON."""
    (argument,) = shlex.split(parameters["resources"])
    custom: dict[str, float] = json.loads(argument)
    return custom


def test_ray_start_knows_every_parameter_that_it_is_given() -> None:
    from ray.scripts.scripts import start

    known = {option for parameter in start.params for option in parameter.opts}
    for group in (HEAD, *GROUPS.values()):
        assert {f"--{name}" for name in group["rayStartParams"]} <= known


def test_the_models_fit_into_their_shares_of_a_card_of_24_gb() -> None:
    (application,) = applications(ROOT / "deploy" / "rayservice.yaml")
    assert problems(application, 24) == []


def test_a_deployment_is_as_on_one_machine_but_for_where_it_is_and_how_often() -> None:
    """What was tuned and measured there holds here."""
    for one in ONE_MACHINE["deployments"]:
        ours = DEPLOYMENTS[one["name"]]
        for key in ("max_ongoing_requests", "graceful_shutdown_timeout_s", "max_surge_percent"):
            assert ours.get(key) == one.get(key), f"{one['name']}: {key}"
        assert _policy(ours) == _policy(one)
        if group_of(one["name"]) == "gpu-vision":
            assert ours["ray_actor_options"]["num_gpus"] == one["ray_actor_options"]["num_gpus"]
    assert APPLICATION["args"]["runs"] == ONE_MACHINE["args"]["runs"]


def _policy(deployment: dict[str, Any]) -> object:
    return deployment.get("autoscaling_config", {}).get("policy")


@pytest.mark.parametrize("bound", ["min_replicas", "max_replicas"])
def test_rays_autoscaler_finds_a_node_for_every_replica(bound: str) -> None:
    reply, nodes = _scheduled(bound)
    assert not reply.infeasible_resource_requests
    launched = {launch.instance_type: launch.count for launch in reply.to_launch}
    for name, group in GROUPS.items():
        assert launched[name] <= group["maxReplicas"]
        if bound == "min_replicas":  # a quiet cluster has no node too many
            assert launched[name] == group["minReplicas"] == group["replicas"]
    assert nodes["headgroup"]["resources"]["CPU"] == nodes["headgroup"]["resources"]["GPU"] == 0


def _scheduled(bound: str) -> tuple[Any, dict[str, Any]]:
    """What Ray's autoscaler would launch for so many replicas of everything, by its own reading of the manifest."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _generate_available_node_types_from_ray_cr_spec
    from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.utils import ResourceRequestUtil

    nodes = _generate_available_node_types_from_ray_cr_spec(CLUSTER)
    configs = {
        name: NodeTypeConfig(
            name=name,
            min_worker_nodes=node["min_workers"],
            max_worker_nodes=node["max_workers"],
            resources=node["resources"],
        )
        for name, node in nodes.items()
        if name in GROUPS
    }
    asked = []
    for name, one in DEPLOYMENTS.items():
        options = one["ray_actor_options"]
        needed = {"CPU": options["num_cpus"], "GPU": options.get("num_gpus", 0), **options["resources"]}
        needed = {key: amount for key, amount in needed.items() if amount}
        asked += [ResourceRequestUtil.make(needed)] * replicas(name, bound)
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=configs,
        resource_requests=ResourceRequestUtil.group_by_count(asked),
    )
    return ResourceDemandScheduler(None).schedule(request), nodes


def test_a_node_that_goes_finds_room_for_its_replicas_elsewhere() -> None:
    reply, _ = _scheduled("min_replicas")
    for launch in reply.to_launch:
        assert launch.count < GROUPS[launch.instance_type]["maxReplicas"]
    for name, one in DEPLOYMENTS.items():
        if alone := one.get("max_replicas_per_node"):
            assert replicas(name, "min_replicas") <= alone * GROUPS[group_of(name)]["minReplicas"]


def test_an_upgrade_in_place_finds_a_node_for_each_replica_beside_the_old_ones() -> None:
    for name, one in DEPLOYMENTS.items():
        if alone := one.get("max_replicas_per_node"):
            at_once = replicas(name, "max_replicas") * (1 + one["max_surge_percent"] / 100)
            assert at_once <= alone * GROUPS[group_of(name)]["maxReplicas"], name


def test_a_pod_is_given_the_time_that_its_replicas_need_to_finish() -> None:
    (settings,) = documents("ConfigMap")
    drain = float(settings["data"]["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    for name, one in DEPLOYMENTS.items():
        pod = GROUPS[group_of(name)]["template"]["spec"]
        # Serve starts another replica first, and then lets this one finish.
        assert one.get("graceful_shutdown_timeout_s", 20) + 120 <= drain < pod["terminationGracePeriodSeconds"]


def test_the_head_goes_at_once_and_is_found_again() -> None:
    (container,) = HEAD["template"]["spec"]["containers"]
    assert {"name": "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "value": "0"} in container["env"]
    assert CLUSTER["gcsFaultToleranceOptions"]["redisAddress"]
    assert CLUSTER["rayVersion"] in re.findall(r"(?m)^ray==(.*)$", (ROOT / "constraints.txt").read_text())


def test_all_images_are_of_this_release() -> None:
    version = re.findall(r'(?m)^version = "(.*)"$', (ROOT / "pyproject.toml").read_text())
    tags = {container["image"].rpartition(":")[2] for _, _, container in containers()}
    assert {tag.partition("-")[0] for tag in tags} == set(version)
    assert {tag.partition("-")[2] for tag in tags} == {"serve", "paper"}


def test_each_release_has_a_job_of_its_own() -> None:
    """Of a Job that is there, Kubernetes refuses another image."""
    (version,) = re.findall(r'(?m)^version = "(.*)"$', (ROOT / "pyproject.toml").read_text())
    (job,) = documents("Job")
    assert job["metadata"]["name"].endswith("-" + version.replace(".", "-"))


def test_the_service_has_a_port_for_calls() -> None:
    """KubeRay makes the ports of immersivaudio-serve-svc of the head container's alone, and takes the one named `serve`."""
    (container,) = HEAD["template"]["spec"]["containers"]
    port = SERVE_CONFIG["http_options"]["port"]
    for one in (container, *(group["template"]["spec"]["containers"][0] for group in GROUPS.values())):
        assert {"name": "serve", "containerPort": port} in one["ports"]


def test_a_budget_leaves_kubernetes_a_pod_to_move() -> None:
    by_component = {
        group["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: group for group in GROUPS.values()
    }
    for budget in documents("PodDisruptionBudget"):
        group = by_component[budget["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]]
        assert 0 < budget["spec"]["minAvailable"] < group["minReplicas"]
