"""Does a file that an earlier release wrote come up to this schema with all that it held, and back again?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from app.services.core.continuation.ability import Ability, Rung
from app.services.core.types import HealthStatus
from app.services.registry.records import Finding
from app.services.registry.tables import SCHEMA_VERSION
from tests.fakes.migrated import MIGRATIONS
from tests.fakes.registry import START, registry_world

WRITTEN_BY_0001 = Path(__file__).with_name("gateway_v1.sql")
PAUSED, OTHER = "8a6a4429-ddfe-45ac-9cba-60576f75d7c7", "f2a3ae03-083e-4335-9411-a8a70fa4392d"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "gateway.db")) as connection:
        connection.executescript(WRITTEN_BY_0001.read_text())
        connection.execute("PRAGMA journal_mode=WAL")
    return tmp_path


async def test_a_file_of_the_first_schema_is_upgraded_at_the_start_with_all_that_it_held(folder):
    async with registry_world(folder) as world:
        paused, other = world.registry.servers.values()
        assert (paused.id, paused.api_key, paused.paused.reason) == (PAUSED, "sk-lab-4711", "moving house")
        assert [model.upstream_name for model in other.models] == ["a", "b"]
        assert world.book.state(OTHER).status is HealthStatus.HEALTHY
        assert [check.reason for check in world.book.history(OTHER)] == ["connection refused", ""]
        assert world.registry.findings(PAUSED) == {}
        await world.registry.keep_finding(PAUSED, "llama-3-8b", Finding(Ability(chat=Rung.FLAGS), START))
    with closing(sqlite3.connect(folder / "gateway.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert connection.execute("SELECT server_id, chat FROM continuation_findings").fetchall() == [
            (PAUSED, "continue_final_message")
        ]


async def test_the_file_as_it_was_lies_beside_it(folder):
    async with registry_world(folder):
        (kept,) = folder.glob("gateway.db.before-*.bak")
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
        assert connection.execute("SELECT count(*) FROM model_servers").fetchone() == (3,)


async def test_the_second_schema_can_be_taken_back_to_the_first(folder):
    path = folder / "gateway.db"
    before = _schema(path)
    async with registry_world(folder) as world:
        await world.registry.keep_finding(PAUSED, "llama-3-8b", Finding(Ability(chat=Rung.FLAGS), START))
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        config = MIGRATIONS.config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    assert _schema(path) == before
    async with registry_world(folder) as world:
        assert set(world.registry.servers) == {PAUSED, OTHER}
        assert world.registry.findings(PAUSED) == {}


def _schema(path: Path) -> tuple[int, set[str]]:
    with closing(sqlite3.connect(path)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        rows = connection.execute("SELECT name FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    return version, {name for (name,) in rows}
