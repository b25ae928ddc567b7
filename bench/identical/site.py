"""Where is it tried? A gateway in front of two real model servers: asking it, and waiting until all is well."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx2

from bench.identical.answer import Lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bench.identical.cases import Case
    from bench.identical.engines import Engine
    from bench.soak_children import Gateway

__all__ = ["Heard", "NotWell", "Site", "open_site"]

_WELL_SECONDS: Final = 90.0
_POLL_SECONDS: Final = 0.02
_CONTINUATIONS: Final = "multiverse_continuations_total{"


class NotWell(Exception):
    """Something that must work did not: a registration, or a server that did not come back in time."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One stream as it came.

    Attributes:
        data: of each event, in order.
        times: when each came, by ``time.perf_counter``.
        server_id: who began it.
    """

    data: list[bytes]
    times: list[float]
    server_id: str


class Site:
    """The gateway, its model servers, and a client. Made by ``open_site``."""

    def __init__(self, client: httpx2.AsyncClient, engines: dict[str, Engine]) -> None:
        self._client = client
        self.engines = engines
        """The model servers by the ids that the gateway gave them."""

    async def ask(self, case: Case, on_event: Callable[[str, int], None] | None = None) -> Heard:
        """Send a request and read its stream to the end.

        Args:
            case: what is asked.
            on_event: called with the server's id and the number of events so far, as soon as they have come.

        Raises:
            NotWell: it was refused.
        """
        lines, heard = Lines(), Heard([], [], "")
        async with self._client.stream("POST", case.path, json=case.body) as answer:
            if answer.status_code != 200:
                raise NotWell(f"request {case.number} was answered with {answer.status_code}: {await answer.aread()!r}")
            heard = Heard([], [], answer.headers.get("x-gateway-server-id", ""))
            if heard.server_id not in self.engines:
                raise NotWell(f"request {case.number} was silent for so long that its head does not tell its server")
            async for piece in answer.aiter_raw():
                came = lines.feed(piece)
                heard.data.extend(came)
                heard.times.extend([time.perf_counter()] * len(came))
                if came and on_event is not None:
                    on_event(heard.server_id, len(heard.data))
        return heard

    async def wait_until_well(self) -> None:
        """Wait until every server is healthy and known to go on with answers.

        Raises:
            NotWell: that took too long, or a server can't go on.
        """
        deadline = time.monotonic() + _WELL_SECONDS
        servers = await self._servers()
        while not all(map(_is_well, servers)):
            if time.monotonic() > deadline:
                raise NotWell(f"the servers did not get well in {_WELL_SECONDS:g} s: {servers}")
            await asyncio.sleep(_POLL_SECONDS)
            servers = await self._servers()

    async def continuations(self) -> int:
        """How often streams went on elsewhere so far, as the gateway counts."""
        lines = (await self._client.get("/metrics")).text.splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith(_CONTINUATIONS))

    async def _servers(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = (await self._client.get("/admin/servers")).json()["servers"]
        return listed


def _is_well(server: dict[str, Any]) -> bool:
    ways = [model["continuation"] for model in server["model_details"]]
    for way in ways:
        if "none" in (way["chat"], way["text"]):
            raise NotWell(f"a server was found not to go on with answers: {way['reason']}")
    return server["health_status"] == "healthy" and all("unjudged" not in (way["chat"], way["text"]) for way in ways)


@asynccontextmanager
async def open_site(gateway: Gateway, engines: list[Engine]) -> AsyncIterator[Site]:
    """Register the servers, and wait until they were tried.

    Raises:
        NotWell, EngineFailed: a server can't be used.
    """
    key = {"authorization": f"Bearer {gateway.key}"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", headers=key, timeout=120) as client:
        known = {}
        for engine in engines:
            await engine.wait_ready()
            answer = await client.post("/admin/register", json={"endpoint_url": f"http://127.0.0.1:{engine.port}"})
            if answer.status_code != 201:
                raise NotWell(f"a server could not be registered: {answer.text}")
            known[answer.json()["registration_id"]] = engine
        site = Site(client, known)
        await site.wait_until_well()
        yield site
