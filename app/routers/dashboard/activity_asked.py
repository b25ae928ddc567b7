"""What does the address of the page Activity ask for? The state of a list is its URL. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlencode

from app.services.core.errors import FieldsInvalid
from app.services.core.reporting.log_lines import LEVELS
from app.services.core.reporting.log_query import LogQuery
from app.services.core.reporting.recent_rows import RecentQuery, status_filter
from app.services.registry.accounting.audit import AuditQuery
from app.services.registry.accounting.usage_query import moment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

__all__ = ["AUDIT", "LOGS", "PATH", "REQUESTS", "Asked", "audit_query", "log_query", "recent_query"]

PATH: Final = "/ui/activity"
REQUESTS: Final = "requests"
LOGS: Final = "logs"
AUDIT: Final = "audit"
_NARROWING: Final = {
    REQUESTS: ("model", "server", "key", "status", "request_id"),
    LOGS: ("level", "component", "text", "request_id", "since", "until"),
    AUDIT: ("kind", "action", "actor", "object", "since", "until"),
}
_PLACES: Final = ("before", "cursor", "after")
_LONGEST: Final = 512
_PICKED: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,3})?)?")
_MOST_DIGITS: Final = 18
_NO_TIME: Final = "Write a date like 2030-01-31, or a time like 2030-01-31T08:00."

Read = TypeVar("Read")


class Asked:
    """What an address asks for.

    Args:
        parameters: of the address; what is unknown is passed over, what is long is cut.

    Attributes:
        show: which list.
        errors: what is wrong, by the name of the field; filled in by those who read.
    """

    __slots__ = ("_values", "errors", "show")

    def __init__(self, parameters: Mapping[str, str]) -> None:
        show = parameters.get("show", "")
        self.show = show if show in _NARROWING else REQUESTS
        names = (*_NARROWING[self.show], *_PLACES)
        self._values = {name: parameters[name].strip()[:_LONGEST] for name in names if parameters.get(name, "").strip()}
        self.errors: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """What a field says; empty where it says nothing."""
        return self._values.get(name, "")

    @property
    def is_narrowed(self) -> bool:
        """Whether any of the filters is set."""
        return any(name in self._values for name in _NARROWING[self.show])

    @property
    def is_newest(self) -> bool:
        """Whether the list begins with the newest there is, which can be followed."""
        return not (self["before"] or self["cursor"] or self["until"])

    def is_for_picker(self, name: str) -> bool:
        """Whether a browser's picker of dates can show what a field says; it would show nothing otherwise."""
        return not self[name] or _PICKED.fullmatch(self[name]) is not None

    def url(self, path: str = PATH, **places: object) -> str:
        """Name the same list at another place: without ``places`` its beginning."""
        kept = {name: self._values[name] for name in _NARROWING[self.show] if name in self._values}
        told = {name: str(value) for name, value in places.items() if value not in {"", None}}
        return f"{path}?{urlencode({'show': self.show, **kept, **told})}"

    def read(self, name: str, reader: Callable[[str], Read], words: str) -> Read | None:
        """Read a field; one that says what it can't is noted in ``errors``."""
        try:
            return reader(self[name]) if self[name] else None
        except FieldsInvalid:
            self.errors[name] = words
            return None


def recent_query(asked: Asked, limit: int) -> RecentQuery:
    """Say which requests are asked for."""
    words = "Choose one of the list, or a number like 404, or a class like 5xx."
    return RecentQuery(
        model=asked["model"],
        server=asked["server"],
        key=asked["key"],
        status=asked.read("status", status_filter, words),
        request_id=asked["request_id"],
        before=asked.read("before", _whole, "This is no place in the list. Begin again at the newest requests."),
        limit=limit,
    )


def log_query(asked: Asked, limit: int) -> LogQuery:
    """Say which lines of the log are asked for."""
    return LogQuery(
        level=asked.read("level", _level, "Choose one of the list.") or "",
        component=asked["component"],
        text=asked["text"],
        request_id=asked["request_id"],
        since=_moment(asked, "since"),
        until=_moment(asked, "until"),
        limit=limit,
    )


def audit_query(asked: Asked, limit: int) -> AuditQuery:
    """Say which lines of the audit are asked for."""
    return AuditQuery(
        kind=asked["kind"] or None,
        action=asked["action"] or None,
        actor=asked["actor"] or None,
        object_id=asked["object"] or None,
        since=_moment(asked, "since"),
        until=_moment(asked, "until"),
        before=asked.read("before", _whole, "This is no place in the list. Begin again at the newest changes."),
        limit=limit,
    )


def _moment(asked: Asked, name: str) -> datetime | None:
    return asked.read(name, lambda text: moment_of(text, name), _NO_TIME)


def _level(text: str) -> str:
    if text.lower() not in LEVELS:
        raise FieldsInvalid("level: should be one of " + ", ".join(LEVELS), param="level")
    return text.lower()


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise FieldsInvalid("before: should be a whole number.", param="before")
    return int(text)
