"""How are requests, lines of the log and changes told on the page Activity? Each as a row of texts.

A row is a flat object of texts: the template shows it, and the page's script puts it into a copy of the same template,
so that what comes in later looks the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from app.routers.dashboard.activity_asked import LOGS, PATH, REQUESTS
from app.routers.dashboard.wording import absolute, count, milliseconds
from app.services.core.reporting.log_lines import severity
from app.services.core.reporting.outcome import CLIENT_LEFT
from app.services.core.reporting.recent_rows import RecentQuery
from app.services.server_names import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from app.routers.dashboard.visitors import Visitor
    from app.services.core.people.principal import Principal
    from app.services.core.reporting.log_lines import LogRecord
    from app.services.core.reporting.recent_rows import RecentRow
    from app.services.recent import RecentRequests
    from app.services.registry.accounting.audit import AuditLine

__all__ = [
    "EMPTY_LOG_ROW",
    "EMPTY_REQUEST_ROW",
    "ChangeRow",
    "Choices",
    "change_row",
    "choices_of",
    "log_row",
    "request_row",
    "requests_topic",
]

Row = dict[str, str]

EMPTY_REQUEST_ROW: Final[Row] = dict.fromkeys(
    ("number", "when", "when_full", "model", "model_url", "server", "server_url", "key", "key_url", "badge", "status",
     "error", "took", "first_token", "tokens", "tries", "kind", "request_id", "log_url"), "",
)  # fmt: skip
"""What is left empty is hidden; the script fills it in."""
EMPTY_LOG_ROW: Final[Row] = dict.fromkeys(
    ("when", "when_full", "clock", "badge", "level", "component", "component_url", "text", "fields", "detail",
     "detail_lines", "request_id", "request_url"), "",
)  # fmt: skip
_LONGEST: Final = 200
_LONGEST_VALUE: Final = 500
_MOST_CHANGES: Final = 60
_CHOICES_FROM: Final = 500
_SERVER_FAILED: Final = 500
_REFUSED: Final = 400
_NOTHING: Final = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Choices:
    """What the last requests can be narrowed to: values and what they are called."""

    models: tuple[str, ...]
    servers: tuple[tuple[str, str], ...]
    keys: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change of the audit. ``changes``: the field, what it was and what it is."""

    id: int
    at: datetime
    action: str
    words: str
    kind: str
    object_name: str
    object_id: str
    object_url: str
    actor: str
    actor_url: str
    client: str
    request_id: str
    changes: tuple[tuple[str, str, str], ...]
    more: int


def requests_topic(recent: RecentRequests) -> Callable[[Principal], dict[str, dict[str, int]]]:
    """Give the topic ``requests``: which request is the newest that a key may see. The page then asks for what is new.

    Rows themselves are not sent: what a page shows of them depends on its filters, which the service applies.
    """

    def newest(principal: Principal) -> dict[str, dict[str, int]]:
        rows = recent.page(principal, RecentQuery(limit=1)).rows
        return {"newest": {"number": rows[0].number}} if rows else {}

    return newest


def choices_of(recent: RecentRequests, principal: Principal) -> Choices:
    """Say what of the last requests a key sees can be narrowed to."""
    rows = recent.page(principal, RecentQuery(limit=_CHOICES_FROM)).rows
    servers = {row.server_id: row.server or row.server_id for row in rows if row.server_id}
    keys = {row.key_id: row.key or row.key_id for row in rows if row.key_id}
    models = {name for row in rows for name in (row.model, row.alias) if name}
    return Choices(tuple(sorted(models)), _by_name(servers), _by_name(keys))


def request_row(row: RecentRow, visitor: Visitor) -> Row:
    """Tell one request."""
    ended_at = datetime.fromtimestamp(row.ended_at, UTC)
    model = f"{row.alias} \N{RIGHTWARDS ARROW} {row.model}" if row.alias and row.alias != row.model else row.model
    return {
        "number": str(row.number),
        **_when(ended_at),
        "model": plain_text(model, _LONGEST),
        "model_url": _narrowed(REQUESTS, model=row.model),
        "server": plain_text(row.server or row.server_id[:8] or _NOTHING, _LONGEST),
        "server_url": f"/ui/servers/{quote(row.server_id, safe='')}" if row.server and visitor.is_owner else "",
        "key": plain_text(row.key or row.key_id, _LONGEST),
        "key_url": _narrowed(REQUESTS, key=row.key_id) if row.key_id else "",
        "badge": _badge_of_status(row.status),
        "status": _status_words(row.status),
        "error": plain_text(row.error_code or "", _LONGEST),
        "took": milliseconds(row.duration_seconds * 1000),
        "first_token": "" if row.first_token_seconds is None else milliseconds(row.first_token_seconds * 1000),
        "tokens": _tokens(row),
        "tries": _tries(row),
        "kind": f"{row.path.removeprefix('/v1/')}{', streamed' if row.stream else ''}",
        "request_id": plain_text(row.request_id, _LONGEST),
        "log_url": _narrowed(LOGS, request_id=row.request_id) if visitor.is_operator else "",
    }


def log_row(record: LogRecord) -> Row:
    """Tell one line of the log."""
    level = severity(record.level)
    lines = record.detail.count("\n") + 1 if record.detail else 0
    return {
        **(_when(record.time) if record.time else {"when": "", "when_full": ""}),
        "clock": f"{record.time:%m-%d %H:%M:%S}.{record.time.microsecond // 1000:03}" if record.time else _NOTHING,
        "badge": "bad" if level >= severity("error") else "warn" if level == severity("warning") else "calm",
        "level": record.level.capitalize() or "No level",
        "component": record.component,
        "component_url": _narrowed(LOGS, component=record.component) if record.component else "",
        "text": record.text,
        "fields": " ".join(f"{name}={value}" for name, value in record.fields),
        "detail": record.detail,
        "detail_lines": f"{lines} more line{'s' if lines > 1 else ''}" if lines else "",
        "request_id": record.request_id,
        "request_url": _narrowed(LOGS, request_id=record.request_id) if record.request_id else "",
    }


def change_row(line: AuditLine) -> ChangeRow:
    """Tell one change."""
    entry = line.entry
    changes = list(_changes(entry.before or {}, entry.after or {}))
    return ChangeRow(
        id=line.id,
        at=entry.at,
        action=entry.action,
        words=entry.action.replace("_", " ").replace(".", " ").capitalize(),
        kind=entry.object_kind,
        object_name=plain_text(entry.object_name or entry.object_id, _LONGEST),
        object_id=entry.object_id,
        object_url=_object_url(entry.object_kind, entry.object_id),
        actor=plain_text(entry.actor_name or entry.actor_id, _LONGEST),
        actor_url=_narrowed("audit", actor=entry.actor_id),
        client=entry.client,
        request_id=entry.request_id,
        changes=tuple(changes[:_MOST_CHANGES]),
        more=max(len(changes) - _MOST_CHANGES, 0),
    )


def _when(moment: datetime) -> Row:
    return {"when": moment.isoformat(timespec="milliseconds"), "when_full": absolute(moment)}


def _narrowed(show: str, **fields: str) -> str:
    return f"{PATH}?{urlencode({'show': show, **fields})}"


def _by_name(names: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Pairs of an id and a name, by name; a name that two have is told with its id."""
    shown = {one: plain_text(name, _LONGEST) for one, name in names.items()}
    known = list(shown.values())
    told = {one: name if known.count(name) == 1 else f"{name} ({one[:8]})" for one, name in shown.items()}
    return tuple(sorted(told.items(), key=lambda pair: pair[1].casefold()))


def _badge_of_status(status: int) -> str:
    if status == CLIENT_LEFT:
        return "calm"
    return "bad" if status >= _SERVER_FAILED else "warn" if status >= _REFUSED else "good"


def _status_words(status: int) -> str:
    """A status with what it means in a word; the error's code beside it says more."""
    if status == CLIENT_LEFT:
        return f"{status} client left"
    return f"{status} {'failed' if status >= _SERVER_FAILED else 'refused' if status >= _REFUSED else 'answered'}"


def _tokens(row: RecentRow) -> str:
    if not (row.prompt_tokens or row.completion_tokens):
        return _NOTHING
    about = "about " if row.tokens_estimated else ""
    return f"{about}{count(row.prompt_tokens)} in, {count(row.completion_tokens)} out"


def _tries(row: RecentRow) -> str:
    """What was out of the ordinary on its way."""
    tries = f"{row.attempts} tries" if row.attempts > 1 else ""
    onward = f"continued {row.continuations}\N{MULTIPLICATION SIGN}" if row.continuations else ""
    return ", ".join(part for part in (tries, onward) if part)


def _object_url(kind: str, object_id: str) -> str:
    page = {"server": "servers", "key": "keys"}.get(kind)
    return f"/ui/{page}/{quote(object_id, safe='')}" if page else ""


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    """Name what differs. What a new object has left empty, and one that is gone had, tells nothing."""
    for name in dict.fromkeys((*after, *before)):
        if before.get(name) == after.get(name):
            continue
        was, now = _value(before.get(name)), _value(after.get(name))
        if not was == now == _NOTHING:
            yield plain_text(name, _LONGEST), was, now


def _value(value: object) -> str:
    if value is None or value in ("", [], {}):
        return _NOTHING
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return plain_text(text, _LONGEST_VALUE)
