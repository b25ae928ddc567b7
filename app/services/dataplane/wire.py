"""Which bytes open a request to a model server?

The headers are an allow-list written here: no header of a client (keys, cookies, X-Conversation-Id) is ever copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app import __version__

if TYPE_CHECKING:
    from app.services.core.types import Endpoint

__all__ = ["get_head", "own_post_head", "post_head"]

_AGENT = f"multiverse-inference-gateway/{__version__}"


def post_head(endpoint: Endpoint, path: str, api_key: str | None) -> bytes:
    """The head of a POST up to the request id: the caller appends the id, Content-Length and the empty line."""
    return _head("POST", endpoint, path, api_key, "content-type: application/json\r\n") + b"x-request-id: "


def get_head(endpoint: Endpoint, path: str, api_key: str | None, via: bytes) -> bytes:
    """The whole head of a GET on a connection that is closed afterwards. ``via``: this gateway's pseudonym."""
    head = _head("GET", endpoint, path, api_key, "accept: application/json\r\nconnection: close\r\n")
    return b"%bvia: %b\r\n\r\n" % (head, via)


def own_post_head(endpoint: Endpoint, path: str, api_key: str | None, via: bytes, body_bytes: int) -> bytes:
    """The whole head of a POST of the gateway's own, on a connection that is closed afterwards.

    Args:
        endpoint: where to.
        path: below it.
        api_key: the server's own key.
        via: this gateway's pseudonym.
        body_bytes: how long the JSON is that follows.
    """
    extra = "content-type: application/json\r\nconnection: close\r\n"
    return b"%bvia: %b\r\ncontent-length: %d\r\n\r\n" % (_head("POST", endpoint, path, api_key, extra), via, body_bytes)


def _head(method: str, endpoint: Endpoint, path: str, api_key: str | None, extra: str) -> bytes:
    credential = f"authorization: Bearer {api_key}\r\n" if api_key else ""
    return (
        f"{method} {endpoint.base_path}{path} HTTP/1.1\r\n"
        f"host: {endpoint.authority}\r\n"
        f"user-agent: {_AGENT}\r\n"
        f"accept-encoding: identity\r\n"
        f"{credential}{extra}"
    ).encode("latin-1")
