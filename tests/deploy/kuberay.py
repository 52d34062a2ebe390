"""KubeRay's own fields (1.5.1), as far as the manifest uses them. Pods inside are Kubernetes' own, and are checked by its schemas.

Only the fields of KubeRay's API reference: what is not there is dropped by the API server, or refused.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Known(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class _PodTemplate(_Known):
    metadata: dict[str, Any] = {}
    spec: dict[str, Any]


class _Auth(_Known):
    mode: Literal["disabled", "token"]


class _Credential(_Known):
    value_from: dict[str, Any]


class _FaultTolerance(_Known):
    redis_address: str
    redis_password: _Credential
    redis_username: _Credential | None = None
    external_storage_namespace: str = ""


class _Autoscaler(_Known):
    version: Literal["v1", "v2"]
    idle_timeout_seconds: int = Field(ge=0)
    upscaling_mode: Literal["Default", "Aggressive", "Conservative"] = "Default"
    image: str = ""
    image_pull_policy: str = ""
    # A container's.
    resources: dict[str, Any] = {}
    security_context: dict[str, Any] = {}
    volume_mounts: list[dict[str, Any]] = []
    env: list[dict[str, Any]] = []
    env_from: list[dict[str, Any]] = []


class _Head(_Known):
    # Ray's command line is made of it; KubeRay takes nothing but strings.
    ray_start_params: dict[str, str]
    template: _PodTemplate
    service_type: str = "ClusterIP"
    enable_ingress: bool = False


class _WorkerGroup(_Known):
    group_name: str = Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$")
    replicas: int = Field(ge=0)
    min_replicas: int = Field(ge=0)
    max_replicas: int = Field(ge=0)
    num_of_hosts: int = 1
    ray_start_params: dict[str, str]
    template: _PodTemplate


class _Cluster(_Known):
    ray_version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    auth_options: _Auth
    gcs_fault_tolerance_options: _FaultTolerance
    enable_in_tree_autoscaling: bool
    autoscaler_options: _Autoscaler
    head_group_spec: _Head
    worker_group_specs: list[_WorkerGroup]


class _Upgrade(_Known):
    type: Literal["NewCluster", "None"]


class _Service(_Known):
    upgrade_strategy: _Upgrade
    ray_cluster_deletion_delay_seconds: int = Field(ge=0)
    exclude_head_pod_from_serve_svc: bool = False
    serve_config_v2: str
    ray_cluster_config: _Cluster


class RayService(_Known):
    """`kind: RayService`."""

    api_version: Literal["ray.io/v1"]
    kind: Literal["RayService"]
    metadata: dict[str, Any]
    spec: _Service
