"""The page's upload routes for a browser to speak to, over a line that can be slow or broken."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from client import AsyncImmersivaudioClient
from client.page.uploads import upload_routes


@dataclass
class Line:
    """What becomes of requests between the browser and the page's server."""

    let_through: int | None = None
    """After so many parts, the next ones are held up until this is None."""
    down: bool = False
    """Nobody answers but a proxy."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Method and offset of what came through."""


def routes_to(service: str, line: Line) -> list[Route]:
    """The routes to the service at this address. Each request has a client of its own, which leaves no connection behind."""
    current: ContextVar[AsyncImmersivaudioClient] = ContextVar("current")

    def over(route: Route) -> Route:
        async def answer(request: Request) -> Response:
            if line.down:
                return Response("Bad Gateway", 502)
            line.asked.append((request.method, request.headers.get("upload-offset")))
            while request.method == "PATCH" and line.let_through == 0:
                await asyncio.sleep(0.02)
            if request.method == "PATCH" and line.let_through:
                line.let_through -= 1
            async with AsyncImmersivaudioClient(service) as client:
                current.set(client)
                answered: Response = await route.endpoint(request)
                return answered

        return Route(route.path, answer, methods=list(route.methods or ()))

    return [over(route) for route in upload_routes(current.get, lambda request: True)]
