"""Every state that a database file can be found in at the start."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app.utils.database import DatabaseTooNew, DatabaseUnusable, Migrations, verify
from app.utils.database_migrations import migrate
from tests.unit.utils.schemas import write_migration

pytestmark = pytest.mark.usefixtures("empty_directory")
FILE = Path("gateway.db")


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_no_file(first_schema: Migrations):
    assert migrate(FILE, first_schema) == "0001"
    assert rows(FILE, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert rows(FILE, "SELECT * FROM things") == []
    assert rows(FILE, "PRAGMA journal_mode") == [("wal",)]


def test_an_empty_file(first_schema: Migrations):
    FILE.touch()
    assert migrate(FILE, first_schema) == "0001"


def test_the_present_schema_is_left_alone(first_schema: Migrations):
    migrate(FILE, first_schema)
    before = FILE.read_bytes()
    assert migrate(FILE, first_schema) == "0001"
    assert FILE.read_bytes() == before
    assert not list(Path().glob("*.bak"))


def test_an_older_schema_is_backed_up_and_upgraded(first_schema: Migrations):
    migrate(FILE, first_schema)
    change(FILE, "INSERT INTO things (name) VALUES ('kept')")
    write_migration(first_schema.folder, "0002", "0001", "op.add_column('things', sa.Column('size', sa.Integer()))")
    assert migrate(FILE, first_schema) == "0002"
    assert rows(FILE, "SELECT name, size FROM things") == [("kept", None)]
    backup = Path("gateway.db.before-0002.bak")
    assert verify(backup) == "0001"
    assert rows(backup, "SELECT * FROM things") == [(1, "kept")]


def test_a_table_rebuilt_keeps_what_refers_to_it(first_schema: Migrations):
    migrate(FILE, first_schema)
    change(FILE, "CREATE TABLE parts (thing INTEGER NOT NULL REFERENCES things (id) ON DELETE CASCADE)")
    change(FILE, "INSERT INTO things (name) VALUES ('kept')")
    change(FILE, "INSERT INTO parts VALUES (1)")
    column = "sa.Column('size', sa.Integer())"
    rebuild = f"with op.batch_alter_table('things', recreate='always') as batch: batch.add_column({column})"
    write_migration(first_schema.folder, "0002", "0001", rebuild)
    migrate(FILE, first_schema)
    assert rows(FILE, "SELECT * FROM parts") == [(1,)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(first_schema: Migrations):
    migrate(FILE, first_schema)
    failing = "op.create_table('half', sa.Column('id', sa.Integer()))\n    op.execute('SELECT * FROM no_such_table')"
    write_migration(first_schema.folder, "0002", "0001", failing)
    with pytest.raises(DatabaseUnusable, match=r"gateway\.db"):
        migrate(FILE, first_schema)
    assert rows(FILE, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert rows(FILE, "SELECT name FROM sqlite_schema WHERE name = 'half'") == []


def test_a_migration_that_breaks_references_is_undone(first_schema: Migrations):
    migrate(FILE, first_schema)
    change(FILE, "CREATE TABLE parts (thing INTEGER NOT NULL REFERENCES things (id))")
    change(FILE, "INSERT INTO things (name) VALUES ('needed')")
    change(FILE, "INSERT INTO parts VALUES (1)")
    write_migration(first_schema.folder, "0002", "0001", "op.execute('DELETE FROM things')")
    with pytest.raises(DatabaseUnusable, match="row of table 'parts'"):
        migrate(FILE, first_schema)
    assert rows(FILE, "SELECT name FROM things") == [("needed",)]


def test_a_newer_schema_is_refused_and_left_alone(first_schema: Migrations):
    migrate(FILE, first_schema)
    change(FILE, "UPDATE alembic_version SET version_num = '0099'")
    before = FILE.read_bytes()
    with pytest.raises(DatabaseTooNew) as caught:
        migrate(FILE, first_schema)
    message = str(caught.value)
    assert "'0099'" in message
    assert "'0001'" in message
    assert "multiverse restore" in message
    assert FILE.read_bytes() == before


@pytest.mark.parametrize("content", [b"this is no database at all, but it is long enough" * 40, b"short"])
def test_no_database(first_schema: Migrations, content: bytes):
    FILE.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match=r"gateway\.db.*no SQLite database"):
        migrate(FILE, first_schema)
    assert FILE.read_bytes() == content


def test_a_damaged_database(first_schema: Migrations):
    migrate(FILE, first_schema)
    change(FILE, f"INSERT INTO things (name) VALUES ('{'x' * 50_000}')")
    change(FILE, "PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(FILE.read_bytes())
    content[4096:12288] = b"\xa5" * 8192
    FILE.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match="damaged"):
        migrate(FILE, first_schema)


def test_the_database_of_another_program(first_schema: Migrations):
    change(FILE, "CREATE TABLE customers (name TEXT)")
    with pytest.raises(DatabaseUnusable, match="another program"):
        migrate(FILE, first_schema)


def test_a_folder_where_the_file_should_be(first_schema: Migrations):
    FILE.mkdir()
    with pytest.raises(DatabaseUnusable, match=r"gateway\.db"):
        migrate(FILE, first_schema)


def test_no_migrations(first_schema: Migrations):
    (first_schema.folder / "versions" / "v0001.py").unlink()
    with pytest.raises(DatabaseUnusable, match="Install the gateway again"):
        migrate(FILE, first_schema)


def test_logging_is_left_alone(first_schema: Migrations, fresh_logging: logging.Logger):
    handlers = list(fresh_logging.handlers)
    level = fresh_logging.level
    migrate(FILE, first_schema)
    assert (fresh_logging.handlers, fresh_logging.level) == (handlers, level)
    assert not logging.getLogger("app.utils.logger").disabled
