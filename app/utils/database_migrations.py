"""How does a database file get the schema that this release knows? Once, at the start, before anything uses it.

========================  ==========================================================================
what is there             what happens
========================  ==========================================================================
no file, or an empty one  the schema is made
this release's schema     nothing
an older schema           the file is backed up beside itself, then upgraded in one transaction
an unknown schema         :class:`DatabaseTooNew`
tables, but not ours      :class:`DatabaseUnusable`
damaged, no database      :class:`DatabaseUnusable`
========================  ==========================================================================
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from app.utils.database_errors import DatabaseTooNew, DatabaseUnusable, unusable
from app.utils.database_files import backup_database, stored_revision
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine, MetaData

__all__ = ["Migrations", "migrate"]

logger = get_logger(__name__)

_CHECKED_AT_START_BYTES = 67_108_864
"""Files up to this size are checked for damage at each start; beyond it the check would take seconds."""


@dataclass(frozen=True, slots=True)
class Migrations:
    """Where the migrations are, and what they lead to.

    Args:
        folder: Alembic's script location, with ``env.py``, which takes its connection from ``config.attributes``.
        metadata: the tables of this release, for ``env.py``.
    """

    folder: Path
    metadata: MetaData

    def config(self) -> Config:
        """Give Alembic's configuration; there is no ``alembic.ini``, so logging is left alone."""
        config = Config()
        config.set_main_option("script_location", str(self.folder).replace("%", "%%"))
        config.attributes["target_metadata"] = self.metadata
        return config


def migrate(path: Path, migrations: Migrations) -> str:
    """Bring the file to this release's schema. It is the caller's alone meanwhile (:class:`DatabaseLock`).

    Returns:
        The revision that the file has now.

    Raises:
        DatabaseTooNew: a newer release wrote the file.
        DatabaseUnusable: it can't be used, for the reason in the message.
    """
    config = migrations.config()
    script = ScriptDirectory.from_config(config)
    head = script.get_current_head()
    if head is None:
        raise DatabaseUnusable(f"No migrations were found in {migrations.folder}. Install the gateway again.")
    current = _inspect(path)
    if current == head:
        return head
    if current is not None:
        _refuse_unknown(path, current, head, script)
        kept = path.with_name(f"{path.name}.before-{head}.bak")
        backup_database(path, kept)
        logger.info("The database was backed up before its schema is upgraded", backup=str(kept), revision=current)
    _upgrade(path, config)
    logger.info("The database has a new schema", file=str(path), before=current, revision=head)
    return head


def _inspect(path: Path) -> str | None:
    """Give the revision of an existing file; None for one that has no tables yet."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT, 0o600))  # its log gets the same mode from SQLite
        if path.stat().st_size == 0:
            return None
        with closing(sqlite3.connect(path)) as connection:
            others = "SELECT count(*) FROM sqlite_schema WHERE tbl_name != 'alembic_version'"  # empty after a downgrade
            tables = connection.execute(others).fetchone()[0]
            revision = stored_revision(connection)
            finding = "ok"
            if path.stat().st_size <= _CHECKED_AT_START_BYTES:
                finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except (sqlite3.Error, OSError) as error:
        raise unusable(path, error) from error
    if finding != "ok":
        raise DatabaseUnusable(
            f"The database file {path} is damaged ({finding}). Restore a backup with `multiverse restore`."
        )
    if tables and revision is None:
        raise DatabaseUnusable(
            f"The database file {path} holds tables of another program. "
            "Give the gateway a file of its own in DATABASE_URL."
        )
    return revision


def _refuse_unknown(path: Path, current: str, head: str, script: ScriptDirectory) -> None:
    try:
        script.get_revision(current)
    except CommandError as error:
        raise DatabaseTooNew(
            f"The database file {path} has schema revision '{current}', which this release does not know (it knows up "
            f"to '{head}'): a newer release wrote it. Start that release, or restore a backup made by this one with "
            "`multiverse restore`."
        ) from error


def _upgrade(path: Path, config: Config) -> None:
    """Run the migrations in one transaction: a process killed half-way leaves the file as it was."""
    engine = _engine(path)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            _refuse_broken_references(path, connection)
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise unusable(path, error.orig) from error
        raise
    finally:
        engine.dispose()


def _engine(path: Path) -> Engine:
    """Make an engine for migrations. Foreign keys are off: rebuilding a table would delete what refers to it."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)), poolclass=NullPool, connect_args={"isolation_level": None}
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def _refuse_broken_references(path: Path, connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchone()
    if broken is not None:
        raise DatabaseUnusable(
            f"The database file {path} was not upgraded: a row of table '{broken[0]}' refers to one that is missing. "
            "Restore a backup with `multiverse restore`."
        )
