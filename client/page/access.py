"""Who may use the page: whoever is signed in, and no other site's page in the same browser."""

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

GUARD = "X-Immersivaudio"
"""A header that our own scripts send with whatever changes something; a form of another site cannot."""


class OwnPagesAlone:
    """Refuses what another site's page asks for in somebody's browser, of Gradio's routes as of ours.

    Gradio grants every origin's CORS request once its host is not this machine, and its cookie goes along. Browsers say themselves
    where a request comes from (Fetch Metadata); following a link to the page is no matter.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _from_elsewhere(Headers(scope=scope), scope["method"]):
            refused = JSONResponse({"detail": "This page answers to itself alone, not to other sites."}, 403)
            await refused(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _from_elsewhere(headers: Headers, method: str) -> bool:
    if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return False
    return method not in ("GET", "HEAD") or headers.get("sec-fetch-mode") != "navigate"


def signed_in(request: Request) -> bool:
    """Whether whoever asks has signed in to the page, or nobody has to."""
    app = request.app
    if getattr(app, "auth", None) is None:
        return True
    # The cookies that Gradio's own sign-in sets, and the tokens that it knows.
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(request.cookies.get(name) in app.tokens for name in names if name in request.cookies)


def refusal(request: Request) -> Response | None:
    """The answer to whoever may not ask; None to others."""
    if not signed_in(request):
        return JSONResponse({"detail": "Sign in first: reload the page."}, 401)
    if request.method not in ("GET", "HEAD") and GUARD not in request.headers:
        return JSONResponse({"detail": f"The header {GUARD} is missing."}, 403)
    return None
