"""The gateway is asked to end while streams run: each of them ends whole, and so does the gateway."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.gateway_process import ADMIN_KEY as PROCESS_KEY
from tests.fakes.gateway_process import GatewayProcess, open_gateway, until
from tests.fakes.talk import ask_body
from tests.fakes.talker import Talker, breaking
from tests.faults.reading import OpenAnswer, expected, post
from tests.faults.world import talking

pytestmark = pytest.mark.e2e

STREAMS = 5
EXIT_CODES = {"door": 0, "asgi": -signal.SIGTERM}  # uvicorn raises the signal again once it has shut down


async def test_nothing_is_lost(tmp_path: Path, shell: str) -> None:
    talker, go = Talker(), asyncio.Event()
    talker.act = breaking("pause", go=go)
    async with (
        talking(talker),
        open_gateway(tmp_path / "gateway", shell, health_check_interval_seconds=600) as gateway,
        AsyncExitStack() as stack,
    ):
        async with gateway.client() as client:
            assert (await client.post("/admin/register", json={"endpoint_url": talker.url})).status_code == 201
        asked = [post(ask_body(number), key=PROCESS_KEY) for number in range(STREAMS)]
        answers = []
        for data in asked:
            answers.append(await OpenAnswer.ask(gateway.port, data))
            stack.callback(answers[-1].leave)
        for answer in answers:
            await answer.tokens(3)
        await until(lambda: runs(gateway), "they run, and nothing else")
        gateway.signal()
        await until(lambda: is_closed(gateway.port), "nobody is let in any more")
        assert not gateway.ended
        go.set()
        for number, answer in enumerate(answers):
            assert (await answer.rest()).is_whole(expected(number))
        assert await asyncio.to_thread(gateway.wait_ended) == EXIT_CODES[shell]
        assert "Traceback" not in gateway.output
        await until(lambda: talker.connected == 0, "no connection is left")


async def runs(gateway: GatewayProcess) -> bool:
    async with gateway.client() as client:
        (server,) = (await client.get("/admin/servers")).json()["servers"]
    return (server["health_status"], server["in_flight"]) == ("healthy", STREAMS)


async def is_closed(port: int) -> bool:
    try:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.transport.abort()
    return False
