"""What both clients connect with: address, limits, API key."""

from typing import Any

import httpx

DEFAULT_SERVER = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT = httpx.Timeout(60, connect=5)
"""Seconds that the service may take to accept a connection, and to say the next thing."""

MAX_CONNECTIONS = 100
"""Of one client at once."""

_KEPT_ALIVE = 20

# A proxy of the environment stands between this machine and others, never between it and itself.
LOOPBACK = {"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None}


class BadKey(ValueError):
    """An API key that cannot be one. The message does not repeat it."""


def common(base_url: str, api_key: str | None, max_connections: int) -> dict[str, Any]:
    """What both of httpx's clients are made with. Raises ValueError: BadKey where that is about the key."""
    return {
        "base_url": _address(base_url),
        "headers": _authorization(api_key),
        "limits": httpx.Limits(max_connections=max_connections, max_keepalive_connections=_KEPT_ALIVE),
    }


def _address(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{base_url!r} is not the address of a service: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"{base_url!r} is not the address of a service: write it like {DEFAULT_SERVER}")
    return url


def _authorization(api_key: str | None) -> dict[str, str]:
    if api_key is None:
        return {}
    # Refused here, because httpx would repeat it in its message.
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise BadKey("an API key is made of visible ASCII characters; this one is empty or has others")
    return {"Authorization": f"Bearer {api_key}"}
