"""Logging is the process's own: put it back after each test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from sqlalchemy import MetaData

from app.utils.database import Migrations
from app.utils.log_sinks import ConsoleSink, FileSink
from tests.unit.utils.schemas import FIRST, write_migration


@pytest.fixture
def fresh_logging() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    for handler in [handler for handler in root.handlers if isinstance(handler, ConsoleSink | FileSink)]:
        root.removeHandler(handler)  # what a gateway of another test set up
    yield root
    for handler in [handler for handler in root.handlers if handler not in before[1]]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(before[0])
    structlog.contextvars.clear_contextvars()
    logging.getLogger("uvicorn.access").propagate = True


@pytest.fixture
def first_schema(tmp_path: Path) -> Migrations:
    """Migrations with one step, outside the working directory's own files."""
    folder = tmp_path / "migrations"
    write_migration(folder, "0001", None, FIRST)
    return Migrations(folder, MetaData())
