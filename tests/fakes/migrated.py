"""An empty database of the newest schema, without migrating each time: thousands of tests begin with one."""

from __future__ import annotations

import asyncio
import tempfile
from functools import cache
from pathlib import Path
from threading import Thread

import app.services.registry
from app.services.registry.tables import metadata
from app.utils.database import Database, Migrations

MIGRATIONS = Migrations(Path(app.services.registry.__file__).parent / "migrations", metadata)
NAME = "gateway.db"


@cache
def _empty() -> bytes:
    """What the migrations make of no file; once for all tests of this process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME

        async def migrate() -> None:
            await (await Database.open(f"sqlite:///{path}", MIGRATIONS)).close()

        migrating = Thread(target=lambda: asyncio.run(migrate()))  # a loop runs in this one
        migrating.start()
        migrating.join()
        return path.read_bytes()


def put_database(folder: Path) -> None:
    """Let a folder have an empty database, where it has none."""
    path = folder / NAME
    if not path.exists():
        path.write_bytes(_empty())


async def opened_database(folder: Path) -> Database:
    """Open the database of a folder; opening it again is a restart."""
    put_database(folder)
    return await Database.open(f"sqlite:///{folder / NAME}", MIGRATIONS)
