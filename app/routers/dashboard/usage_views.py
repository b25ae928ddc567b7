"""What does the page of use ask for, and what does it draw? Its URL goes in, questions and series come out."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from app.services.core.errors import FieldsInvalid
from app.services.core.keys import Role
from app.services.registry.accounting.usage_query import GroupBy, Side, Span, UsageQuery, span_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.datastructures import QueryParams

    from app.services.core.people.principal import Principal
    from app.services.registry.accounting.usage import Usage
    from app.services.registry.accounting.usage_query import UsageLine, UsageReport, UsageSums

__all__ = [
    "ROWS_A_PAGE",
    "SPANS",
    "Chart",
    "Series",
    "UsageAsk",
    "ask_of",
    "chart_of",
    "choices_of",
    "own_chart",
    "query_of",
]

SPANS: Final[Mapping[str, str]] = {
    "today": "Today (UTC)",
    "7d": "7 days",
    "30d": "30 days",
    "month": "This month",
    "own": "From … to …",
}
NAMES: Final[Mapping[GroupBy, str]] = {
    GroupBy.DAY: "Day",
    GroupBy.MODEL: "Model",
    GroupBy.KEY: "Key",
    GroupBy.PERSON: "Person",
    GroupBy.GROUP: "Group",
    GroupBy.SERVER: "Server",
    GroupBy.OWNER: "Owner of the servers",
}
FILTERS: Final[Sequence[GroupBy]] = (
    GroupBy.KEY,
    GroupBy.MODEL,
    GroupBy.PERSON,
    GroupBy.GROUP,
    GroupBy.SERVER,
    GroupBy.OWNER,
)
SERVED_BY: Final = (GroupBy.DAY, GroupBy.MODEL, GroupBy.SERVER)
USED_BY: Final = (GroupBy.DAY, GroupBy.MODEL, GroupBy.KEY, GroupBy.PERSON, GroupBy.GROUP, GroupBy.SERVER)
ROWS_A_PAGE: Final = 100
MAX_CSV_ROWS: Final = 10_000
MAX_ID_LENGTH: Final = 512
MAX_OFFSET: Final = 1_000_000
SERIES: Final = 5
"""So many are told apart in a chart; what others used is one more."""
MAX_POINTS: Final = 800
_COUNT: Final = re.compile(r"[0-9]{1,9}")
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_HOURS_UP_TO: Final = 2 * _DAY
_DAYS_BACK: Final = {"today": 0, "7d": 6, "30d": 29}


@dataclass(frozen=True, slots=True)
class UsageAsk:
    """What the page's URL asks for; what it says wrongly is left out.

    Attributes:
        span: a name of ``SPANS``.
        since: a date, where the span is one's own; empty otherwise.
        until: the last day of it, that day included.
        by: what a row stands for.
        side: which side an owner's key sees; None: all, for admins.
        filters: only use of these.
        offset: how many rows are passed over first.
    """

    span: str = "7d"
    since: str = ""
    until: str = ""
    by: GroupBy = GroupBy.DAY
    side: Side | None = None
    filters: Mapping[GroupBy, str] = field(default_factory=dict)
    offset: int = 0

    def url(self, path: str = "/ui/usage", **changes: Any) -> str:
        """The URL of this page, or of one that differs from it as told; a filter is cleared by None."""
        filters = {name: changes.pop(name.value, self.filters.get(name)) for name in FILTERS}
        other = replace(self, offset=changes.pop("offset", 0), **changes)
        asked = {
            "span": other.span,
            "from": other.since if other.span == "own" else "",
            "to": other.until if other.span == "own" else "",
            "by": other.by.value,
            "side": other.side.value if other.side else "",
            "offset": other.offset or "",
        }
        asked |= {name.value: value for name, value in filters.items() if value is not None}
        kept = [(name, value) for name, value in asked.items() if value != "" or name in {one.value for one in FILTERS}]
        return f"{path}?{urlencode(kept)}"


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: its name, and a figure for each moment."""

    name: str
    values: Sequence[int]

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Chart:
    """Tokens over time, in parts.

    Attributes:
        moments: when each column begins, in Unix seconds.
        labels: the same for people: a day, or an hour of it.
        series: the parts, those with the most first.
        step_seconds: how long a column is.
    """

    moments: Sequence[int]
    labels: Sequence[str]
    series: Sequence[Series]
    step_seconds: int


def ask_of(params: QueryParams, principal: Principal) -> UsageAsk:
    """Read the URL of the page."""
    span = params.get("span", "")
    if span not in SPANS:
        span = "own" if params.get("from") or params.get("to") else "7d"
    side = _side(params.get("side", ""), principal)
    allowed = choices_of(side)
    asked = params.get("by", "")
    by = GroupBy(asked) if asked in {one.value for one in allowed} else GroupBy.DAY
    filters = {name: params[name.value][:MAX_ID_LENGTH] for name in FILTERS if name in allowed and name.value in params}
    offset = params.get("offset", "")
    return UsageAsk(
        span=span,
        since=params.get("from", "")[:64].strip(),
        until=params.get("to", "")[:64].strip(),
        by=by,
        side=side,
        filters=filters,
        offset=min(int(offset), MAX_OFFSET) if _COUNT.fullmatch(offset) else 0,
    )


def choices_of(side: Side | None) -> tuple[GroupBy, ...]:
    """Say by what use can be added up here, for who sees this side of it."""
    if side is None:
        return tuple(NAMES)
    return SERVED_BY if side is Side.SERVED else USED_BY


def query_of(ask: UsageAsk, now: datetime, *, rows: int = ROWS_A_PAGE) -> UsageQuery:
    """Put the question of a page.

    Raises:
        FieldsInvalid: the span is none.
    """
    filters = {name: frozenset({value}) for name, value in ask.filters.items()}
    return UsageQuery(ask.by, _span(ask, now), filters, ask.side, rows, ask.offset)


async def chart_of(usage: Usage, principal: Principal, query: UsageQuery) -> Chart:
    """Ask what was used over time: by model where rows are days, else by what rows stand for.

    Raises:
        NotAllowed: who asks may not know it.
        Unavailable: the account does not answer.
    """
    part = GroupBy.MODEL if query.group_by.is_time else query.group_by
    time = GroupBy.HOUR if query.span.until - query.span.since <= _HOURS_UP_TO else GroupBy.DAY
    moments = _moments(query.span, _HOUR if time is GroupBy.HOUR else _DAY)
    drawn = Span(max(moments[0], query.span.since), query.span.until)
    query = replace(query, span=drawn, offset=0)
    over_time = replace(query, group_by=time, limit=MAX_POINTS)
    parts = replace(query, group_by=part, limit=SERIES)
    whole, largest = await asyncio.gather(usage.report(principal, over_time), usage.report(principal, parts))
    # Who filters by what the parts stand for has one part, which is the whole.
    apart = () if part in query.filters else largest.lines
    each = await asyncio.gather(
        *(
            usage.report(principal, replace(over_time, filters={**query.filters, part: frozenset({line.id})}))
            for line in apart
        )
    )
    named = apart or largest.lines[:1]
    return _chart(time, moments, whole, list(zip(named, each or [whole], strict=False)))


def own_chart(days: Mapping[datetime, UsageSums]) -> Chart | None:
    """Draw what a key itself used day by day, what it sent apart from what it was answered; None: nothing."""
    if not any(sums.total_tokens for sums in days.values()):
        return None
    sent = Series("Prompt tokens", [sums.prompt_tokens for sums in days.values()])
    answered = Series("Answer tokens", [sums.completion_tokens for sums in days.values()])
    moments, labels = [int(day.timestamp()) for day in days], [day.strftime("%Y-%m-%d") for day in days]
    return Chart(moments, labels, [sent, answered], int(_DAY.total_seconds()))


def _chart(
    time: GroupBy, moments: Sequence[datetime], whole: UsageReport, parts: Sequence[tuple[UsageLine, UsageReport]]
) -> Chart:
    total = _values(whole, moments)
    series = [Series(line.name, _values(report, moments)) for line, report in parts]
    others = [all_of - sum(one.values[index] for one in series) for index, all_of in enumerate(total)]
    if any(rest > 0 for rest in others):
        series.append(Series("all others", [max(rest, 0) for rest in others]))
    is_hourly = time is GroupBy.HOUR
    labels = [moment.strftime("%Y-%m-%d %H:%M" if is_hourly else "%Y-%m-%d") for moment in moments]
    step = _HOUR if is_hourly else _DAY
    return Chart([int(moment.timestamp()) for moment in moments], labels, series, int(step.total_seconds()))


def _moments(span: Span, step: timedelta) -> list[datetime]:
    """Every column of a span, those without use too; of a very long one the last."""
    first = span.since if step == _HOUR else span.since.replace(hour=0)
    count = -(-(span.until - first) // step)
    begin = first + step * max(count - MAX_POINTS, 0)
    return [begin + step * index for index in range(min(count, MAX_POINTS))]


def _values(report: UsageReport, moments: Sequence[datetime]) -> list[int]:
    found = {_moment(line.id): line.sums.total_tokens for line in report.lines}
    return [found.get(moment, 0) for moment in moments]


def _moment(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)


def _side(asked: str, principal: Principal) -> Side | None:
    if principal.role is not Role.OWNER:
        return None
    return Side(asked) if asked in set(Side) else Side.SERVED


def _span(ask: UsageAsk, now: datetime) -> Span:
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    ends = now.replace(minute=0, second=0, microsecond=0) + _HOUR
    if ask.span == "month":
        return Span(day.replace(day=1), ends)
    if ask.span in _DAYS_BACK:
        return Span(day - timedelta(days=_DAYS_BACK[ask.span]), ends)
    return span_of(ask.since or None, _day_after(ask.until), now)


def _day_after(last_day: str) -> str | None:
    """The end of a day that is meant whole; a moment is one by itself."""
    try:
        return (datetime.strptime(last_day, "%Y-%m-%d").replace(tzinfo=UTC) + _DAY).date().isoformat()
    except (ValueError, OverflowError):
        return last_day or None


def fallback(ask: UsageAsk, error: FieldsInvalid) -> tuple[UsageAsk, str]:
    """Show 7 days in place of a span that is none, and say so."""
    words = error.message.replace("from:", "From:").replace("to:", "To:")
    return replace(ask, span="7d", since="", until="", offset=0), f"{words} What stands here are the last 7 days."
