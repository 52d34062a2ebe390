"""Who may use the page's own routes: whoever is signed in, and no other site's page in the same browser."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

GUARD = "X-Immersivaudio"
"""A header that our own scripts send with whatever changes something: a page of another site may not send it without
asking first (CORS preflight), and is refused then."""


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
