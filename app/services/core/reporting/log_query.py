"""Which records of the log are wanted? Pure: a question and a record in, a verdict out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from app.services.core.reporting.log_lines import severity

if TYPE_CHECKING:
    from datetime import datetime

    from app.services.core.reporting.log_lines import LogRecord

__all__ = ["OUT_OF_ORDER", "LogQuery", "is_past", "may_hold", "wants"]

OUT_OF_ORDER: Final = timedelta(seconds=60)
"""How far the times of neighbouring lines may be out of order: lines of requests come in batches, two processes write
while one replaces the other, and clocks are set."""
_PLAIN_NEEDLE: Final = re.compile(r"[A-Za-z0-9_.:/-]+")
_LEVEL: Final = re.compile(
    rb"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) ([A-Z][A-Z_]{0,31})(?: |$)"
    rb'|\{"timestamp": ?"[^"\\]*", ?"level": ?"([a-z_]{1,32})"'
)
"""Where the two forms of a line have their level."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which records are wanted; what is empty or None narrows nothing.

    Attributes:
        level: the least severe one, a name in ``LEVELS``. A line without a level is then left out.
        component: a part of the logger's name, in any case.
        text: what must stand in it, in any case, taken literally: in the sentence, ``name=value`` of a field, the
            logger's name, the request id or the traceback.
        request_id: which request it must be about.
        since: from when on.
        until: before when.
        limit: how many records at most.
    """

    level: str = ""
    component: str = ""
    text: str = ""
    request_id: str = ""
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 100


def wants(query: LogQuery, record: LogRecord, near: datetime | None) -> bool:
    """Whether a record is wanted. ``near``: the time of its neighbour, for a line that has none of its own."""
    time = record.time or near
    return not (
        (query.level and severity(record.level) < severity(query.level))
        or (query.component and query.component.casefold() not in record.component.casefold())
        or (query.request_id and query.request_id != record.request_id)
        or (query.since is not None and (time is None or time < query.since))
        or (query.until is not None and (time is None or time >= query.until))
        or (query.text and query.text.casefold() not in _searched(record).casefold())
    )


def may_hold(query: LogQuery, raw: bytes) -> bool:
    """Whether a record of these bytes can be wanted: a quick look that saves reading most lines.

    Where neither the line nor what is looked for needs an escape, the one holds the other as it is.
    """
    if query.level and (head := _LEVEL.match(raw)):
        level = (head[1] or head[2]).decode()
        if severity(level) < severity(query.level):
            return False
    if not raw.isascii() or b"\\" in raw:
        return True
    needles = (query.text, query.component, query.request_id)
    lowered = raw.lower()
    return all(needle.lower().encode() in lowered for needle in needles if needle and _PLAIN_NEEDLE.fullmatch(needle))


def is_past(query: LogQuery, moment: datetime) -> bool:
    """Whether, going back in time and having come to this moment, nothing that is wanted can come any more."""
    return query.since is not None and moment < query.since - OUT_OF_ORDER


def _searched(record: LogRecord) -> str:
    fields = (f"{name}={value}" for name, value in record.fields)
    return " ".join((record.text, *fields, record.component, record.request_id, record.detail))
