"""What became of a request?"""

from __future__ import annotations

import msgspec

from app.services.core.answer.usage import Usage

__all__ = ["CLIENT_LEFT", "Outcome"]

CLIENT_LEFT = 499
"""nginx's status for a client that closed before the answer; only ever seen in logs and figures."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a request, for figures, the log and traces. Never a prompt, an answer or a key.

    A struct, because one is made for every request (decision 0012).
    """

    request_id: str
    client: str
    key_id: str
    path: str
    model: str
    server_id: str | None
    status: int
    error_code: str | None
    stream: bool
    attempts: int
    duration_seconds: float
    first_token_seconds: float | None
    """From sending the request to a server to the first bytes of its answer."""
    usage: Usage
    ended_at: float = 0.0
    """Unix time, in seconds."""
    events: int = 0
    """Events of a stream that went to the client."""
    trace: bytes = b""
    """The ``traceparent`` that went to the server; empty where there was none."""
    parent: bytes = b""
    """The ``traceparent`` that came from the client, where it was valid."""
    continuations: int = 0
    """How often a stream that broke was carried on elsewhere."""
    person: str = ""
    """Whose use it is (``Principal.person``, or whom a front end named)."""
    group: str = ""
    """The id of the key's group; empty where it has none."""
    alias: str = ""
    """The name that was asked for, where that is an alias: ``model`` is then what it led to."""
