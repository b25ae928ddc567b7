"""By which URL do people's tools reach this gateway? What the operator says, else what the browser used, judged. Pure.

A ``Host`` header is anybody's text. Only a plain host with a plain port is taken from it: no snippet can be made to
hold anything else.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

__all__ = ["api_url", "is_loopback", "seen_from_container"]

MAX_HOST_CHARACTERS: Final = 261
"""A DNS name (253) with a port."""
_MAX_PORT: Final = 65_535
_HOST: Final = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
    r"|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
)
_LOOPBACK: Final = re.compile(r"localhost|127\.[0-9.]+|::1")
_WILDCARDS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not listened on
_FROM_CONTAINER: Final = "host.docker.internal"


def api_url(public_url: str, *, host: str, is_https: bool, listener: tuple[str, int] = ("127.0.0.1", 8000)) -> str:
    """Say what tools take as base URL, with ``/v1`` and without a slash at the end.

    Args:
        public_url: what the operator says that people reach the gateway by; empty where that is not set.
        host: the ``Host`` header of the request.
        is_https: whether the browser came by https.
        listener: where the gateway listens, for a host that makes no sense.
    """
    if public_url:
        return f"{public_url.rstrip('/')}/v1"
    scheme = "https" if is_https else "http"
    return f"{scheme}://{host if _is_sane(host) else _written(listener)}/v1"


def is_loopback(url: str) -> bool:
    """Whether a URL leads to the machine that it is used on."""
    return _LOOPBACK.fullmatch(urlsplit(url).hostname or "") is not None


def seen_from_container(url: str) -> str:
    """Write a URL as a container on the same machine reaches it."""
    if not is_loopback(url):
        return url
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    return parts._replace(netloc=f"{_FROM_CONTAINER}{port}").geturl()


def _is_sane(host: str) -> bool:
    found = _HOST.fullmatch(host) if len(host) <= MAX_HOST_CHARACTERS else None
    return found is not None and (found["port"] is None or 0 < int(found["port"]) <= _MAX_PORT)


def _written(listener: tuple[str, int]) -> str:
    """Write where the gateway listens; a wildcard is this machine."""
    address, port = listener
    if address in _WILDCARDS:
        address = "127.0.0.1"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
