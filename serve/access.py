"""Who may use the service, whose pages may, and the id under which a request is found in the log. Knows nothing of runs.

Pure ASGI: starlette's BaseHTTPMiddleware would stand between a stream and its reader, and hide that a client has left.
"""

import hashlib
import hmac
import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from fastapi import FastAPI, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import Forbidden, Unauthenticated
from serve.problems import problem, status_of
from serve.settings import AccessSettings

logger = logging.getLogger("ray.serve")

VARIABLE = "IMMERSIVAUDIO_API_KEYS"
REQUEST_ID = "X-Request-ID"
PROBES = ("/healthz", "/readyz")
DESCRIPTION = ("/docs", "/redoc", "/openapi.json")
HOW_TO_ALLOW = (
    f"To allow it, set keys (access.keys_file or ${VARIABLE}) and send one as `Authorization: Bearer <secret>`"
)

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_SECRET = re.compile(r"[!-+\--~]{16,}")  # printable ASCII without white space and commas
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:@/\[\]]+)(:\d*)?", re.IGNORECASE)
_ORIGIN = re.compile(r"https?://[^/*?#\s]+")
_USABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# What a proxy adds. With any of these, who really asks is not the peer.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")

_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")
_ALLOWED = (
    *("Authorization", "Content-Type", "Last-Event-ID", "Range", "If-Range", "X-Request-ID"),
    *("Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Checksum"),
)
_EXPOSED = (
    *("Location", "ETag", "Content-Range", "Accept-Ranges", "Content-Disposition", "Retry-After", "X-Request-ID"),
    *("Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires"),
    *("Tus-Resumable", "Tus-Version", "Tus-Max-Size", "Tus-Extension", "Tus-Checksum-Algorithm"),
)


class ApiKeys:
    """The names of the keys that open the service, with the SHA-256 digest of each secret. No secret is kept."""

    def __init__(self, digests: Mapping[str, bytes]) -> None:
        self._digests = dict(digests)

    @classmethod
    def load(cls, settings: AccessSettings, environ: Mapping[str, str]) -> Self:
        """The keys of the file, else of the environment, else none.

        Raises ValueError, which names the line but no secret, where a key is malformed, where the file cannot be read or
        has none, and where there is none although HAProxy makes every caller look like this machine.
        """
        if settings.keys_file is not None:
            digests, fault = _keys_of(settings.keys_file)
        else:
            digests, fault = _keys_in(environ)
        if not digests and environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1":
            fault = (
                fault or f"behind HAProxy everybody seems to be on this machine: set access.keys_file or ${VARIABLE}"
            )
        if fault is not None:
            del environ  # some tracebacks show local variables
            raise ValueError(fault)
        return cls(digests)

    def name_of(self, presented: str) -> str | None:
        """Whose secret this is, or None. Takes as long whether there is one or not, and wherever it stands."""
        digest = _digest(presented)
        found = None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def __bool__(self) -> bool:
        """Whether a key is asked for."""
        return bool(self._digests)

    def __repr__(self) -> str:
        return f"ApiKeys({', '.join(self._digests)})"


def _keys_of(path: Path) -> tuple[dict[str, bytes], str | None]:
    try:
        readable_by = path.stat().st_mode & 0o077
        lines = path.read_bytes().decode("utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        return {}, f"access.keys_file cannot be read: {error.strerror}"
    if readable_by:
        logger.warning("the file with the API keys can be read by others than its owner; chmod 600 keeps it secret")
    entries = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    kept = [(number, line) for number, line in entries if line and not line.startswith("#")]
    digests, fault = _parse(kept, place="access.keys_file: line")
    if not digests:
        fault = fault or "access.keys_file has no key: one `name:secret` a line is needed"
    return digests, fault


def _keys_in(environ: Mapping[str, str]) -> tuple[dict[str, bytes], str | None]:
    entries = environ.get(VARIABLE, "").replace(",", " ").split()
    return _parse(enumerate(entries, start=1), place=f"${VARIABLE}: key")


def _parse(entries: Iterable[tuple[int, str]], *, place: str) -> tuple[dict[str, bytes], str | None]:
    """Digests by name, or what is wrong. Returned, not raised: a traceback would hold the secrets of this frame."""
    digests: dict[str, bytes] = {}
    for number, entry in entries:
        where = f"{place} {number}"
        name, colon, secret = entry.partition(":")
        if not (colon and _NAME.fullmatch(name)):
            return {}, f"{where}: `name:secret` is needed, the name of 1 to 32 of a-z, 0-9, _ and -"
        # Where the two were swapped, the name is the secret. A secret is not as short as this.
        told = f"{where} ({name})" if len(name) < 16 else where
        if not _SECRET.fullmatch(secret):
            return {}, f"{told}: a secret has at least 16 printable ASCII characters, no white space and no comma"
        if name in digests:
            return {}, f"{told}: the name is there twice"
        if (digest := _digest(secret)) in digests.values():
            return {}, f"{told}: the secret is another key's, too"
        digests[name] = digest
    return digests, None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class AccessMiddleware:
    """Lets in who has a key; without keys, only who is on this machine. `request.state.key` is the key's name, or None.

    Without keys, a stranger's page in a browser of this machine is kept out as well: one that reached the service under its
    own host's name (DNS rebinding), or that sends forms from another origin.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys, origins: tuple[str, ...] = ()) -> None:
        self._app = app
        self._keys = keys
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            key = self._key(scope)
        except (Unauthenticated, Forbidden) as error:
            await _refusal(error)(scope, receive, send)
            return
        scope["state"] = {**scope.get("state", {}), "key": key}
        await self._app(scope, receive, send)

    def _key(self, scope: Scope) -> str | None:
        path = _path(scope)
        if path in PROBES:
            return None
        headers = Headers(scope=scope)
        if not self._keys:
            self._refuse_unless_from_here(scope, headers)
            return None
        if path in DESCRIPTION or path.startswith("/docs/"):
            return None
        given = headers.getlist("Authorization")
        scheme, _, secret = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if scheme.lower() != "bearer":
            raise Unauthenticated("an API key is needed, as `Authorization: Bearer <secret>`")
        name = self._keys.name_of(secret.strip())
        if name is None:
            raise Unauthenticated("this API key is not known here")
        return name

    def _refuse_unless_from_here(self, scope: Scope, headers: Headers) -> None:
        peer = scope.get("client")
        if peer and not _is_loopback(peer[0]):
            raise Forbidden(f"without API keys, the service answers to its own machine only. {HOW_TO_ALLOW}")
        if any(name in headers for name in _FORWARDED):
            raise Forbidden(f"without API keys, the service answers to nothing that a proxy forwards. {HOW_TO_ALLOW}")
        for host in headers.getlist("Host"):
            if not _is_here(host):
                raise Forbidden(f"without API keys, the service is called localhost, not {host[:80]!r}. {HOW_TO_ALLOW}")
        for origin in headers.getlist("Origin"):
            if origin not in self._origins and not _is_here(re.sub("^https?://", "", origin)):
                raise Forbidden(
                    f"pages of {origin[:80]!r} may not use the service: it is not among access.cors_origins"
                )


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _refusal(error: Unauthenticated | Forbidden) -> JSONResponse:
    status = status_of(error)
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthenticated) else None
    return JSONResponse(problem(status, str(error)).model_dump(), status, headers, "application/problem+json")


def _is_here(host: str) -> bool:
    """Whether a host, with or without a port, means this machine whatever a name server says."""
    found = _HOST.fullmatch(host)
    name = found[1].strip("[]").lower() if found else ""
    return name == "localhost" or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def key_of(request: Request) -> str | None:
    """Name of the API key that the request carries; None where the service asks for none."""
    key: str | None = getattr(request.state, "key", None)
    return key


def add_access(app: FastAPI, keys: ApiKeys, settings: AccessSettings) -> None:
    """Lets nobody in but who may. Raises ValueError for an origin that no browser would send."""
    for origin in settings.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"access.cors_origins: {origin!r} is not of the form https://host or https://host:port")
    app.add_middleware(AccessMiddleware, keys=keys, origins=settings.cors_origins)
    if settings.cors_origins:
        _put_around(
            app,
            lambda inner: CORSMiddleware(
                inner, settings.cors_origins, _METHODS, _ALLOWED, expose_headers=_EXPOSED, allow_private_network=True
            ),
        )


class RequestIds:
    """Every request has an id that is safe to log, the client's own where it is, and its answer says it once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        given = headers.getlist(REQUEST_ID)
        usable = len(given) == 1 and _USABLE_ID.fullmatch(given[0])
        request_id = headers[REQUEST_ID] = given[0] if usable else uuid.uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


def add_request_ids(app: FastAPI) -> None:
    """Ids for an application that stands alone. On Ray Serve it does nothing: the proxy adds one, and a second would be wrong."""
    from ray import serve as rs
    from ray.serve.exceptions import RayServeException

    try:
        rs.get_replica_context()
    except RayServeException:
        _put_around(app, RequestIds)


def at_the_proxy() -> list[Middleware]:
    """For $RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH: without it, Serve's proxy logs and answers whatever id it is sent."""
    return [Middleware(RequestIds)]


def _put_around(app: FastAPI, wrap: Callable[[ASGIApp], ASGIApp]) -> None:
    """Puts a middleware round everything, what answers for a crash included; `add_middleware` puts it inside of that."""
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: wrap(build())  # type: ignore[method-assign]
