"""Whose turn is it with the database file: this process's, or that of the one which replaces it?

One process at a time writes (``database`` says why). While the file is lent to a replacement that is starting, callers
wait; when it was given away, or does not come back in time, they are refused and may try again.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.services.core.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["FileTurn"]

_RETRY_AFTER_SECONDS = 1
_LENT = "The database is being handed to the process that replaces this one. Send the request again in a second."
_BUSY = "The database can't be handed over: a transaction takes longer than {seconds:g} s."


class FileTurn:
    """A gate in front of the file. It belongs to one event loop.

    Args:
        timeout_seconds: how long a caller waits for the file to come back, and a handover for running transactions.
    """

    __slots__ = ("_back", "_idle", "_refusal", "_timeout_seconds", "_users", "lent")

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._users = 0
        self._idle = asyncio.Event()
        self._back = asyncio.Event()
        self._refusal = ""
        self.lent = False
        """Whether another process has the file, for a while or for good."""

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Use the file inside this block; wait for it first where it is lent.

        Raises:
            StorageUnavailable: it was given away, or did not come back in time.
        """
        if self.lent:
            await self._until_back()
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._idle.set()

    async def lend(self) -> None:
        """Let nobody in any more, and wait until the last user has left.

        Raises:
            StorageUnavailable: one stayed too long; all may go on.
        """
        self.lent = True
        self._back.clear()
        self._idle.clear()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while self._users:
                    await self._idle.wait()
                    self._idle.clear()
        except BaseException as error:
            self.come_back()
            if isinstance(error, TimeoutError):
                raise StorageUnavailable(_BUSY.format(seconds=self._timeout_seconds)) from error
            raise

    def come_back(self) -> None:
        """The file is ours again."""
        self.lent = False
        self._back.set()

    def give_away(self, refusal: str) -> None:
        """It will not come back: callers are refused with these words."""
        self._refusal = refusal
        self._back.set()

    async def _until_back(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while self.lent and not self._refusal:
                    await self._back.wait()
        except TimeoutError as error:
            raise StorageUnavailable(_LENT, retry_after_seconds=_RETRY_AFTER_SECONDS) from error
        if self.lent:
            raise StorageUnavailable(self._refusal, retry_after_seconds=_RETRY_AFTER_SECONDS)
