"""The smallest Serve application that has a replica besides its ingress."""

from typing import Any

from fastapi import FastAPI
from ray import serve as rs
from ray.serve.handle import DeploymentHandle


@rs.deployment(ray_actor_options={"num_cpus": 0.1})
class Inner:
    async def word(self) -> str:
        return "ready"


app = FastAPI()


@rs.deployment(ray_actor_options={"num_cpus": 0.1})
@rs.ingress(app)
class Outer:
    def __init__(self, inner: DeploymentHandle[Any]) -> None:
        self.inner = inner

    @app.get("/readyz")
    async def ready(self) -> str:
        return await self.inner.word.remote()  # type: ignore[no-any-return]


def build(_: dict[str, str]) -> rs.Application:
    return Outer.bind(Inner.bind())  # type: ignore[attr-defined, no-any-return]
