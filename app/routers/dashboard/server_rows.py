"""What does a page say of a server in one line? The rows of the list, and what of them changes by itself.

A row is a plain object that is made anew only where what it says has changed: pages ask for all of them once a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from app.routers.dashboard.server_standing import (
    STATES,
    caption_of,
    line_of,
    load_in_words,
    models_in_words,
    owner_of,
    picture_of,
    state_of,
    words_of,
)
from app.routers.dashboard.wording import milliseconds
from app.services.registry.access import sees, steers
from app.services.registry.records import reason_of
from app.services.server_state import HOLDS, is_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fastapi import FastAPI

    from app.routers.deps import Gateway
    from app.services.core.checks.health import CheckRecord, HealthState
    from app.services.core.keys import Principal
    from app.services.core.signals import Signals
    from app.services.registry.people.keys import Keys
    from app.services.registry.records import ServerRecord

__all__ = ["ServerRow", "ServerRows", "rows_of", "servers_topic"]


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One server, as a key may know it.

    ``owner`` names whoever lent it. ``live`` is what changes by itself, as JSON has it, moments in ISO 8601: ``state``
    (one word), ``words``,
    ``reason``, ``until`` (when the strongest hold ends), ``in_flight``, ``load`` (by the engine's own word),
    ``models``, ``latency`` and ``latency_ms`` (of the last good check), ``line`` and ``misses`` (paths of the small
    picture), ``trend`` (the picture in words), ``seen_at`` (the last good check) and ``checked_at``.
    """

    record: ServerRecord
    known: bool
    owner: str
    live: dict[str, Any]

    @property
    def id(self) -> str:
        """The server's id."""
        return self.record.id

    @property
    def caption(self) -> str:
        """What the server is called on pages."""
        return caption_of(self.record, known=self.known)

    @property
    def seen_at(self) -> datetime | None:
        """When it last answered a check well."""
        return _moment(self.live["seen_at"])

    @property
    def until(self) -> datetime | None:
        """When the strongest hold ends; None where there is none, or it lasts until it is lifted."""
        return _moment(self.live["until"])

    @property
    def description(self) -> str:
        """What its owner says of it; empty where it is called by that already, or nothing is said."""
        text = line_of(self.record.metadata.get("description"))
        return text if self.known else ""


class ServerRows:
    """The rows of all servers. Those that say the same as before are not made again.

    Args:
        gateway: the services.
        name_of: what a key is called, by its id; empty where that is not known. None: it may be given later.
    """

    __slots__ = ("_kept", "gateway", "name_of")

    def __init__(self, gateway: Gateway, name_of: Callable[[str], str] | None = None) -> None:
        self.gateway = gateway
        self.name_of = name_of
        self._kept: dict[tuple[str, bool], _Kept] = {}

    def of(self, principal: Principal) -> list[ServerRow]:
        """Return the rows that a key may see, oldest server first."""
        gateway, now = self.gateway, self.gateway.now()
        owners, servers = gateway.registry.owners, gateway.registry.servers
        if len(self._kept) > 2 * len(servers) + 2:
            self._kept = {key: kept for key, kept in self._kept.items() if key[0] in servers}
        rows = []
        for record in servers.values():
            known = steers(principal, record, owners)
            if known or sees(principal, record, owners):
                rows.append(self._row(record, now, known=known))
        return rows

    def one(self, record: ServerRecord, principal: Principal) -> ServerRow:
        """Return the row of one server that a key may see."""
        known = steers(principal, record, self.gateway.registry.owners)
        return self._row(record, self.gateway.now(), known=known)

    def _row(self, record: ServerRecord, now: datetime, *, known: bool) -> ServerRow:
        gateway, key = self.gateway, (record.id, known)
        health, signals = gateway.book.state(record.id), gateway.said.signals(record.id)
        in_flight = gateway.plane.board.in_flight(record.id)
        kept = self._kept.get(key)
        if kept is not None and kept.fits(record, health, signals, now):
            if kept.row.live["in_flight"] == in_flight:
                return kept.row
            live = {**kept.row.live, "in_flight": in_flight}
            expires_at = kept.expires_at
        else:
            live = _stands(record, health, now, known=known)
            live |= {"in_flight": in_flight, "load": load_in_words(signals), "models": models_in_words(record)}
            live |= _checked(health, gateway.book.history(record.id))
            expires_at = _holds_until(record, now)
        row = ServerRow(record, known, owner_of(record, self.name_of or _no_name if known else _no_name), live)
        self._kept[key] = _Kept(row, health, signals, expires_at)
        return row


@dataclass(frozen=True, slots=True)
class _Kept:
    """A row with what it was made of: as long as that is the same, so is the row."""

    row: ServerRow
    health: HealthState
    signals: Signals
    expires_at: datetime | None

    def fits(self, record: ServerRecord, health: HealthState, signals: Signals, now: datetime) -> bool:
        """Whether the row still holds. All of these are frozen, so the same object says the same."""
        return (
            self.row.record is record
            and self.health is health
            and self.signals is signals
            and (self.expires_at is None or now < self.expires_at)
        )


def rows_of(app: FastAPI, gateway: Gateway) -> ServerRows:
    """Return the rows that all pages share; they are made anew where the services were."""
    rows = getattr(app.state, "server_rows", None)
    if not isinstance(rows, ServerRows) or rows.gateway is not gateway:
        rows = app.state.server_rows = ServerRows(gateway)
    if rows.name_of is None:
        rows.name_of = _names_in(getattr(app.state, "keys", None))
    return rows


def _names_in(keys: Keys | None) -> Callable[[str], str]:
    """Say what keys are called; a key that is not in the database has no name but its id."""
    if keys is None:
        return _no_name

    def name_of(key_id: str) -> str:
        key = keys.records.get(key_id)
        return "" if key is None else key.name

    return name_of


def _no_name(_key_id: str) -> str:
    return ""


def servers_topic(
    gateway: Gateway,
    looked_at: Callable[[Iterable[str]], None] = lambda _server_ids: None,
    rows: ServerRows | None = None,
) -> Callable[[Principal], dict[str, Any]]:
    """Give the live topic of the servers.

    Args:
        gateway: the services.
        looked_at: told which servers a page shows, each time that it is asked for them (``Knocks.listed``).
        rows: the rows that pages are made of, to make none of them twice; None for others.
    """
    rows = rows or ServerRows(gateway)

    def topic(principal: Principal) -> dict[str, Any]:
        live = {row.record.id: row.live for row in rows.of(principal)}
        looked_at(live)
        return live

    return topic


def _stands(record: ServerRecord, health: HealthState, now: datetime, *, known: bool) -> dict[str, Any]:
    """Say whether a server takes work, and why not."""
    state = health.status.value
    if record.hours is None and not is_held(record) and not record.key_unreadable:
        return {"state": state, "words": STATES[state], "reason": health.reason if known else "", "until": ""}
    state = state_of(record, health, now)
    return {
        "state": state,
        "words": words_of(record, health, now),
        "reason": reason_of(record, health, now) if known else "",
        "until": _iso(getattr(record, state).until if state in HOLDS else None),
    }


def _checked(health: HealthState, history: Sequence[CheckRecord]) -> dict[str, Any]:
    """Say what the checks found."""
    good = next((check for check in history if check.ok), None)
    line, misses, trend = picture_of(history)
    return {
        "latency": milliseconds(None if good is None else good.latency_ms),
        "latency_ms": None if good is None else good.latency_ms,
        "line": line,
        "misses": misses,
        "trend": trend,
        "seen_at": _iso(None if good is None else good.checked_at),
        "checked_at": _iso(health.last_checked_at),
    }


def _holds_until(record: ServerRecord, now: datetime) -> datetime | None:
    """Say until when what is said of a server is true by itself. Hours begin and end at whole minutes."""
    ends = [hold.until for hold in record.holds.values() if hold.until is not None] if is_held(record) else []
    if record.hours is not None:
        ends.append(now.replace(second=0, microsecond=0) + timedelta(minutes=1))
    return min((end for end in ends if end > now), default=None)


def _iso(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="milliseconds")


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
