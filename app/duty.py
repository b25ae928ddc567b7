"""Which of two processes is on duty while one replaces the other: checks the servers, and writes the database?

One at a time. The other serves requests all the same, from memory: a replacement that starts takes the duty over, and
if it fails, the process that was there takes it back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from app.utils.database_errors import DatabaseInUse, DatabaseUnusable
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.services.registry.book import HealthBook
    from app.utils.database import Database

__all__ = ["Duty"]

logger = get_logger("gateway")

_RETRY_SECONDS: Final = 0.5
_MOVED: Final = "Another process of this gateway has the database now. Send the request again, on a new connection."


class Duty:
    """The checks and the database of this process.

    Args:
        database: open.
        book: what checks find; written for the last time when the duty is lent.
        start_checks: starts the checks of all servers as a task.
    """

    __slots__ = ("_book", "_checks", "_database", "_start_checks")

    def __init__(self, database: Database, book: HealthBook, start_checks: Callable[[], asyncio.Task[None]]) -> None:
        self._database = database
        self._book = book
        self._start_checks = start_checks
        self._checks = start_checks()

    async def lend(self) -> None:
        """Stop the checks, write what they found, and close the database; what wants to write meanwhile waits.

        Raises:
            StorageUnavailable: a transaction takes too long; the duty stays here.
        """
        self._checks.cancel()
        await asyncio.wait({self._checks})
        try:
            await self._book.flush()
            await self._database.lend()
        except BaseException:
            self._checks = self._start_checks()
            raise

    async def take_back(self) -> None:
        """Go on with the checks at once, and with the database as soon as the other process has let go of it."""
        self._checks = self._start_checks()
        told = False
        while True:
            try:
                await self._database.take_back()
            except DatabaseInUse as error:
                if not told:
                    logger.error("The database is still held by the process that failed", reason=str(error))  # noqa: TRY400 - no bug of ours: the reason says it all
                told = True
                await asyncio.sleep(_RETRY_SECONDS)
            except DatabaseUnusable as error:
                logger.error("The database can't be used any more; inference goes on", reason=str(error))  # noqa: TRY400 - as above
                self._database.give_away(str(error))
                return
            else:
                return

    def give_away(self) -> None:
        """The other process has it for good."""
        self._database.give_away(_MOVED)
