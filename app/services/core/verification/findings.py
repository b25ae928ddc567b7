"""Which claims of a server are looked at, and what can be found of one?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["MAX_DETAIL_CHARACTERS", "Judgement", "Subject", "Verdict", "VerificationFinding"]

MAX_DETAIL_CHARACTERS: Final = 400


class Subject(StrEnum):
    """What is looked at, of one model on one server."""

    NAME = "name"
    """Whether it answers under the model's name."""
    CONTEXT = "context"
    """Whether its context is as long as claimed; measured in tokens."""
    SPEED = "speed"
    """How fast it writes; measured in tokens a second."""
    FIRST_TOKEN = "first_token"  # noqa: S105 - no secret
    """How soon it begins to answer a short prompt; measured in milliseconds."""
    CANARY = "canary"
    """Whether it says what other servers of the model say; measured as likeness, 0.0 to 1.0."""


class Verdict(StrEnum):
    """What was found. None of them changes where requests go."""

    OK = "ok"
    MISMATCH = "mismatch"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One verdict.

    Attributes:
        subject: what it is about.
        verdict: the verdict.
        detail: in an owner's words; may quote the server.
        measured: the figure, in the unit of ``subject``, where there is one.
    """

    subject: Subject
    verdict: Verdict
    detail: str = ""
    measured: float | None = None


@dataclass(frozen=True, slots=True)
class VerificationFinding:
    """A verdict, and when it was come to: aware, UTC."""

    subject: Subject
    verdict: Verdict
    detail: str
    measured: float | None
    found_at: datetime

    @classmethod
    def of(cls, judgement: Judgement, now: datetime) -> VerificationFinding:
        """Date a judgement, and bound its detail."""
        detail = judgement.detail[:MAX_DETAIL_CHARACTERS]
        return cls(judgement.subject, judgement.verdict, detail, judgement.measured, now)
