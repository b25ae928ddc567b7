"""What becomes of use that could not be written by the process that counted it? It lies in a file until one can.

A process whose database has gone to its replacement still finishes its streams; so does one whose database fails. At
its end it leaves what it counted in the data folder, and whichever process has the database takes it in. A file is
removed before what it holds is counted: a kill in between loses it, but nothing is ever counted twice.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import msgspec

from app.services.core.reporting.use import Use, UseKey
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["UsageSpool"]

_NAMES: Final = "usage-*.json"
_MODE: Final = 0o600

logger = get_logger(__name__)


class _Row(msgspec.Struct):
    """One row as it is written."""

    key: UseKey
    sums: dict[str, int | float]


_decode = msgspec.json.Decoder(list[_Row]).decode


class UsageSpool:
    """The files of one data folder. Its methods block: they belong into a thread.

    Args:
        folder: where they are; made when something is left in it.
    """

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def leave(self, rows: Mapping[UseKey, Use]) -> None:
        """Leave rows to whoever has the database.

        Raises:
            OSError: they could not be written.
        """
        told = [_Row(key, {name: getattr(use, name) for name in Use.__slots__}) for key, use in rows.items()]
        path = self._folder / f"usage-{uuid4().hex}.json"
        unfinished = path.with_suffix(".part")
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(told))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)

    def collect(self) -> list[dict[UseKey, Use]]:
        """Take what others left. What can't be read is logged and put aside."""
        return [rows for path in sorted(self._folder.glob(_NAMES)) if (rows := _taken(path)) is not None]


def _taken(path: Path) -> dict[UseKey, Use] | None:
    """Read a file and remove it; None where it can't be, or where another process was faster."""
    try:
        rows = _read(path.read_bytes())
        path.unlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("Use that another process left stays where it is", file=path.name, reason=error.strerror)
        return None
    except (msgspec.MsgspecError, ValueError) as error:
        logger.warning(
            "Use that another process left can't be read and is put aside", file=path.name, reason=str(error)
        )
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(".unreadable"))
        return None
    return rows


def _read(data: bytes) -> dict[UseKey, Use]:
    rows = {}
    for row in _decode(data):
        use = rows[row.key] = Use()
        for name in Use.__slots__:
            setattr(use, name, row.sums.get(name, 0))
    return rows
