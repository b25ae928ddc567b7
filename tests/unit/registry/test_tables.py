"""Do schema and migrations agree, and do instants come back as they were?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st

from app.services.registry.tables import SCHEMA_VERSION, UtcDateTime, metadata
from tests.fakes.migrated import MIGRATIONS

DIALECT = sa.create_engine("sqlite://").dialect


def migrated(path, revision="head"):
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        config = MIGRATIONS.config()
        config.attributes["connection"] = connection
        if revision == "base":
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)
    return engine


def test_migrations_build_exactly_the_tables(tmp_path):
    engine = migrated(tmp_path / "gateway.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrations_build_the_same_statements_as_the_tables(tmp_path):
    """compare_metadata does not see conditions of indexes and cascades: the statements themselves must be alike."""
    by_migration = schema_of(migrated(tmp_path / "migrated.db"))
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'created.db'}", poolclass=sa.pool.NullPool)
    metadata.create_all(engine)
    assert by_migration == schema_of(engine)


def schema_of(engine):
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")).all()
    return {
        name: sorted(part.strip(" ,()\t") for part in statement.splitlines())
        for name, statement in rows
        if not name.startswith("alembic") and name != "sqlite_sequence"
    }


def test_a_database_says_its_schema_version(tmp_path):
    migrated(tmp_path / "gateway.db")
    with closing(sqlite3.connect(tmp_path / "gateway.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        indexes = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")}
    assert {
        "ix_model_servers_health_status",
        "ix_model_servers_deleted_at",
        "ix_model_servers_owner",
        "uq_model_servers_live_endpoint",
        "ix_server_models_name",
        "ix_health_checks_server_id_checked_at",
    } <= indexes


def test_the_migration_can_be_taken_back(tmp_path):
    migrated(tmp_path / "gateway.db")
    engine = migrated(tmp_path / "gateway.db", "base")
    assert sa.inspect(engine).get_table_names() == ["alembic_version"]


def test_migrations_without_a_connection_say_what_to_do():
    with pytest.raises(RuntimeError, match="start the gateway"):
        command.upgrade(MIGRATIONS.config(), "head")


@given(
    st.datetimes(allow_imaginary=False, timezones=st.just(UTC)).filter(lambda moment: 1 < moment.year < 9999),
    st.integers(-14 * 60, 14 * 60),
)
def test_instants_come_back_aware_and_equal(in_utc, offset_minutes):
    moment = in_utc.astimezone(timezone(timedelta(minutes=offset_minutes)))
    column = UtcDateTime()
    stored = column.process_bind_param(moment, DIALECT)
    back = column.process_result_value(stored, DIALECT)
    assert back == moment
    assert back.tzinfo == UTC
    assert len(stored) == 32


@given(st.lists(st.datetimes(timezones=st.just(UTC)), min_size=2))
def test_stored_instants_sort_by_time(moments):
    column = UtcDateTime()
    stored = {moment: column.process_bind_param(moment, DIALECT) for moment in moments}
    assert [stored[moment] for moment in sorted(moments)] == sorted(stored[moment] for moment in moments)


def test_an_instant_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        UtcDateTime().process_bind_param(datetime(2030, 1, 1), DIALECT)  # noqa: DTZ001 - that is the point
