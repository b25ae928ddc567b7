"""Which of two processes is on duty while one replaces the other: writes the database, and checks the servers?

One at a time has the database. The other serves requests all the same, from memory: a replacement that starts takes the
duty over, and if it fails, the process that was there takes it back. Until the replacement serves, both check: to open
a large database takes long, and what the old process routes by must not grow stale meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from app.services.core.errors import StorageUnavailable
from app.utils.database_errors import DatabaseInUse, DatabaseUnusable
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from app.services.registry.book import HealthBook
    from app.utils.database import Database

__all__ = ["Duty", "Flushes", "Servers"]

logger = get_logger("gateway")

_RETRY_SECONDS: Final = 0.5
_MOVED: Final = "Another process of this gateway has the database now. Send the request again, on a new connection."


class Servers(Protocol):
    """What is registered; ``registry.service.Registry`` is the one."""

    @property
    def servers(self) -> Mapping[str, object]:
        """All servers by id."""

    async def load(self) -> None:
        """Take over what the database knows, and tell routing."""


class Flushes(Protocol):
    """What is written in batches; ``accounts.Accounts``."""

    async def flush(self) -> None:
        """Write what waits; never raises for the database's sake."""


class Duty:
    """The checks and the database of this process.

    Args:
        database: open.
        book: what checks find; kept in memory while the database is lent.
        start_checks: starts the checks of all servers as a task.
        registry: read again when the database comes back.
        accounts: use and limits, kept in memory while the database is lent.
        write_rest: writes what else waits, before the database is lent.
    """

    __slots__ = ("_accounts", "_book", "_checks", "_database", "_registry", "_write_rest")

    def __init__(
        self,
        database: Database,
        book: HealthBook,
        start_checks: Callable[[], asyncio.Task[None]],
        registry: Servers,
        accounts: Flushes,
        write_rest: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._accounts = accounts
        self._database = database
        self._book = book
        self._registry = registry
        self._write_rest = write_rest
        self._checks = start_checks()

    async def lend(self) -> None:
        """Write what was found and used, and close the database. The checks go on; what wants to write waits.

        Raises:
            StorageUnavailable: a transaction takes too long; the duty stays here.
        """
        await self._book.flush()
        await self._accounts.flush()
        if self._write_rest is not None:
            await self._write_rest()
        await self._database.lend()

    async def take_back(self) -> None:
        """Go on with the database as soon as the other process has let go of it, and with what that one stored."""
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
                await self._read_again()
                return

    def give_away(self) -> None:
        """The other process has it for good, and checks alone."""
        self._checks.cancel()
        self._database.give_away(_MOVED)

    async def _read_again(self) -> None:
        """Take over what the other process stored: to whoever registered a server there, it said that this is done."""
        await self._book.flush()  # or the older health in the file would win over what was found since
        before = self._registry.servers
        try:
            await self._registry.load()
        except StorageUnavailable as error:
            logger.error(  # noqa: TRY400 - as above
                "The servers could not be read again: changes that were made while another process had the database "
                "are not seen here. Run `multiverse serve --replace` once it answers.",
                reason=error.message,
            )
            return
        for server_id in before.keys() - self._registry.servers.keys():
            self._book.forget(server_id)
