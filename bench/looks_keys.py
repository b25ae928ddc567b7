"""What does it cost to list keys over HTTP, and for how long does nothing else have a turn meanwhile?

The whole application answers but for the socket: it is called as a server calls it, with keys in a database file.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec

import app.services.registry
from app.routers.api import create_api
from app.routers.deps import Gateway, Phase
from app.services.core.keys import KeyRing
from app.services.registry.people.keys import Keys
from app.services.registry.people.listing import MAX_PAGE_KEYS
from app.services.registry.people.records import KeySpec
from app.services.registry.people.store import PeopleStore
from app.services.registry.tables import metadata
from app.utils.database import Database, Migrations
from bench.looks_timing import EACH_TURN, least_beside_the_loop, tell

if TYPE_CHECKING:
    from fastapi import FastAPI

_ROUNDS: Final = 5
_AT_ONCE: Final = 5000
_OPERATORS_KEY: Final = "the-operators-own-key"
_MIGRATIONS: Final = Migrations(Path(app.services.registry.__file__).parent / "migrations", metadata)


async def keys(folder: Path, count: int) -> None:
    """Measure and print."""
    database = await Database.open(f"sqlite:///{folder / 'gateway.db'}", _MIGRATIONS)
    try:
        application = await _application(database, count)
        first = f"GET /admin/keys with {count:,} keys, a page of {min(count, MAX_PAGE_KEYS):,}"
        await _measure(application, first, {}, min(count, MAX_PAGE_KEYS))
        one = {"q": f"person-{count - 1}@example.org"}
        await _measure(application, f"GET /admin/keys with {count:,} keys, one of them searched for", one, 1)
    finally:
        await database.close()


async def _application(database: Database, count: int) -> FastAPI:
    """Make the application, with so many keys of so many people."""
    ring = KeyRing.with_admin(_OPERATORS_KEY)
    operator = next(iter(ring.principals.values()))
    made = Keys(PeopleStore(database), ring, lambda: datetime.now(UTC), lambda _ring, _rules: None, os.urandom)
    await made.load()
    specs = [KeySpec(f"key number {number}", person=f"person-{number}@example.org") for number in range(count)]
    for start in range(0, count, _AT_ONCE):
        await made.create_all(operator, specs[start : start + _AT_ONCE])
    application = create_api("0")
    others: dict[str, Any] = {"registry": None, "book": None, "prober": None, "plane": None}
    application.state.keys = made
    application.state.gateway = Gateway(
        database=database, key_ring=made.ring, render_metrics=bytes, version="0", phase=Phase.READY, **others
    )
    return application


async def _measure(application: FastAPI, name: str, query: dict[str, str], expected: int) -> None:
    """Measure and print a request.

    Raises:
        AssertionError: the answer is not that.
    """
    body = await _answer(application, query)
    assert len(msgspec.json.decode(body)["keys"]) == expected, body[:200]
    took, held = await least_beside_the_loop(lambda: _answer(application, query), EACH_TURN, _ROUNDS)
    tell(name, took, "ms")
    tell("    for so long at most nothing else had a turn", held, "ms")


async def _answer(application: FastAPI, query: dict[str, str]) -> bytes:
    """Ask for keys as a server hands it on (ASGI 3), and return the body."""
    body = bytearray()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        body.extend(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/admin/keys",
        "raw_path": b"/admin/keys",
        "query_string": urlencode(query).encode(),
        "root_path": "",
        "headers": [(b"host", b"gateway"), (b"x-api-key", _OPERATORS_KEY.encode())],
        "client": ("192.0.2.7", 1234),
        "server": ("gateway", 80),
    }
    await application(scope, receive, send)
    return bytes(body)
