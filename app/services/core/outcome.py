"""What became of a request?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.services.core.usage import Usage

__all__ = ["CLIENT_LEFT", "Outcome"]

CLIENT_LEFT = 499
"""nginx's status for a client that closed before the answer; only ever seen in logs and figures."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request, for figures and the log. Never a prompt, an answer or a key."""

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
    usage: Usage
