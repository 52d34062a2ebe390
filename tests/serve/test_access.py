"""Who gets in, and from where. Through a real application, without Ray; at the end once more on a cluster."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.types import Scope

from serve.access import AccessMiddleware, ApiKeys
from serve.settings import AccessSettings
from tests.serve.asking import (
    ALICE,
    BOB,
    CORS,
    ELSEWHERE,
    HERE,
    KEYS,
    STUDIO,
    Exchange,
    application,
    ask,
    assert_refused,
    everything_logged,
)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with everything_logged(caplog):
        yield caplog


@pytest.mark.parametrize("peer", [HERE, ELSEWHERE, None])
async def test_who_has_a_key_gets_in_from_anywhere_under_any_host(peer: Any) -> None:
    answer = await ask(application(KEYS), peer=peer, host="sound.example", authorization=f"Bearer {BOB}")
    assert (answer.status_code, answer.json()) == (200, {"key": "bob"})


@pytest.mark.parametrize("written", [f"bearer {ALICE}", f"BEARER   {ALICE}"])
async def test_the_scheme_is_written_as_one_likes(written: str) -> None:
    assert (await ask(application(KEYS), authorization=written)).json() == {"key": "alice"}


async def test_a_reverse_proxy_on_this_machine_gets_in_with_a_key() -> None:
    forwarded = {"x_forwarded_for": "203.0.113.9", "forwarded": "for=203.0.113.9", "authorization": f"Bearer {ALICE}"}
    assert (await ask(application(KEYS), host="127.0.0.1:8000", **forwarded)).json() == {"key": "alice"}
    assert_refused(await ask(application(KEYS), x_forwarded_for="127.0.0.1"), 401)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": ALICE},
        {"authorization": f"Basic {ALICE}"},
        {"authorization": f"Bearer alice:{ALICE}"},
        {"authorization": f"Bearer {ALICE[:-1]}"},
        {"authorization": f"Bearer {ALICE} {BOB}"},
        {"authorization": f"Bearer{ALICE}"},
        {"x_api_key": ALICE},
    ],
)
@pytest.mark.parametrize("path", ["/v1/who", "/v1/nothing", "/metrics", "/healthz/", "/docsify", "/", "//healthz"])
async def test_without_a_known_key_nothing_is_answered(
    headers: dict[str, str], path: str, log: pytest.LogCaptureFixture
) -> None:
    answer = await ask(application(KEYS), path, **headers)
    assert_refused(answer, 401, "API key")
    assert answer.headers["www-authenticate"] == "Bearer"
    for secret in (ALICE[:-1], BOB):
        assert secret not in log.text + answer.text + str(answer.headers)


async def test_two_keys_at_once_are_none() -> None:
    transport = httpx.ASGITransport(app=application(KEYS))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        headers = [("authorization", f"Bearer {ALICE}"), ("authorization", f"Bearer {BOB}")]
        assert_refused(await client.get("/v1/who", headers=headers), 401)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"])
async def test_probes_and_the_description_need_no_key(path: str) -> None:
    assert (await ask(application(KEYS), path, peer=ELSEWHERE, host="sound.example")).status_code == 200


async def test_a_key_is_known_by_its_name_alone(log: pytest.LogCaptureFixture) -> None:
    answer = await ask(application(KEYS), authorization=f"Bearer {ALICE}")
    assert answer.json() == {"key": "alice"}
    broken = await ask(application(KEYS), "/v1/broken", authorization=f"Bearer {ALICE}")
    assert broken.status_code == 500
    assert not any(ALICE in told for told in (answer.text, str(answer.headers), broken.text, log.text))


async def test_a_websocket_needs_a_key_too() -> None:
    reached = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    guarded = AccessMiddleware(app, ApiKeys.load(AccessSettings(), KEYS))
    exchange = Exchange(guarded, "/v1/who", type_="websocket")
    await exchange.task
    assert exchange.sent[0]["status"] == 401
    await Exchange(guarded, "/v1/who", type_="lifespan").task
    assert reached == ["lifespan"]


@pytest.mark.parametrize(
    "peer",
    [HERE, ("127.9.9.9", 1), ("::1", 1), ("::ffff:127.0.0.1", 1), None],
    ids=["v4", "127/8", "v6", "mapped", "none"],
)
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]", "127.0.0.2"])
async def test_without_keys_this_machine_may_use_the_service(peer: Any, host: str) -> None:
    answer = await ask(application(), peer=peer, host=host)
    assert (answer.status_code, answer.json()) == (200, {"key": None})


@pytest.mark.parametrize(
    "peer", [ELSEWHERE, ("::ffff:203.0.113.9", 1), ("2001:db8::1", 1), ("0.0.0.0", 1), ("host", 1)]
)
async def test_without_keys_no_other_machine_may(peer: Any) -> None:
    app = application()
    for path in ("/v1/who", "/docs", "/openapi.json", "/metrics"):
        answer = await ask(app, path, peer=peer)
        assert_refused(answer, 403, "IMMERSIVAUDIO_API_KEYS", "keys_file")
        assert "www-authenticate" not in answer.headers
    assert (await ask(app, "/healthz", peer=peer, host="10.0.0.7:8000")).status_code == 200
    assert (await ask(app, "/readyz", peer=peer, host="10.0.0.7:8000")).status_code == 200


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "x_real_ip"])
async def test_without_keys_no_header_makes_anybody_local(header: str) -> None:
    assert_refused(await ask(application(), peer=ELSEWHERE, **{header: "127.0.0.1"}), 403, "own machine")
    assert_refused(await ask(application(), **{header: "127.0.0.1"}), 403, "proxy forwards")


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0:8000", ""),
        *(
            "localhost@evil.example",
            "evil@localhost",
            "localhost:8000:9",
            "[::1",
            "10.0.0.7",
            "localhost, evil.example",
        ),
    ],
)
async def test_without_keys_no_name_of_a_strangers_choice_reaches_the_service(host: str) -> None:
    assert_refused(await ask(application(), host=host), 403, "localhost", "IMMERSIVAUDIO_API_KEYS")


async def test_without_keys_a_request_without_a_host_is_local_enough() -> None:
    exchange = Exchange(application(), "/v1/who")
    await exchange.task
    assert exchange.sent[0]["status"] == 200


async def test_without_keys_a_strangers_page_cannot_send_forms() -> None:
    app = application(settings=AccessSettings(cors_origins=(STUDIO,)))
    for origin in ("https://evil.example", "null", "https://studio.example.evil.example", "http://studio.example"):
        assert_refused(await ask(app, "/v1/runs", method="POST", origin=origin), 403, "cors_origins")
    for origin in (STUDIO, "http://localhost:8000", "http://127.0.0.1:7860"):
        assert (await ask(app, "/v1/runs", method="POST", origin=origin)).status_code == 200


@pytest.mark.parametrize("environ", [{}, KEYS], ids=["no-keys", "keys"])
async def test_a_stream_passes_as_it_comes_and_hears_of_who_leaves(environ: dict[str, str]) -> None:
    app = application(environ, CORS)
    left, gate = asyncio.Event(), asyncio.Event()

    @app.get("/v1/stream")
    async def stream() -> StreamingResponse:
        async def lines() -> AsyncIterator[bytes]:
            try:
                yield b"one"
                await gate.wait()
                yield b"two"
                await asyncio.sleep(60)
            finally:
                left.set()

        return StreamingResponse(lines())

    headers = {"host": "localhost", "origin": STUDIO, "authorization": f"Bearer {ALICE}"}
    exchange = Exchange(app, "/v1/stream", headers=headers)
    exchange.incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    assert await exchange.body(3) == b"one"
    gate.set()
    assert await exchange.body(6) == b"onetwo"
    assert not left.is_set()
    exchange.incoming.put_nowait({"type": "http.disconnect"})
    async with asyncio.timeout(30):
        await left.wait()
        await exchange.task


def raw(address: str, path: str, *headers: str) -> tuple[int, list[str]]:
    """Status and X-Request-ID headers of a request whose bytes no library has mended."""
    host, port = address.removeprefix("http://").split(":")
    lines = [f"GET {path} HTTP/1.1", *headers, "Connection: close", "", ""]
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall("\r\n".join(lines).encode("latin-1"))
        head = b"".join(iter(lambda: line.recv(65536), b"")).split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    ids = [header.partition(": ")[2] for header in head if header.lower().startswith("x-request-id:")]
    return int(head[0].split()[1]), ids


def test_serve_hands_on_who_asks_and_answers_with_one_id(cluster: str) -> None:
    from ray import serve as rs

    @rs.ingress()
    class Guarded:
        def __serve_build_asgi_app__(self) -> FastAPI:
            return application(settings=CORS)

    rs.run(rs.deployment(ray_actor_options={"num_cpus": 0.1})(Guarded).bind(), name="guarded", route_prefix="/guarded")
    try:
        page = httpx.get(f"{cluster}/guarded/v1/broken", headers={"origin": STUDIO})
        assert (page.status_code, page.headers["access-control-allow-origin"]) == (500, STUDIO)
        local = "Host: 127.0.0.1"
        assert raw(cluster, "/guarded/v1/who", local)[0] == 200
        assert raw(cluster, "/guarded/v1/who", "Host: evil.example")[0] == 403
        assert raw(cluster, "/guarded/v1/who", local, "X-Forwarded-For: 203.0.113.9")[0] == 403
        assert raw(cluster, "/guarded/healthz", "Host: evil.example", "X-Forwarded-For: 203.0.113.9")[0] == 200
        for path, status in (("healthz", 200), ("nothing", 404), ("v1/broken", 500)):
            assert raw(cluster, f"/guarded/{path}", local, "X-Request-ID: mine") == (status, ["mine"])
        for sent in (
            [],
            ["X-Request-ID: " + "x" * 10_000],
            ["X-Request-ID: a b"],
            ["X-Request-ID: a", "X-Request-ID: b"],
        ):
            status, ids = raw(cluster, "/guarded/healthz", local, *sent)
            assert (status, len(ids)) == (200, 1)
    finally:
        rs.delete("guarded")
