"""Which addresses does a name have right now?

Nothing is cached: each dial resolves again, and each answer is judged again. Questions for the same name that are asked
while one is under way share its answer, so that a name whose server hangs holds one thread and not the whole pool.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Resolver", "SystemResolver"]

_THREADS = 16


class Resolver(Protocol):
    """Turns a name into addresses. Its caller sets the deadline."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """All addresses of ``host`` as IP literals, best first.

        Raises:
            OSError: there are none; ``socket.gaierror`` where the name is at fault.
            ConnectFailed: the same, translated already.
        """


class SystemResolver:
    """Asks the operating system (hosts file, search domains, DNS), in threads of its own."""

    __slots__ = ("_closed", "_threads", "_under_way")

    def __init__(self) -> None:
        self._closed = True
        self.open()

    def open(self) -> None:
        """Take questions again after ``close``, perhaps in another event loop. An open one stays as it is."""
        if not self._closed:
            return
        # Threads of our own: the loop's default pool serves others too, and an unanswered question lasts 10 s or more.
        # They start with the first questions.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolver")
        self._under_way: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._closed = False

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """All addresses of ``host``, in the system's order of preference (RFC 6724)."""
        question = self._under_way.get(host)
        if question is None:
            question = asyncio.get_running_loop().run_in_executor(self._threads, _ask, host, port)
            self._under_way[host] = question
            question.add_done_callback(lambda answered: self._forget(host, answered))
        return await asyncio.shield(question)

    def close(self) -> None:
        """Take no more questions until ``open``. Threads that still wait for an answer end by themselves."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _forget(self, host: str, answered: asyncio.Future[tuple[str, ...]]) -> None:
        if self._under_way.get(host) is answered:
            del self._under_way[host]
        if not answered.cancelled():
            answered.exception()  # all who asked may have left; asyncio would report the error as never retrieved


def _ask(host: str, port: int) -> tuple[str, ...]:
    # Octets, for a str would go through Python's IDNA codec, which refuses names that DNS has.
    answers = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return tuple(dict.fromkeys(str(address[0]) for _family, _type, _protocol, _name, address in answers))
