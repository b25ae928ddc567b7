"""What is the gateway made of: which versions, and how large a database? It reads files: ask in a thread."""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from app import __version__
from app.services.registry.tables import SCHEMA_VERSION

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DatabaseFile", "database_file", "versions"]

_PACKAGES: Final = ("fastapi", "uvicorn", "uvloop", "httptools", "sqlalchemy", "pydantic", "cryptography")


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """The database as a file; sizes in bytes, None where it can't be looked at."""

    path: str
    size_bytes: int | None
    log_bytes: int | None
    free_bytes: int | None
    schema: int


@lru_cache(maxsize=1)
def versions() -> tuple[tuple[str, str], ...]:
    """Name what the gateway is made of and runs on."""
    packages = ((name, _version(name)) for name in _PACKAGES)
    return (
        ("Gateway", __version__),
        ("Python", f"{platform.python_version()} ({sys.implementation.name})"),
        ("SQLite", sqlite3.sqlite_version),
        *((name, found) for name, found in packages if found),
        ("System", f"{platform.system()} {platform.release()}, {platform.machine()}"),
    )


def database_file(path: Path) -> DatabaseFile:
    """Look at the database file."""
    return DatabaseFile(
        path=str(path.absolute()),
        size_bytes=_size(path),
        log_bytes=_size(path.with_name(f"{path.name}-wal")),
        free_bytes=_free(path.absolute().parent),
        schema=SCHEMA_VERSION,
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
