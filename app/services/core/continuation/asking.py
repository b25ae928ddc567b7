"""What is asked of a server on trial, and what can come of it?"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from app.services.core.continuation.ability import Ability

__all__ = ["Answered", "Ask", "Failed", "Found", "Miss", "Misses", "Speaks", "Subject", "Trial", "Unclear"]


class Speaks(Protocol):
    """What must be known of an engine; ``engines.interface.Engine`` is the one."""

    @property
    def name(self) -> str:
        """As servers are registered with it."""

    def count_request(self, model: str, text: str) -> tuple[str, bytes] | None:
        """Make the request that has a text cut into tokens; None where there is none."""

    def error_message(self, status: int, body: bytes) -> str:
        """Return a short text of a refusal, for a person."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tried: a model, by the name that its server has for it, and the engine that runs it."""

    upstream_name: str
    engine: Speaks


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to send: a POST of JSON. ``path`` is below the endpoint."""

    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer to it."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """There was none. ``reason`` is in words for an owner."""

    reason: str


@dataclass(frozen=True, slots=True)
class Miss:
    """How often a way was refused or led elsewhere so far, and how the last time."""

    count: int
    reason: str


Misses = dict[str, Miss]
"""By the name of the way."""


@dataclass(frozen=True, slots=True)
class Found:
    """The verdict. Of ``ability`` only what the trial was about is set, and ``reason`` where it can't go on."""

    ability: Ability


@dataclass(frozen=True, slots=True)
class Unclear:
    """No verdict.

    Attributes:
        reason: in words for an owner.
        misses: for the next trial.
        is_lost: whether a request got no answer at all, as the next would not either.
    """

    reason: str
    misses: Misses
    is_lost: bool = False


Trial = Generator[Ask, Answered | Failed, Found | Unclear]
"""Yields what is to be asked, is sent what came of it, and returns the verdict."""
