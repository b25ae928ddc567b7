"""How does a server stand, in words and in a small picture? Pure: what is known of it in, texts out."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from app.routers.dashboard.wording import milliseconds
from app.services import server_state
from app.services.core.signals import NO_SIGNALS
from app.services.core.types import HealthStatus
from app.services.registry.terms import OPERATORS_KEY
from app.services.server_names import plain_text, server_name
from app.services.server_state import HOLDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from app.services.core.checks.health import CheckRecord, HealthState
    from app.services.core.signals import Signals
    from app.services.registry.records import ServerRecord

__all__ = [
    "HEIGHT",
    "STATES",
    "WIDTH",
    "caption_of",
    "line_of",
    "load_in_words",
    "models_in_words",
    "owner_of",
    "picture_of",
    "registrant_of",
    "state_of",
    "words_of",
]

STATES: Final = {
    "healthy": "Healthy",
    "unhealthy": "Unhealthy",
    "unknown": "Not checked yet",
    "blocked": "Blocked",
    "quarantined": "Quarantined",
    "pending": "Awaits approval",
    "draining": "Draining",
    "paused": "Paused",
    "off-hours": "Off hours",
}
"""How each state is called on pages."""
_POINTS: Final = 24
"""Checks that the small line of latencies shows."""
WIDTH: Final = 96
HEIGHT: Final = 24
_COLUMNS: Final = tuple(
    tuple(f"{round((WIDTH - 2) * index / (_POINTS - 1)) + 1},{HEIGHT - 2 - up}" for up in range(HEIGHT - 3))
    for index in range(_POINTS)
)
"""Where a check may stand in the small line, from its foot up."""
_MOST_MODELS: Final = 6
_LONGEST_LINE: Final = 200
_LONGEST_READ: Final = 1000


def state_of(record: ServerRecord, health: HealthState, now: datetime) -> str:
    """Say in one word of a page how a server stands: the strongest of what keeps work away, else what checks found."""
    return server_state.state_of(record, health, now).replace("_", "-")


def words_of(record: ServerRecord, health: HealthState, now: datetime) -> str:
    """Say how a server stands, all of it: ``Paused, unhealthy``."""
    words = [STATES[name] for name in HOLDS if getattr(record, name).in_force(now)]
    if record.is_off_hours(now):
        words.append(STATES["off-hours"])
    if health.status is not HealthStatus.HEALTHY or not words:
        words.append(STATES[health.status.value])
    return ", ".join([words[0], *(word[0].lower() + word[1:] for word in words[1:])])


def caption_of(record: ServerRecord, *, known: bool) -> str:
    """Name a server: where it listens, for those who may know; else what its owner calls it, or its id."""
    return server_name(record, knows_host=known)


def owner_of(record: ServerRecord, name_of: Callable[[str], str]) -> str:
    """Name whoever lent a server: as the server's notes do, else the key that registered it by its name, or its id.

    Args:
        record: the server.
        name_of: what a key is called, by its id; empty where that is not known, or not to be told.
    """
    return line_of(record.metadata.get("owner")) or registrant_of(record, name_of)


def registrant_of(record: ServerRecord, name_of: Callable[[str], str]) -> str:
    """Name the key that registered a server, whatever its notes say; the arguments are those of ``owner_of``."""
    if record.owner is None or record.owner == OPERATORS_KEY:
        return "the operator"
    return line_of(name_of(record.owner)) or f"key {record.owner[:8]}"


def load_in_words(signals: Signals) -> str:
    """Say how busy an engine is by its own word: ``2 of 4 running, 1 waiting``; empty where it has none."""
    if signals is NO_SIGNALS or (signals.running is None and signals.waiting is None):
        return ""
    places = "" if signals.places is None else f" of {signals.places}"
    words = [] if signals.running is None else [f"{signals.running}{places} running"]
    words += [f"{signals.waiting} waiting"] if signals.waiting else []
    return ", ".join(words)


def models_in_words(record: ServerRecord) -> str:
    """Name a server's models, shortened to a line."""
    names = [model.name for model in islice(record.models, _MOST_MODELS)]
    more = len(record.models) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def picture_of(history: Sequence[CheckRecord]) -> tuple[str, str, str]:
    """Draw the latencies of the last checks.

    Args:
        history: newest first.

    Returns:
        An SVG path of the latencies, oldest at the left, with gaps where a check failed; one of marks for those; and
        the same in words.
    """
    shown = list(islice(history, _POINTS))
    if not shown:
        return "", "", "no checks yet"
    shown.reverse()
    passed = [check.latency_ms for check in shown if check.ok]
    scale = (HEIGHT - 4) / max(max(passed, default=1.0), 1.0)
    runs: list[list[str]] = [[]]
    misses = []
    for column, check in zip(_COLUMNS[_POINTS - len(shown) :], shown, strict=True):
        if check.ok:
            runs[-1].append(column[int(check.latency_ms * scale)])
        else:
            misses.append(f"M{column[0].partition(',')[0]},{HEIGHT - 1}v-8")
            runs.append([])
    line = "".join("M" + "L".join(run) + ("h0" if len(run) == 1 else "") for run in runs if run)
    return line, "".join(misses), _trend(len(shown), passed)


def _trend(count: int, passed: Sequence[float]) -> str:
    """Put the picture into words."""
    failed = count - len(passed)
    told = f"last {count} checks" if count > 1 else "the first check"
    if not passed:
        return f"{told}: all failed" if count > 1 else f"{told} failed"
    fastest, slowest = milliseconds(min(passed)), milliseconds(max(passed))
    span = fastest if fastest == slowest else f"{fastest} to {slowest}"
    return f"{told}: {span}" + (f", {failed} failed" if failed else "")


def line_of(value: object) -> str:
    """Take a line of text out of metadata, which may hold anything, of any length."""
    if not isinstance(value, str):
        return ""
    return plain_text(" ".join(value[:_LONGEST_READ].split()), _LONGEST_LINE)
