"""A laptop with several models and memory for few: it loads them inside requests, one after the other.

All requests stand in one line. The first waits for its model, and those behind it wait too. What runs is finished
before its model makes room for another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.fakes.model_server import FakeModelServer, Seen, answer_chat, json_answer, until_gone

__all__ = ["Laptop"]


class Laptop(FakeModelServer):
    """``may_load``: a load takes as long as this is clear. ``load_error``: what a load fails of.

    ``loads`` names each model that was loaded, in order; ``served`` each that an answer was begun for;
    ``stood_in_line`` counts the requests that had to wait for another model's answers to end.
    """

    def __init__(self, models: Sequence[str] = ("a", "b"), *, room: int = 1, **fields: Any) -> None:
        super().__init__(models=list(models), **fields)
        self.room = room
        self.in_memory: list[str] = []
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.load_error: str | None = None
        self.loads: list[str] = []
        self.served: list[str] = []
        self.stood_in_line = 0
        self._answering: Counter[str] = Counter()
        self._changed = asyncio.Condition()
        self._line = asyncio.Lock()
        self.behaviours["*"] = _answer

    async def have(self, model: str) -> bool:
        """Have a model in memory, and take a place there. False: it could not be loaded."""
        async with self._line:
            if model not in self.in_memory:
                await self._make_room()
                self.loads.append(model)
                await self.may_load.wait()
                if self.load_error is not None:
                    return False
                self.in_memory.append(model)
            self.served.append(model)
            self._answering[model] += 1
            return True

    async def _make_room(self) -> None:
        while len(self.in_memory) >= self.room:
            idle = [name for name in self.in_memory if not self._answering[name]]
            if idle:
                self.in_memory.remove(idle[0])
                continue
            self.stood_in_line += 1
            async with self._changed:
                await self._changed.wait()

    async def leave(self, model: str) -> None:
        """An answer has ended."""
        self._answering[model] -= 1
        async with self._changed:
            self._changed.notify_all()


async def _answer(server: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
    assert isinstance(server, Laptop)
    if seen.method != "POST":
        data = [{"id": name, "object": "model", "owned_by": "library"} for name in server.models]
        writer.write(json_answer({"object": "list", "data": data}))
        return
    model = seen.json["model"]
    waits = asyncio.ensure_future(server.have(model))
    gone = asyncio.ensure_future(until_gone(server, writer))
    try:
        await asyncio.wait([waits, gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (waits, gone):
            if not task.done():
                task.cancel()
        await asyncio.gather(waits, gone, return_exceptions=True)
    if waits.cancelled():
        raise ConnectionResetError
    if not waits.result():
        writer.write(json_answer({"error": {"message": server.load_error}}, "500 Internal Server Error"))
        return
    try:
        await answer_chat(server, seen, writer)
    finally:
        await server.leave(model)
