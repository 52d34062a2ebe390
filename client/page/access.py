"""Who may use the page: whoever is signed in, and no other site's page in the same browser."""

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from client.page.answers import problem

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class OwnPagesAlone:
    """Refuses what another site's page asks for in somebody's browser, of Gradio's routes as of ours.

    Gradio grants every origin's CORS request once its host is not this machine, and its cookie goes along. Over https, and on this
    machine, browsers say themselves where a request comes from (Fetch Metadata); following a link to the page is no matter. Over
    plain http they do not, but name the `Origin` of what could change something, and of what a script could read: it has to be
    the `Host` that is asked, or the one that a reverse proxy was asked (`X-Forwarded-Host`, which Gradio believes too). Preflights
    are held to that as well, so that a script of another site gets to send no such header itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _from_elsewhere(Headers(scope=scope), scope["method"]):
            refused = problem(HTTPStatus.FORBIDDEN, "This page answers to itself alone, not to other sites.")
            await refused(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _from_elsewhere(headers: Headers, method: str) -> bool:
    told = headers.get("sec-fetch-site")
    if told is None:
        return "origin" in headers and not _own(headers["origin"], headers)
    if told in ("same-origin", "none"):
        return False
    return method not in ("GET", "HEAD") or headers.get("sec-fetch-mode") != "navigate"


def _own(origin: str, headers: Headers) -> bool:
    """Whether that origin is this page. "null", where a sandbox has taken it away, is none."""
    try:
        scheme, host, *_ = urlsplit(origin.lower())
    except ValueError:
        return False
    port = _DEFAULT_PORTS.get(scheme, "")
    asked = (headers.get("host", ""), headers.get("x-forwarded-host", "").partition(",")[0])
    return bool(host) and host.removesuffix(port) in {one.strip().lower().removesuffix(port) for one in asked}


def signed_in(request: Request) -> bool:
    """Whether whoever asks has signed in to the page, or nobody has to."""
    app = request.app
    if getattr(app, "auth", None) is None:
        return True
    # The cookies that Gradio's own sign-in sets, and the tokens that it knows.
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(request.cookies.get(name) in app.tokens for name in names if name in request.cookies)
