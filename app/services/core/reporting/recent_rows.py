"""Which of the last requests may a key see, how much of them, and which does it look for? Pure.

The operator sees all; the admin of a group those of the group's keys. An owner sees what its own keys asked for, and
what its servers served, but never for whom: a row whose key is hidden is not found by that key either. A user sees its
own. Prompts and answers are in none of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from app.services.core.errors import FieldsInvalid
from app.services.core.people.principal import Role
from app.services.core.reporting.outcome import CLIENT_LEFT

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.services.core.people.principal import Principal
    from app.services.core.reporting.outcome import Outcome

__all__ = [
    "MOST_ROWS",
    "Facts",
    "RecentQuery",
    "RecentRow",
    "Seen",
    "StatusFilter",
    "row_of",
    "seen",
    "status_filter",
    "wanted",
]

MOST_ROWS: Final = 500
_STATUS: Final = re.compile(r"(?P<exact>[1-5][0-9]{2})|(?P<first>[1-5])xx", re.IGNORECASE)
_OK: Final = "ok"
_ERRORS: Final = "errors"
_OK_BELOW: Final = 400
_HIGHEST: Final = 999


class StatusFilter(NamedTuple):
    """From which status to which, without one."""

    lowest: int
    highest: int
    without: int = 0

    def passes(self, status: int) -> bool:
        """Whether a status is wanted."""
        return self.lowest <= status <= self.highest and status != self.without


class Seen(Enum):
    """How much of a request a key may see."""

    NOTHING = "nothing"
    WORK = "work"
    """What its server did, not for whom."""
    ALL = "all"


class Facts(Protocol):
    """What is known of keys and servers by their ids; empty text where nothing is."""

    def key_name(self, key_id: str) -> str:
        """What a key is called."""
        ...

    def minted_by(self, key_id: str) -> str:
        """Which key made it."""
        ...

    def owner(self, server_id: str) -> str:
        """Which key registered a server."""
        ...

    def server_name(self, server_id: str, principal: Principal) -> str:
        """What a server is called, as far as a key may know."""
        ...


@dataclass(frozen=True, slots=True)
class RecentQuery:
    """Which requests are looked for; what is empty or None narrows nothing.

    Attributes:
        model: the name that was asked for, or what an alias led to.
        server: the id of the server that answered.
        key: the id or the name of the key.
        status: which statuses.
        request_id: how the request's id begins.
        before: only requests that ended before the one of this number.
        limit: so many at most, from 1 to ``MOST_ROWS``.
    """

    model: str = ""
    server: str = ""
    key: str = ""
    status: StatusFilter | None = None
    request_id: str = ""
    before: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class RecentRow:
    """One request, as far as it may be seen. ``key_id``, ``key`` and ``person`` are empty where they are hidden.

    Attributes:
        number: counts the requests since the start.
        ended_at: Unix seconds.
        error_code: what kind of error it was; None where it was none.
        duration_seconds: from the request to its end.
        first_token_seconds: from sending it to a server to the first bytes of the answer; None where none came.
        is_own: whether it is the asking key's own.
    """

    number: int
    ended_at: float
    request_id: str
    key_id: str
    key: str
    person: str
    path: str
    model: str
    alias: str
    server_id: str
    server: str
    status: int
    error_code: str | None
    stream: bool
    attempts: int
    continuations: int
    prompt_tokens: int
    completion_tokens: int
    tokens_estimated: bool
    duration_seconds: float
    first_token_seconds: float | None
    is_own: bool


def status_filter(text: str) -> StatusFilter | None:
    """Read which statuses are wanted: ``404``, ``5xx``, ``errors``, ``ok``; empty: all.

    Errors are those from 400 on, but for 499: a client that left is nobody's error.

    Raises:
        FieldsInvalid: it is none of these.
    """
    text = text.strip().lower()
    if not text:
        return None
    if text in {_OK, _ERRORS}:
        return StatusFilter(0, _OK_BELOW - 1) if text == _OK else StatusFilter(_OK_BELOW, _HIGHEST, CLIENT_LEFT)
    form = _STATUS.fullmatch(text)
    if form is None:
        message = "status: should be a number like 404, a class like 5xx, 'errors' or 'ok'."
        raise FieldsInvalid(message, param="status")
    if form["exact"]:
        return StatusFilter(int(form["exact"]), int(form["exact"]))
    first = int(form["first"]) * 100
    return StatusFilter(first, first + 99)


def seen(outcome: Outcome, principal: Principal, facts: Facts) -> Seen:
    """Say how much of a request a key may see."""
    if principal.role is Role.ADMIN:
        is_within = principal.group is None or outcome.group == principal.group
        return Seen.ALL if is_within else Seen.NOTHING
    if outcome.key_id == principal.key_id:
        return Seen.ALL
    if principal.role is Role.OWNER:
        if facts.minted_by(outcome.key_id) == principal.key_id:
            return Seen.ALL
        if outcome.server_id and facts.owner(outcome.server_id) == principal.key_id:
            return Seen.WORK
    return Seen.NOTHING


def wanted(query: RecentQuery) -> Callable[[Outcome], bool]:
    """Make the test for all of a query that every request that is seen at all may be asked for: all but the key."""

    def is_wanted(outcome: Outcome) -> bool:
        if query.status is not None and not query.status.passes(outcome.status):
            return False
        if query.model and query.model not in {outcome.model, outcome.alias}:
            return False
        if query.server and query.server != outcome.server_id:
            return False
        return not query.request_id or outcome.request_id.startswith(query.request_id)

    return is_wanted


def row_of(number: int, outcome: Outcome, principal: Principal, facts: Facts, much: Seen) -> RecentRow:
    """Tell a request, as much of it as may be seen."""
    whole = much is Seen.ALL
    usage = outcome.usage
    return RecentRow(
        number=number,
        ended_at=outcome.ended_at,
        request_id=outcome.request_id,
        key_id=outcome.key_id if whole else "",
        key=facts.key_name(outcome.key_id) if whole else "",
        person=outcome.person if whole else "",
        path=outcome.path,
        model=outcome.model,
        alias=outcome.alias,
        server_id=outcome.server_id or "",
        server=facts.server_name(outcome.server_id, principal) if outcome.server_id else "",
        status=outcome.status,
        error_code=outcome.error_code,
        stream=outcome.stream,
        attempts=outcome.attempts,
        continuations=outcome.continuations,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        tokens_estimated=usage.estimated,
        duration_seconds=outcome.duration_seconds,
        first_token_seconds=outcome.first_token_seconds,
        is_own=outcome.key_id == principal.key_id,
    )
