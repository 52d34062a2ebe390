"""What pods of the cluster may do, and who reaches them."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import kubernetes_validate
import pytest
import yaml

from models.errors import StorageFailed
from serve.store import Store
from tests.deploy.manifest import CLUSTER, GROUPS, MANIFEST, containers, documents, pods


@pytest.mark.parametrize(("where", "pod", "container"), containers(), ids=[where for where, _, _ in containers()])
def test_no_container_has_rights_or_writes_to_its_root(
    where: str, pod: dict[str, Any], container: dict[str, Any]
) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    closed = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == closed
    assert {"requests", "limits"} == set(container["resources"])
    mounted = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert {"/tmp", "/scratch"} <= set(mounted)
    assert "/weights" not in mounted or mounted["/weights"].get("readOnly", False) == (where != "job: prefetch")
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert not any("hostPath" in volume for volume in pod["volumes"])


def test_workers_have_no_token_for_kubernetes() -> None:
    (account,) = documents("ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    for group in GROUPS.values():
        spec = group["template"]["spec"]
        assert spec["serviceAccountName"] == account["metadata"]["name"]
        assert spec["automountServiceAccountToken"] is False


def test_secrets_are_named_and_never_written_down() -> None:
    assert not documents("Secret")
    assert CLUSTER["authOptions"] == {"mode": "token"}
    text = MANIFEST.read_text()
    for name in set(re.findall(r"secret(?:KeyRef|Ref): \{ name: ([\w-]+)", text)):
        assert re.search(rf"(?m)^# +Secret {name} ", text), f"whoever sets it up has to know of {name}"
    for _, _, container in containers():
        for variable in container.get("env", ()):
            assert "valueFrom" in variable or not re.search("KEY|TOKEN|SECRET|PASSWORD", variable["name"])


def test_the_head_holds_no_keys() -> None:
    pod = pods()["head"]["spec"]
    for container in pod["containers"]:
        sources = [*container.get("envFrom", ()), *(one.get("valueFrom", {}) for one in container.get("env", ()))]
        assert not [source for source in sources if {"secretRef", "secretKeyRef"} & set(source)], container["name"]
    assert not [volume for volume in pod["volumes"] if "secret" in volume]


def test_what_pods_refer_to_is_there() -> None:
    claims = {document["metadata"]["name"] for document in documents("PersistentVolumeClaim")}
    for pod in pods().values():
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in volumes.values()
            if "persistentVolumeClaim" in volume
        } <= claims
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
    maps = {document["metadata"]["name"] for document in documents("ConfigMap")}
    assert set(re.findall(r"configMapRef: \{ name: ([\w-]+)", MANIFEST.read_text())) <= maps


OPERATOR = {"app.kubernetes.io/name": "kuberay-operator"}
CALLER = {"immersivaudio-client": "true"}
PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}
STRANGER = {"app.kubernetes.io/name": "something-else"}


@pytest.mark.parametrize(
    ("caller", "pod", "ports"),
    [
        (STRANGER, "head", set()),
        (STRANGER, "cpu", set()),
        (CALLER, "head", {8000}),
        (CALLER, "cpu", {8000}),
        (OPERATOR, "head", {8265}),
        (OPERATOR, "gpu-audio", set()),
        (PROMETHEUS, "gpu-vision", {8080}),
        (CALLER, "job", {8000}),
    ],
)
def test_nobody_else_reaches_rays_ports(caller: dict[str, str], pod: str, ports: set[int]) -> None:
    asked = {6379, 8000, 8080, 8265, 10001, 10002, 52365}
    assert {port for port in asked if _reaches(caller, pods()[pod]["metadata"]["labels"], port)} == ports


@pytest.mark.parametrize("caller", [name for name in pods() if name != "job"])
def test_nodes_of_the_cluster_reach_one_another(caller: str) -> None:
    labels = pods()[caller]["metadata"]["labels"]
    for name in GROUPS:
        assert all(_reaches(labels, pods()[name]["metadata"]["labels"], port) for port in (6379, 10002, 52365))


def _reaches(caller: dict[str, str], callee: dict[str, str], port: int) -> bool:
    """Whether the policies let a pod with these labels, of any namespace or the same one, in. None selects the callee: all may."""
    policies = [one["spec"] for one in documents("NetworkPolicy") if _selects(one["spec"]["podSelector"], callee)]
    rules = [rule for policy in policies for rule in policy["ingress"]]
    allowed = [
        rule
        for rule in rules
        if any(_selects(peer["podSelector"], caller) for peer in rule["from"])
        and ("ports" not in rule or port in {one["port"] for one in rule["ports"]})
    ]
    return bool(allowed) or not policies


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert set(selector) == {"matchLabels"}
    return bool(selector["matchLabels"].items() <= labels.items())


def test_what_opens_strangers_files_gets_out_to_names_and_the_bucket_alone() -> None:
    labels = pods()["cpu"]["metadata"]["labels"]
    policies = [one["spec"] for one in documents("NetworkPolicy") if _selects(one["spec"]["podSelector"], labels)]
    assert all(policy["policyTypes"] == ["Ingress", "Egress"] for policy in policies)
    outside = [rule for policy in policies for rule in policy["egress"] if "ports" in rule]
    assert {port["port"] for rule in outside for port in rule["ports"]} == {53, 443}


def test_the_ways_out_that_some_sites_need_are_there_to_be_opened() -> None:
    """Rules that stand in comments: with these lines opened, Kubernetes reads them, and they lead where they should."""
    opened = [document for document in yaml.safe_load_all(_opened(MANIFEST.read_text())) if document]
    policy, _ = (one for one in opened if one["kind"] == "NetworkPolicy")
    kubernetes_validate.validate(policy, kubernetes_validate.latest_version(), strict=True)
    ways = {
        (peer.get("ipBlock", {}).get("cidr"), port["port"])
        for rule in policy["spec"]["egress"]
        for peer in rule.get("to", ())
        for port in rule.get("ports", ())
    }
    assert {("169.254.169.254/32", 80), ("169.254.170.23/32", 80), (None, 4318), (None, 9000)} <= ways
    assert ("169.254.20.10/32", 53) in ways


def test_a_bucket_over_plain_http_is_reached_with_the_keys_that_the_head_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of the bucket's secret, as the manifest's first lines tell of them, are what the store reads of its environment."""
    (told,) = re.findall(r"(?s)#   Secret immersivaudio-bucket (.*?)#   Secret ", MANIFEST.read_text())
    names = set(re.findall(r"AWS_\w+", told))
    with _bucket() as endpoint:
        given = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT": endpoint, "AWS_ALLOW_HTTP": "true"}
        given |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        assert set(given) == names
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        Store("s3://bucket/store").put("runs/a", b"whole")
        monkeypatch.delenv("AWS_ALLOW_HTTP")
        with pytest.raises(StorageFailed):
            Store("s3://bucket/store").put("runs/a", b"whole")


@contextmanager
def _bucket() -> Iterator[str]:
    """The address of a server that takes whatever is put there, over plain HTTP."""

    class Takes(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("ETag", '"a"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Takes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _opened(manifest: str) -> str:
    return re.sub(r"(?m)^    # (- to: |  ports: )", r"    \1", manifest)
