"""Which origins may call the inference routes from a browser?

FastAPI's CORS middleware never sees these requests, so the one rule stands here, for both ways in. It follows the
Fetch standard (CORS protocol, 3.2): no credentials are involved, since keys travel in headers.
"""

from __future__ import annotations

import re

__all__ = ["CorsPolicy"]

_EXPOSED = b"X-Request-ID, X-Gateway-Server-ID, X-Gateway-Attempts, X-Gateway-Route, Retry-After"
_MAX_AGE_SECONDS = 600
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2048}")
_USUAL_HEADERS = b"authorization, content-type, x-api-key, x-request-id"


class CorsPolicy:
    """The allowed origins, frozen at start. ``*`` allows all."""

    __slots__ = ("_everyone", "_origins")

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._everyone = b"*" in self._origins

    def answer_headers(self, origin: bytes) -> bytes:
        """Header lines for an answer to a request from ``origin``; empty when it is not allowed."""
        if not origin or not self._allows(origin):
            return b""
        allowed = b"*" if self._everyone else origin
        vary = b"" if self._everyone else b"vary: origin\r\n"
        return b"access-control-allow-origin: %b\r\naccess-control-expose-headers: %b\r\n%b" % (allowed, _EXPOSED, vary)

    def preflight_headers(self, origin: bytes, methods: bytes, requested: bytes) -> bytes:
        """Header lines for the answer to a preflight (OPTIONS with Access-Control-Request-Method).

        ``requested`` is the Access-Control-Request-Headers value. Sane ones are all allowed: the OpenAI client in a
        browser sends a dozen ``x-stainless-*`` headers, and none is forwarded anyway.
        """
        lines = self.answer_headers(origin)
        if not lines:
            return b""
        headers = requested if _HEADER_NAMES.fullmatch(requested) else _USUAL_HEADERS
        return (
            b"%baccess-control-allow-methods: %b\r\naccess-control-allow-headers: %b\r\naccess-control-max-age: %d\r\n"
            % (
                lines,
                methods,
                headers,
                _MAX_AGE_SECONDS,
            )
        )

    def _allows(self, origin: bytes) -> bool:
        return self._everyone or origin in self._origins
