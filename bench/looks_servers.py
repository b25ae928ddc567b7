"""What do the live rows of the servers cost, and the page that lists them?"""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request

from app.routers.dashboard.server_rows import ServerRows, servers_topic
from app.routers.dashboard.servers import ServerQuery, show_servers
from app.routers.dashboard.visitors import Visitor
from app.routers.deps import Gateway, Phase
from app.services.core.checks.health import CheckRecord, HealthState, Thresholds
from app.services.core.keys import KeyRing
from app.services.core.live.board import Board
from app.services.core.signals import Signals
from app.services.core.types import Endpoint, HealthStatus, Inspection, ModelEntry
from app.services.feed import Feed
from app.services.registry.book import HISTORY_LENGTH, HealthBook
from app.services.registry.people.sessions import Session
from app.services.registry.records import Hold, ServerRecord
from app.services.registry.terms import OPERATOR_ALONE
from bench.looks_timing import ROUNDS, least_milliseconds, tell

_CHANGED: Final = 100
_PAUSED_EVERY: Final = 10
_CHECK_SECONDS: Final = 10
_PORT: Final = 8000
_RING: Final = KeyRing.with_admin("the-operators-own-key")
_OPERATOR: Final = next(iter(_RING.principals.values()))
_PASSED: Final = Inspection(None, "", latency_ms=3.0)
_MODELS: Final = (ModelEntry("llama-3-8b", "llama-3-8b", 8192), ModelEntry("qwen-2-7b", "qwen-2-7b"))


async def servers(count: int) -> None:
    """Measure and print."""
    gateway = _gateway(count)
    _rows(gateway)
    _turn(gateway)
    await _page(gateway)


def _gateway(count: int) -> Gateway:
    """Make services of so many servers, all of them checked a hundred times, every tenth of them paused."""
    now, draw = datetime.now(UTC), random.Random(7)
    records = {record.id: record for record in (_record(number, now) for number in range(count))}
    board, book = Board(), HealthBook(_NoStore(), Thresholds(), lambda: None)
    healthy = HealthState(HealthStatus.HEALTHY, last_checked_at=now, last_transition_at=now)
    book.load(dict.fromkeys(records, healthy), {server_id: _history(now, draw) for server_id in records})
    signals = {server_id: Signals(running=1, waiting=0, places=4) for server_id in records}
    others: dict[str, Any] = {"prober": None, "database": None}
    return Gateway(
        registry=_as_any(SimpleNamespace(servers=records, owners=OPERATOR_ALONE)),
        book=book,
        key_ring=_RING,
        plane=_as_any(SimpleNamespace(board=board)),
        said=_as_any(SimpleNamespace(signals=signals.__getitem__)),
        render_metrics=bytes,
        version="",
        phase=Phase.READY,
        **others,
    )


def _as_any(part: object) -> Any:
    """Take the place of a service, of which pages of servers need but a part."""
    return part


def _record(number: int, now: datetime) -> ServerRecord:
    high, low = divmod(number, 256)
    record = ServerRecord(
        f"{number:08d}-0000-4000-8000-000000000000",
        Endpoint("http", f"10.0.{high % 256}.{low}", _PORT + high // 256),
        _MODELS,
        now,
        now,
        owner=_OPERATOR.key_id,
        metadata={"owner": "alice", "description": "a machine under a desk"},
    )
    paused = Hold(active=True, reason="it moves to another desk", until=now + timedelta(hours=1))
    return replace(record, paused=paused) if number % _PAUSED_EVERY == 0 else record


def _history(now: datetime, draw: random.Random) -> list[CheckRecord]:
    """Make a server's checks, newest first."""
    return [
        CheckRecord(now - timedelta(seconds=_CHECK_SECONDS * ago), ok=True, reason="", latency_ms=draw.uniform(1, 20))
        for ago in range(HISTORY_LENGTH)
    ]


class _NoStore:
    """Stands where the health would be stored; nothing is."""

    async def save_health(self, _states: object, _records: object) -> None:
        """Nothing."""


# -- live rows


def _rows(gateway: Gateway) -> None:
    ids = list(gateway.registry.servers)
    topic = servers_topic(gateway)
    live = topic(_OPERATOR)

    def check_some() -> None:
        for server_id in ids[:_CHANGED]:
            gateway.book.record(server_id, _PASSED, gateway.now())

    name = f"live rows of {len(ids):,} servers"
    tell(f"{name}, nothing changed", least_milliseconds(lambda: topic(_OPERATOR)), "ms")
    tell(f"{name}, {min(_CHANGED, len(ids))} changed", least_milliseconds(lambda: topic(_OPERATOR), check_some), "ms")
    tell(f"{name}, all of them new", least_milliseconds(lambda: ServerRows(gateway).of(_OPERATOR)), "ms")
    tell("encoding all of them as JSON", least_milliseconds(lambda: _encoded(live)), "ms")
    tell("their size", sum(map(len, _encoded(live).values())) / 1000, "kB")


def _encoded(live: dict[str, Any]) -> dict[str, bytes]:
    return {server_id: msgspec.json.encode(row) for server_id, row in live.items()}


def _turn(gateway: Gateway) -> None:
    """Measure what the feed does once a second while a page is open: rows, encoding and comparing."""
    feed = Feed()
    feed.topics["servers"] = servers_topic(gateway)
    page = feed.subscribe(lambda: _OPERATOR, _OPERATOR.key_id, ["servers"])
    feed.turn()
    tell("a turn of the feed, nothing changed (rows, JSON, comparing)", least_milliseconds(feed.turn), "ms")
    page.close()


# -- the list


async def _page(gateway: Gateway) -> None:
    app = FastAPI()
    session = Session(_OPERATOR, "", b"", gateway.now() + timedelta(days=1), deque())
    visitor, request = Visitor(_OPERATOR, session), _asked(app)
    best, size = float("inf"), 0
    for _round in range(ROUNDS):
        began = time.process_time()
        answer = await show_servers(request, visitor, gateway, ServerQuery())
        best = min(best, time.process_time() - began)
        size = len(answer.body)
    count = len(gateway.registry.servers)
    tell(f"/ui/servers with {count:,} servers, chosen, sorted and rendered (processor)", best * 1000, "ms")
    tell("its HTML", size / 1000, "kB")


def _asked(app: FastAPI) -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": "/ui/servers",
            "query_string": b"",
            "headers": [],
            "server": ("gateway", 80),
            "app": app,
        }
    )
