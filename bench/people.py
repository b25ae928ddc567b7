"""What do keys, use and aliases cost? ``python -m bench.people`` prints microseconds and milliseconds.

What a request pays is measured in memory, each figure the least of many short runs. What an operator waits for is
measured on a database file with so many keys and rows of use; the file is made first and deleted at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sqlite3
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import app.services.registry
from app.services.core.answer.usage import Usage as Tokens
from app.services.core.choice.aliases import Alias, Target, lead
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.keys import KeyRing
from app.services.core.network.addresses import parse_endpoint
from app.services.core.people.principal import Limits
from app.services.core.queue.use import RecentUse
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.use import UseTally
from app.services.core.types import HealthStatus, ModelEntry, Server
from app.services.registry.accounting.usage import Usage
from app.services.registry.accounting.usage_query import GroupBy, Span, UsageQuery
from app.services.registry.accounting.usage_store import UsageStore
from app.services.registry.people.keys import Keys
from app.services.registry.people.records import KeySpec
from app.services.registry.people.store import PeopleStore
from app.services.registry.tables import metadata
from app.utils.database import Database, Migrations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

_ROUNDS: Final = 50
_CALLS: Final = 200
_DAYS: Final = 400
_END: Final = datetime(2030, 1, 1, tzinfo=UTC)
_MIGRATIONS: Final = Migrations(Path(app.services.registry.__file__).parent / "migrations", metadata)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.people", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", type=int, default=50_000, metavar="N", help="how many keys the file has (50,000)")
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="how many rows of use (a million)")
    options = parser.parse_args()
    _on_the_way()
    with tempfile.TemporaryDirectory(prefix="bench-people-") as folder:
        file = Path(folder) / "gateway.db"
        asyncio.run(_in_the_database(file, options.keys, options.rows))
        _print("the database with all of it", file.stat().st_size / 1e6, "MB")


def _print(what: str, figure: float, unit: str) -> None:
    print(f"{what:60} {figure:>10,.2f} {unit}", flush=True)


# -- what a request pays


def _on_the_way() -> None:
    use = RecentUse()
    _print("a person charged at the end of a request", _least(lambda: use.charge("person", 700)), "us")
    outcomes = [_outcome(number) for number in range(256)]
    tally, models = UseTally(), {"model"}
    servers: dict[str, Any] = {"server": _server("server", "model")}
    _print(
        "use added up, an outcome in batches of 256", _least(lambda: tally.count(outcomes, models, servers)) / 256, "us"
    )
    alias = Alias("fast", (Target("one", 3.0), Target("two")), (Target("three"),))
    snapshot = build_snapshot([_server(name, name) for name in ("one", "two", "three")], (), [alias])
    known, draw = snapshot.aliases["fast"], random.Random(7).random
    _print("where an alias with two targets and a fallback leads", _least(lambda: lead(known, 300, draw)), "us")


def _least(call: Callable[[], object]) -> float:
    """Return the microseconds of one call, of the fastest round."""
    best = float("inf")
    for _round in range(_ROUNDS):
        began = time.perf_counter_ns()
        for _call in range(_CALLS):
            call()
        best = min(best, (time.perf_counter_ns() - began) / _CALLS)
    return best / 1000


def _outcome(number: int) -> Outcome:
    return Outcome(
        request_id=f"{number:032x}",
        client="10.0.0.1",
        key_id=f"key-{number % 50}",
        path="/v1/chat/completions",
        model="model",
        server_id="server",
        status=200,
        error_code=None,
        stream=True,
        attempts=1,
        duration_seconds=0.5,
        first_token_seconds=0.1,
        usage=Tokens(300, 80),
        ended_at=1_900_000_000.0 + number / 100,
        person=f"key:key-{number % 50}",
        group="group",
    )


def _server(server_id: str, model: str) -> Server:
    endpoint = parse_endpoint(f"http://{server_id}.example:8000")
    return Server(server_id, endpoint, (ModelEntry(model, model),), health=HealthStatus.HEALTHY, owner="owner")


# -- what an operator waits for


async def _in_the_database(file: Path, key_count: int, row_count: int) -> None:
    database = await Database.open(f"sqlite:///{file}", _MIGRATIONS)
    try:
        await _keys(database, key_count)
        began = time.perf_counter()
        _fill(file, row_count)
        _print(f"(making {row_count:,} rows of use: seconds)", time.perf_counter() - began, "s")
        await _queries(database)
    finally:
        await database.close()


async def _keys(database: Database, count: int) -> None:
    ring = KeyRing.with_admin("the-operators-own-key")
    operator = next(iter(ring.principals.values()))
    keys = Keys(PeopleStore(database), ring, lambda: datetime.now(UTC), lambda _ring, _rules: None, os.urandom)
    await keys.load()
    specs = [KeySpec(name=f"key {number}", limits=Limits(60)) for number in range(count)]
    for start in range(0, count, 10_000):
        await keys.create_all(operator, specs[start : start + 10_000])
    anew = Keys(PeopleStore(database), ring, lambda: datetime.now(UTC), lambda _ring, _rules: None, os.urandom)
    _print(f"{count:,} keys read at a start", await _milliseconds(anew.load, 1), "ms")
    some = iter(list(anew.records)[:20])
    _print(
        "one of them revoked, on the disk and in the ring", await _milliseconds(_revoking(anew, operator, some)), "ms"
    )


def _revoking(keys: Keys, operator: Any, some: Iterator[str]) -> Callable[[], Awaitable[object]]:
    return lambda: keys.revoke(operator, next(some))


async def _milliseconds(call: Callable[[], Awaitable[object]], times: int = 5) -> float:
    """Return the milliseconds of the fastest call."""
    best = float("inf")
    for _time in range(times):
        began = time.perf_counter()
        await call()
        best = min(best, time.perf_counter() - began)
    return best * 1000


def _fill(file: Path, row_count: int) -> None:
    """Write use of 1,000 keys at 50 servers, spread evenly over 400 days."""
    hours = _DAYS * 24
    draw = random.Random(7)

    def rows() -> Iterator[tuple[object, ...]]:
        for hour in range(hours):
            at = (_END - timedelta(hours=hours - hour)).isoformat(timespec="microseconds")
            for pair in draw.sample(range(50_000), row_count // hours):
                key, server = divmod(pair, 50)
                key_id = f"{key:08d}-0000-4000-8000-000000000000"
                names = (at, key_id, f"key:{key_id}", f"group-{key % 20}", f"model-{server % 20}", f"server-{server}")
                yield (*names, f"owner-{server % 30}", 5, 0, 5000, 800, 0, 0, 12.5)

    with closing(sqlite3.connect(file)) as connection, connection:
        marks = ", ".join("?" * 14)
        connection.executemany(f"INSERT INTO usage_hours VALUES ({marks})", rows())  # noqa: S608 - marks alone


async def _queries(database: Database) -> None:
    usage = Usage(UsageStore(database), lambda: _END)
    operator = next(iter(KeyRing.with_admin("the-operators-own-key").principals.values()))
    for days in (_DAYS, 30):
        span = Span(_END - timedelta(days=days), _END)
        query = UsageQuery(GroupBy.KEY, span)
        _print(f"use by key over {days} days", await _milliseconds(lambda: usage.report(operator, query), 3), "ms")  # noqa: B023 - awaited at once
    _print("a key's own use", await _milliseconds(lambda: usage.own(operator), 3), "ms")


if __name__ == "__main__":
    main()
