"""What do the pages on keys show? Records, use and limits go in; what their templates need comes out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Query

from app.routers.dashboard.key_forms import LIMIT_NAMES
from app.routers.dashboard.wording import count
from app.routers.key_schemas import group_named
from app.routers.key_views import KeyView, key_view
from app.routers.usage_views import own_usage
from app.services.core.errors import Unavailable
from app.services.core.keys import KeyForm, Role, looks_minted
from app.services.registry.accounting.usage_query import GroupBy, Side, Span, UsageQuery
from app.services.registry.people.listing import KeyQuery
from app.services.registry.people.records import KeyState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from app.routers.dashboard.visitors import Visitor
    from app.routers.key_views import LimitsView
    from app.routers.usage_views import LimitView, OwnUsage
    from app.services.core.people.principal import Limits, Principal
    from app.services.registry.accounting.usage import Usage
    from app.services.registry.accounting.usage_query import UsageSums
    from app.services.registry.people.keys import Keys
    from app.services.registry.people.records import GroupRecord, KeyRecord

__all__ = [
    "DAYS_LOOKED_BACK",
    "LIMIT_LABELS",
    "KeyRow",
    "KeySearch",
    "asked_search",
    "bars_of",
    "key_rows",
    "last_used",
    "left_of",
    "limits_in_short",
    "live_principal",
    "making_choices",
    "minted_count",
    "minter_name",
    "query_of",
]

DAYS_LOOKED_BACK: Final = 30
KEYS_A_PAGE: Final = 50
MAX_TEXT_LENGTH: Final = 200
SHOWN_END_LENGTH: Final = 4
LIMIT_LABELS: Final[Mapping[str, str]] = {
    "requests_per_minute": "Requests in 60 s",
    "tokens_per_minute": "Tokens in 60 s",
    "tokens_per_day": "Tokens a day",
    "tokens_per_month": "Tokens a month",
    "concurrency": "Requests at once",
}
_SHORT: Final = dict(
    zip(LIMIT_NAMES, ("requests/min", "tokens/min", "tokens/day", "tokens/month", "at once"), strict=True)
)
_ROLES: Final = (
    ("user", "User: uses models"),
    ("owner", "Owner: lends servers too"),
    ("admin", "Admin: does all"),
)
_MODELS_SUGGESTED: Final = 200


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as a list shows it; ``used`` is None where the account does not answer."""

    view: KeyView
    limits: str
    used: UsageSums | None


@dataclass(frozen=True, slots=True)
class LastUse:
    """When a key was used last: the hour; None: not in the days looked back, if that is known at all."""

    hour: datetime | None
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class KeySearch:
    """What is looked for in the list, as the page's URL says it; what the URL says wrongly is left out.

    ``held_key`` is set where the URL held a whole key, of which only the shown end is looked for.
    """

    text: str = ""
    group: str = ""
    role: str = ""
    state: str = ""
    after: str = ""
    held_key: bool = False

    @property
    def is_narrowed(self) -> bool:
        """Whether it leaves keys out."""
        return bool(self.text or self.group or self.role or self.state)

    def url(self, after: str | None = None) -> str:
        """The URL of this search, from its first page on or after a key."""
        named = (("q", self.text), ("group", self.group), ("role", self.role), ("state", self.state), ("after", after))
        query = urlencode([(name, value) for name, value in named if value])
        return f"/ui/keys?{query}" if query else "/ui/keys"


def asked_search(
    wanted: Annotated[str, Query(alias="q")] = "", group: str = "", role: str = "", state: str = "", after: str = ""
) -> KeySearch:
    """Read a search."""
    text = wanted.strip()[:MAX_TEXT_LENGTH]
    held_key = looks_minted(text) is KeyForm.MINTED
    return KeySearch(
        text=text[-SHOWN_END_LENGTH:] if held_key else text,
        group=group[:MAX_TEXT_LENGTH],
        role=role if role in set(Role) else "",
        state=state if state in set(KeyState) else "",
        after=after[:MAX_TEXT_LENGTH],
        held_key=held_key,
    )


def query_of(search: KeySearch, groups: Sequence[GroupRecord]) -> KeyQuery:
    """Put the question of a search: a page of the newest keys first.

    Raises:
        FieldsInvalid: there is no such group.
    """
    return KeyQuery(
        group=group_named(search.group or None, groups),
        role=Role(search.role) if search.role else None,
        state=KeyState(search.state) if search.state else None,
        text=search.text,
        after=search.after or None,
        limit=KEYS_A_PAGE,
        newest_first=True,
    )


def limits_in_short(limits: Limits | LimitsView) -> str:
    """Write the limits that are set: "60 requests/min, 200 000 tokens/day"; empty where none is."""
    given = ((getattr(limits, name), words) for name, words in _SHORT.items())
    return ", ".join(f"{count(value)} {words}" for value, words in given if value is not None)


async def key_rows(
    keys: Keys, usage: Usage, principal: Principal, records: Sequence[KeyRecord], now: datetime
) -> list[KeyRow]:
    """Show some keys with what each of them used of late."""
    used = await _used(usage, principal, [record.id for record in records], now)
    views = [key_view(keys, record) for record in records]
    return [KeyRow(view, limits_in_short(view.limits), None if used is None else used.get(view.id)) for view in views]


async def last_used(usage: Usage, principal: Principal, key_id: str, now: datetime) -> LastUse:
    """Say in which hour a key was used last, of those that are looked back to."""
    try:
        lines = (await usage.report(principal, _query(GroupBy.HOUR, principal, [key_id], now))).lines
    except Unavailable:
        return LastUse(None, is_known=False)
    return LastUse(datetime.fromisoformat(lines[-1].id) if lines else None)


def live_principal(keys: Keys, record: KeyRecord) -> Principal | None:
    """Say as whom a key opens the gateway; None where nothing opens it."""
    opening = keys.ring.principals
    return next((found for one in reversed(record.secrets) if (found := opening.get(one.digest))), None)


async def left_of(usage: Usage, principal: Principal) -> OwnUsage | None:
    """Say what a key used today and this month, and what is left of its limits; None: the account does not answer."""
    try:
        return own_usage(principal, await usage.own(principal))
    except Unavailable:
        return None


def minter_name(keys: Keys, record: KeyRecord) -> str:
    """Name the key that made this one."""
    if record.minted_by is None:
        return ""
    minter = keys.records.get(record.minted_by)
    return minter.name if minter is not None else "the operator's own key"


def minted_count(keys: Keys, record: KeyRecord) -> int:
    """Count the keys that end with this one: those that an owner's key made."""
    if record.role is not Role.OWNER:
        return 0
    return sum(one.minted_by == record.id and one.revoked_at is None for one in keys.records.values())


def making_choices(keys: Keys, visitor: Visitor, served: Collection[str]) -> dict[str, Any]:
    """Say what may be chosen in the form of a key.

    Args:
        keys: all keys and groups.
        visitor: who makes or changes one. What it may not choose is for the registry to refuse.
        served: the models that servers have; of some of them only the operator may know.
    """
    principal = visitor.principal
    known = served if principal.models is None and visitor.is_operator else principal.models or ()
    return {
        "roles": _ROLES if visitor.is_admin else _ROLES[:1],
        "groups": [("", "No group"), *((group.name, group.name) for group in keys.list_groups(principal))],
        "suggested": sorted(known)[:_MODELS_SUGGESTED],
        "limit_labels": LIMIT_LABELS,
    }


async def _used(
    usage: Usage, principal: Principal, key_ids: Sequence[str], now: datetime
) -> dict[str, UsageSums] | None:
    if not key_ids:
        return {}
    try:
        report = await usage.report(principal, _query(GroupBy.KEY, principal, key_ids, now))
    except Unavailable:
        return None
    return {line.id: line.sums for line in report.lines}


def _query(group_by: GroupBy, principal: Principal, key_ids: Sequence[str], now: datetime) -> UsageQuery:
    hour = now.replace(minute=0, second=0, microsecond=0)
    span = Span(hour - timedelta(days=DAYS_LOOKED_BACK), hour + timedelta(hours=1))
    side = Side.USED if principal.role is Role.OWNER else None
    return UsageQuery(group_by, span, {GroupBy.KEY: frozenset(key_ids)}, side)


def bars_of(own: OwnUsage | None) -> list[LimitView]:
    """The limits of a key, the fullest first."""
    if own is None:
        return []
    return sorted(own.limits, key=lambda one: one.remaining / one.limit if one.limit else 0)
