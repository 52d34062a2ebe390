"""The page: a small sound studio in the browser. `immersivaudio ui` starts it; it runs wherever the Python client does.

It talks to one service, through the Python client alone, and keeps nothing itself. Gradio draws the forms; what is live (giving
a file, following a run, listening) are elements of our own in `client/page/static`.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from client.errors import ClientError

if TYPE_CHECKING:
    import gradio as gr
    from starlette.middleware import Middleware

USERS = "IMMERSIVAUDIO_UI_USERS"
"""Environment variable: `name:password`, several with commas. There is no flag: every user of a machine sees the arguments of
every process."""

PORT = 7860
_LOOPBACK = ["127.0.0.1", "localhost"]
_ICON = Path(__file__).parent / "page" / "static" / "icon-512.png"

SHARED = """\
The page is public now: everybody who has the link can use it, and through it the service, with this machine's API key if one is
set. What they send goes through Gradio's relay. The link ends when this program does, after a week at the latest.\
"""
NO_SIGN_IN = f"Nobody has to sign in: set {USERS} to name:password to change that."


class PageNotStarted(ClientError):
    """The page cannot be served. The message says why."""


def users(told: str) -> list[tuple[str, str]]:
    """Who may sign in. Raises ValueError, which repeats no password."""
    pairs = [entry.partition(":") for entry in re.split(r"[,\s]+", told) if entry]
    if not all(name and colon and password for name, colon, password in pairs):
        raise ValueError(f"{USERS} is a list of name:password, separated by commas")
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

    Raises PageNotStarted, and ValueError for users that cannot be read.
    """
    allowed = users(os.environ.get(USERS, ""))
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
            f"the page needs what `pip install 'immersivaudio[ui]'` installs ({error.name})"
        ) from error

    handlers = Handlers(server)
    page = blocks(handlers)
    own = [
        *routes(handlers.client),
        *upload_routes(handlers.client, signed_in),
        peaks_route(handlers.client, signed_in),
    ]
    try:
        _, address, link = page.launch(
            server_name=host,
            server_port=port,
            share=share,
            auth=allowed or None,
            auth_message="Sign in to make sound.",
            app_kwargs={"routes": own, "middleware": _strangers(host, share)},
            max_file_size="1kb",  # files come in through routes of our own
            theme=theme(),
            head=head(),
            favicon_path=str(_ICON),
            pwa=True,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            enable_monitoring=False,
            show_error=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise PageNotStarted(f"the page cannot be served: {error}") from error
    print(f"The page is at {address} (the service: {server}). Ctrl-C stops it.", flush=True)
    if share:
        print(f"{link}\n{SHARED}" + ("" if allowed else f"\n{NO_SIGN_IN}"), flush=True)
    if wait:
        page.block_thread()
    return page


def _strangers(host: str, share: bool) -> "list[Middleware]":
    """Keeps other sites out. A page for this machine alone also answers to this machine's names alone: others may lead here."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from client.page.access import OwnPagesAlone

    own_names = [] if share or host not in _LOOPBACK else [Middleware(TrustedHostMiddleware, allowed_hosts=_LOOPBACK)]
    return [*own_names, Middleware(OwnPagesAlone)]
