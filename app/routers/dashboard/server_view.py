"""What does the page of one server say? Why it gets no work, and what checks and probes found, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.routers.dashboard.hours_text import days_in_words
from app.routers.dashboard.wording import absolute, count, milliseconds, per_second
from app.services.core.types import HealthStatus
from app.services.core.verification.findings import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from app.routers.model_views import ModelView, VerificationView
    from app.routers.terms_schemas import LentHours
    from app.routers.views import CheckView, ServerDetails

__all__ = [
    "HISTORY",
    "MARK_WIDTH",
    "TIMELINE_HEIGHT",
    "Mark",
    "Obstacle",
    "continuation_in_words",
    "hours_in_words",
    "marks_of",
    "obstacles_of",
    "timeline_in_words",
    "verification_in_words",
    "version_of",
]

HISTORY: Final = 100
"""Checks of the timeline."""
MARK_WIDTH: Final = 8
TIMELINE_HEIGHT: Final = 64
_LEAST_HEIGHT: Final = 4
_MOST_HEIGHT: Final = 44
"""A check that passed is never as high as one that failed."""
_NAMES_SHOWN: Final = 5

_SUBJECTS: Final = {
    Subject.NAME: "Name",
    Subject.CONTEXT: "Context",
    Subject.SPEED: "Speed",
    Subject.FIRST_TOKEN: "First token",
    Subject.CANARY: "Likeness",
}
_RUNGS: Final = {
    "continue_final_message": "goes on exactly",
    "trailing_message": "goes on from the last message",
    "completions": "goes on by its template",
    "token_ids": "goes on by token ids",
    "none": "can't go on",
    "unjudged": "not tried yet",
}
_GROUNDS: Final = {
    "blocked": ("The operator has blocked it.", "Only the operator can lift that."),
    "pending": ("It waits for the operator's approval.", "Until then it takes no requests."),
    "quarantined": ("The gateway has taken it out for a while.", "A check that passes lets it back: check it now."),
    "paused": ("It is paused.", "Resume it to send it requests again."),
    "draining": ("It is draining: what runs is finished, nothing new comes.", "Resume it to send it requests again."),
}


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why a server gets no work, or not all.

    Attributes:
        text: what it is.
        reason: what was said of it, perhaps by the server itself; empty where nobody said anything or may know.
        advice: what to do.
        until: when it ends by itself.
    """

    text: str
    reason: str = ""
    advice: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """One check in the timeline: a bar, from its left upper corner, and what it says."""

    left: int
    top: int
    height: int
    ok: bool
    title: str


def obstacles_of(server: ServerDetails, said: str) -> list[Obstacle]:
    """Say why a server gets no work, the strongest reason first; empty where it does.

    Args:
        server: as the visitor may know it.
        said: what is wrong beside the holds, in words; empty where nothing is, or the visitor may not know.
    """
    found = []
    for name, (text, advice) in _GROUNDS.items():
        if getattr(server, name):
            reason, until = getattr(server, f"{name}_reason"), getattr(server, f"{name}_until")
            found.append(Obstacle(text, reason, advice, until))
    if server.off_hours:
        found.append(Obstacle("It is lent at other hours.", hours_in_words(server.hours), "", server.next_change_at))
    if server.health_status is HealthStatus.UNHEALTHY:
        times = server.consecutive_failures
        text = f"Its checks fail, {count(times)} in a row." if times > 1 else "Its checks fail."
        found.append(Obstacle(text, said, "The gateway looks again and again; it comes back by itself."))
    elif server.health_status is HealthStatus.UNKNOWN:
        found.append(Obstacle("It has not been checked yet.", said, "That takes a few seconds after a start."))
    elif said:
        found.append(Obstacle("Not all is well.", said))
    return found + _unlisted(server)


def _unlisted(server: ServerDetails) -> list[Obstacle]:
    """Say which models a server has no more."""
    names = [model.name for model in server.model_details if not model.listed]
    if not names or server.health_status is not HealthStatus.HEALTHY:
        return []
    shown = ", ".join(names[:_NAMES_SHOWN]) + (f" and {len(names) - _NAMES_SHOWN} more" if names[_NAMES_SHOWN:] else "")
    advice = "Load them there, or edit the server's models."
    return [Obstacle(f"It no longer lists {shown}, so it gets no requests for that.", "", advice)]


def marks_of(history: Sequence[CheckView]) -> list[Mark]:
    """Draw the last checks, oldest at the left. One that failed is a bar of the whole height.

    Args:
        history: newest first.
    """
    shown = list(reversed(history[:HISTORY]))
    slowest = max((check.latency_ms for check in shown if check.ok), default=0.0) or 1.0
    first = HISTORY - len(shown)
    return [_mark(check, (first + index) * MARK_WIDTH, slowest) for index, check in enumerate(shown)]


def _mark(check: CheckView, left: int, slowest: float) -> Mark:
    share = min(max(check.latency_ms / slowest, 0.0), 1.0)
    height = round(_LEAST_HEIGHT + share * (_MOST_HEIGHT - _LEAST_HEIGHT)) if check.ok else TIMELINE_HEIGHT
    found = milliseconds(check.latency_ms) if check.ok else check.reason or "failed"
    return Mark(left, TIMELINE_HEIGHT - height, height, check.ok, f"{absolute(check.checked_at)}: {found}")


def timeline_in_words(history: Sequence[CheckView]) -> str:
    """Say what the timeline shows."""
    if not history:
        return "No checks yet."
    passed = sorted(check.latency_ms for check in history if check.ok)
    failed = len(history) - len(passed)
    told = f"{len(history)} checks" if len(history) > 1 else "One check"
    if not passed:
        return f"{told}, failed." if len(history) == 1 else f"{told}, all failed."
    middle = milliseconds(passed[len(passed) // 2])
    return f"{told}: {failed or 'none'} failed, half of the others answered within {middle}."


def version_of(server: ServerDetails) -> str:
    """The engine's version, where a probe has found it."""
    return next((model.continuation.version for model in server.model_details if model.continuation.version), "")


def continuation_in_words(model: ModelView) -> str:
    """Say how a model goes on with an answer that broke off elsewhere."""
    chat, text = _RUNGS[model.continuation.chat.value], _RUNGS[model.continuation.text.value]
    words = f"Chats and texts: {chat}" if chat == text else f"Chats: {chat}. Texts: {text}"
    return f"{words}, thinking turned off." if model.continuation.thinking_off else f"{words}."


def verification_in_words(finding: VerificationView) -> str:
    """Say what was found of one claim, in its unit."""
    figure = ""
    if finding.measured is not None:
        match finding.subject:
            case Subject.CONTEXT:
                figure = f"{count(finding.measured)} tokens"
            case Subject.SPEED:
                figure = f"{per_second(finding.measured)} tokens a second"
            case Subject.FIRST_TOKEN:
                figure = milliseconds(finding.measured)
            case _:
                figure = f"{finding.measured:.0%} alike"
    if finding.measured is not None and str(round(finding.measured)) in finding.detail:
        figure = ""  # the words say it
    told = [text for text in (figure, finding.detail) if text]
    return f"{_SUBJECTS[finding.subject]}: {', '.join(told) or finding.verdict.value}"


def hours_in_words(hours: LentHours | None) -> str:
    """Say when a server is lent."""
    if hours is None:
        return "always"
    windows = [f"{days_in_words(window.days) or 'daily'} {window.opens} to {window.closes}" for window in hours.windows]
    return f"{', '.join(windows)} ({hours.timezone})"
