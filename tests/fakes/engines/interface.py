"""What do all fake engines have in common: knobs, pages by path, models in memory, a phase of loading?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.fakes.model_server import FakeModelServer, Seen, answer_chat, json_answer

__all__ = ["FakeEngine", "Page"]

PLAIN = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Page:
    """One whole answer. A ``value`` of bytes goes out as it is, all else as JSON."""

    value: Any
    status: str = "200 OK"
    content_type: str = "application/json"


class FakeEngine(FakeModelServer):
    """A server that answers like one kind of engine. All knobs may be turned while it runs.

    Args:
        models: what it lists.
        loaded: what it has in memory; all of it unless told. Engines that swap load a model when it is asked for.
        room: how many models it can hold, on engines that swap.
        context: tokens of context in effect.
        running, waiting: requests of others, beside those that it is answering just now.
        places: requests that it computes at once.
        loading: whether it still starts; it answers as the engine does then.
        refuse: a status line and a message with which every POST is turned down, in the engine's own shape.
        load_gate: when set, a model that is not in memory is loaded once this is set.
        fields: of ``FakeModelServer``: ``words``, ``behaviours``, ``gate``.
    """

    headers: ClassVar[Mapping[str, str]] = {}
    """What every answer carries, beside its length and type."""
    swaps = False

    def __init__(
        self,
        models: Sequence[str] = ("m",),
        *,
        loaded: Sequence[str] | None = None,
        room: int = 1,
        context: int = 4096,
        running: int = 0,
        waiting: int = 0,
        places: int = 4,
        loading: bool = False,
        refuse: tuple[str, str] | None = None,
        load_gate: asyncio.Event | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(models=list(models), **fields)
        self.loaded = list(self.models if loaded is None else loaded)
        self.room, self.context = room, context
        self.running, self.waiting, self.places = running, waiting, places
        self.loading, self.refuse, self.load_gate = loading, refuse, load_gate
        self.loads: list[str] = []
        self.answering = 0
        self.behaviours.setdefault("*", _answer)

    @property
    def computing(self) -> int:
        """Requests that it computes, by its own count."""
        return self.running + self.answering

    def pages(self) -> dict[str, Page]:
        """What GETs are answered with, by path."""
        raise NotImplementedError

    def error(self, status: str, message: str) -> Page:
        """An error in the engine's own shape."""
        raise NotImplementedError

    def unknown_path(self, seen: Seen) -> Page:
        return self.error("404 Not Found", "Not Found")

    def while_loading(self, seen: Seen) -> Page:
        return self.error("503 Service Unavailable", "Loading model")

    def page(self, seen: Seen) -> Page:
        """The answer to a GET."""
        if self.loading:
            return self.while_loading(seen)
        return self.pages().get(seen.path) or self.unknown_path(seen)

    def listing(self, **members: Any) -> Page:
        """A list of models whose entries have ``members`` beside the name."""
        entries = [{"id": name, "object": "model", "created": 1790000000, **members} for name in self.models]
        return Page({"object": "list", "data": entries})

    async def load(self, model: str) -> None:
        """Have a model in memory, in place of what was used least recently."""
        if not self.swaps or model in self.loaded or model not in self.models:
            return
        self.loads.append(model)
        if self.load_gate is not None:
            await self.load_gate.wait()
        self.loaded = [*self.loaded, model][-self.room :]

    def render(self, page: Page) -> bytes:
        """A page as bytes on the wire."""
        extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return json_answer(page.value, page.status, extra, page.content_type)


async def _answer(server: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
    assert isinstance(server, FakeEngine)
    if seen.method != "POST":
        writer.write(server.render(server.page(seen)))
    elif server.loading:
        writer.write(server.render(server.while_loading(seen)))
    elif server.refuse is not None:
        writer.write(server.render(server.error(*server.refuse)))
    else:
        server.answering += 1
        try:
            await server.load(str(seen.json.get("model")))
            await answer_chat(server, seen, writer)
        finally:
            server.answering -= 1


def exposition(samples: Mapping[str, float]) -> Page:
    """Gauges in Prometheus's text format, each with its comments."""
    lines = []
    for series, value in samples.items():
        name = series.partition("{")[0]
        lines += [f"# HELP {name} Told by a fake.", f"# TYPE {name} gauge", f"{series} {value}"]
    return Page("\n".join([*lines, ""]).encode(), content_type=PLAIN)
