"""Whose pages may use the service, and the id that every answer carries."""

from typing import Any

import httpx
import pytest
from fastapi.responses import PlainTextResponse
from starlette.types import Scope

from serve.access import at_the_proxy
from serve.settings import AccessSettings
from tests.serve.asking import ALICE, CORS, ELSEWHERE, KEYS, STUDIO, application, ask


async def test_no_page_is_allowed_unless_set() -> None:
    answer = await ask(application(KEYS), origin=STUDIO, authorization=f"Bearer {ALICE}")
    assert answer.status_code == 200
    preflight = await ask(application(KEYS), method="OPTIONS", origin=STUDIO, access_control_request_method="GET")
    for told in (answer, preflight):
        assert not [name for name in told.headers if name.startswith("access-control")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "DELETE"])
async def test_the_pages_that_are_set_may_ask_for_all_that_clients_need(method: str) -> None:
    needed = (
        "authorization, content-type, last-event-id, range, if-range, tus-resumable, upload-length, upload-offset, "
        "upload-metadata, upload-checksum, x-request-id"
    )
    asked = {"access_control_request_method": method, "access_control_request_headers": needed}
    app = application(KEYS, CORS)
    answer = await ask(app, "/v1/uploads/1", method="OPTIONS", peer=ELSEWHERE, host="x.example", origin=STUDIO, **asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["access-control-allow-origin"] == STUDIO
    assert "access-control-allow-credentials" not in answer.headers
    stranger = await ask(app, "/v1/uploads/1", method="OPTIONS", origin="https://evil.example", **asked)
    assert (stranger.status_code, "access-control-allow-origin" in stranger.headers) == (400, False)


async def test_a_page_can_read_every_answer_and_what_clients_need_of_its_headers() -> None:
    app = application(KEYS, CORS)
    alice = {"authorization": f"Bearer {ALICE}"}
    answers = [
        await ask(app, origin=STUDIO, **alice),
        await ask(app, origin=STUDIO),
        await ask(app, "/v1/nothing", origin=STUDIO, **alice),
        await ask(app, "/v1/broken", origin=STUDIO, **alice),
        await ask(application(settings=CORS), origin=STUDIO, peer=ELSEWHERE),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 404, 500, 403]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == STUDIO
        assert answer.headers["vary"] == "Origin"
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"Location", "Upload-Offset", "Tus-Max-Size", "ETag", "Retry-After", "X-Request-ID"} <= set(exposed)
    stranger = await ask(app, origin="https://evil.example", **alice)
    assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.parametrize("origin", ["*", "https://studio.example/", "studio.example", "https://*.example", "null"])
def test_an_origin_that_no_browser_sends_stops_the_service(origin: str) -> None:
    with pytest.raises(ValueError, match="cors_origins"):
        application(settings=AccessSettings(cors_origins=(origin,)))


@pytest.mark.parametrize("given", ["abc", "A.b_c-1", "x" * 128])
async def test_an_answer_carries_the_clients_id(given: str) -> None:
    app = application(KEYS)
    for path in ("/healthz", "/v1/who", "/nothing"):
        assert (await ask(app, path, x_request_id=given)).headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", [None, "", "x" * 129, "a b", "ä", "a,b", '{"a": 1}', "x" * 10_000, "a\tb"])
async def test_an_answer_carries_an_id_of_ours_where_the_clients_is_none(given: str | None) -> None:
    app = application()
    seen = set()
    for path, status in (("/healthz", 200), ("/nothing", 404), ("/v1/broken", 500)):
        headers = {} if given is None else {"x_request_id": given}
        answer = await ask(app, path, **headers)
        (request_id,) = answer.headers.get_list("x-request-id")
        assert (answer.status_code, len(request_id), request_id.isalnum()) == (status, 32, True)
        seen.add(request_id)
    assert len(seen) == 3


async def test_a_refusal_and_a_preflight_carry_an_id_too() -> None:
    app = application(KEYS, CORS)
    preflight = {"method": "OPTIONS", "origin": STUDIO, "access_control_request_method": "GET"}
    for answer in (await ask(app, x_request_id="me"), await ask(app, x_request_id="me", **preflight)):
        assert answer.headers.get_list("x-request-id") == ["me"]


@pytest.mark.parametrize(("given", "kept"), [("mine", True), ("x" * 10_000, False), ("\xff", False)])
async def test_serves_proxy_logs_and_answers_usable_ids_only(given: str, kept: bool) -> None:
    """As Serve puts our middleware round its own; the application sees what the proxy would log."""
    from ray.serve._private.http_util import _apply_middlewares, validate_http_proxy_callback_return

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        logged = dict(scope["headers"])[b"x-request-id"].decode()
        await PlainTextResponse(logged)(scope, receive, send)

    middlewares: Any = validate_http_proxy_callback_return(at_the_proxy())
    proxy = _apply_middlewares(app, middlewares)
    transport = httpx.ASGITransport(app=proxy)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/", headers=[(b"x-request-id", given.encode("latin-1"))])
    assert answer.headers.get_list("x-request-id") == [answer.text]
    assert (answer.text == given) is kept
    assert len(answer.text) <= 32
