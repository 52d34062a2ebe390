"""The page: a small sound studio in the browser. `immersivaudio ui` starts it; it runs wherever the Python client does.

It talks to one service, through the Python client alone, and stores nothing: runs and files are the service's. In memory it keeps
outlines of sounds (for the waveform) and counts unfinished uploads; of a sound it has a copy while its outline is made.

Gradio draws the forms; what is live (giving a file, following a run, listening) are elements of our own in `client/page/static`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.errors import ClientError

if TYPE_CHECKING:
    import gradio as gr
    from starlette.applications import Starlette
    from starlette.routing import Route
    from starlette.types import Lifespan

USERS = "IMMERSIVAUDIO_UI_USERS"
"""Environment variable: `name:password`, several with commas, which no password can hold. There is no flag: every user of a machine
sees the arguments of every process."""

_LOOPBACK = ["127.0.0.1", "localhost"]
_ICON = Path(__file__).parent / "page" / "static" / "icon-512.png"
_FILES = 4096
"""Open ones, of the process: whatever is passed on takes two, and many systems begin with 1,024."""

SHARED = """\
The page is public now: everybody who has the link can use it, and through it the service, with this machine's API key if one is
set. What they send goes through Gradio's relay. The link ends when this program does, after a week at the latest.\
"""
NO_SIGN_IN = f"Nobody has to sign in: set {USERS} to name:password to change that."
NO_LINK = (
    "Gradio's relay gives out no public link just now, so nothing was started: try again later, or without --share"
)

# Gradio's, for a page whose files come in through routes of our own, and which is nobody's API.
_SETTINGS: dict[str, Any] = {
    "auth_message": "Sign in to make sound.",
    "max_file_size": "1kb",
    "favicon_path": str(_ICON),
    "pwa": True,
    "footer_links": [],
    "run_history": False,
    "ssr_mode": False,
    "enable_monitoring": False,
    "show_error": False,
    "quiet": True,
    "prevent_thread_lock": True,
}


class PageNotStarted(ClientError):
    """The page cannot be served. The message says why."""


class BadUsers(ValueError):
    """Users that cannot be read. The message repeats no password."""


def users(told: str) -> list[tuple[str, str]]:
    """Who may sign in: `name:password`, separated by commas alone; a password may hold spaces and colons. Raises BadUsers."""
    pairs = [entry.strip().partition(":") for entry in told.split(",") if entry.strip()]
    if not all(name and colon and password for name, colon, password in pairs):
        raise BadUsers(f"{USERS} is a list of name:password, separated by commas; no password can hold a comma")
    return [(name, password) for name, _, password in pairs]


def start(
    server: str, *, host: str = "127.0.0.1", port: int | None = None, share: bool = False, wait: bool = True
) -> "gr.Blocks":
    """Serve the page, until Ctrl-C where `wait` is set.

    Args:
        server: the service's address.
        host: address to listen on; beyond this machine only with care.
        port: None takes the first free one from 7860 on.
        share: also give out a public link, through Gradio's relay.
        wait: return only when it is stopped. Else `close()` of what is returned stops it.

    Raises PageNotStarted; BadUsers; and ValueError for an address or an API key that cannot be one (BadKey).
    """
    allowed = users(os.environ.get(USERS, ""))
    page, own, look = _drawn(server)
    _allow_open_files()
    app = {"routes": own, "lifespan": _closed_to_strangers(host, share)}
    try:
        _, address, link = page.launch(
            server_name=host, server_port=port, share=share, auth=allowed or None, app_kwargs=app, **look, **_SETTINGS
        )
    except (OSError, ValueError) as error:
        raise PageNotStarted(f"the page cannot be served: {error}") from error
    if share and not link:
        page.close(verbose=False)
        raise PageNotStarted(NO_LINK)
    print(f"The page is at {address} (the service: {server}). Ctrl-C stops it.", flush=True)
    if share:
        print(f"{link}\n{SHARED}" + ("" if allowed else f"\n{NO_SIGN_IN}"), flush=True)
    if wait:
        page.block_thread()
    return page


def _drawn(server: str) -> "tuple[gr.Blocks, list[Route], dict[str, Any]]":
    """The page, the routes beside Gradio's, and its look."""
    # Read when Gradio is imported. The page tells nobody that it is used.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        from client.page.access import signed_in
        from client.page.blocks import blocks, head
        from client.page.handlers import Handlers
        from client.page.peaks import peaks_route
        from client.page.routes import routes
        from client.page.theme import theme
        from client.page.uploads import upload_routes
    except ModuleNotFoundError as error:
        raise PageNotStarted(
            f"the page needs what `pip install '.[ui]'` in the project's folder installs ({error.name})"
        ) from error

    handlers = Handlers(server)
    own = [
        *routes(handlers.client, handlers.streams, signed_in),
        *upload_routes(handlers.client, signed_in),
        peaks_route(handlers.streams, signed_in),
    ]
    return blocks(handlers), own, {"theme": theme(), "head": head()}


def _allow_open_files() -> None:
    with suppress(ImportError, OSError, ValueError):  # then fewer are passed on at once
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _closed_to_strangers(host: str, share: bool) -> "Lifespan[Starlette]":
    """Keeps other sites out. A page for this machine alone also answers to this machine's names alone: others may lead here."""
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from client.page.access import OwnPagesAlone

    @asynccontextmanager
    async def serving(app: "Starlette") -> AsyncIterator[None]:
        # Around everything, before the first request. A middleware that Gradio is given lies inside its own, of which that for CORS
        # answers every preflight with yes.
        inner = app.middleware_stack
        assert inner is not None
        app.middleware_stack = OwnPagesAlone(inner)
        if not share and host in _LOOPBACK:
            app.middleware_stack = TrustedHostMiddleware(app.middleware_stack, allowed_hosts=_LOOPBACK)
        yield

    return serving
