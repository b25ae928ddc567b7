"""The gateway may open no more files: whom it has is served, it does not spin, blames nobody, and recovers."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from bench.soak_kernel import Process
from tests.fakes.gateway_process import ADMIN_KEY as PROCESS_KEY
from tests.fakes.gateway_process import open_gateway, until
from tests.fakes.raw_http import RawConnection, exchange, request
from tests.fakes.talk import ask_body
from tests.fakes.talker import Talker, breaking
from tests.faults.reading import OpenAnswer, expected, post
from tests.faults.remains import nothing_left_of
from tests.faults.world import talking

if sys.platform == "linux":
    import resource
else:
    pytest.skip("only Linux can lower the limit of another process", allow_module_level=True)

pytestmark = pytest.mark.e2e

CROWD = 40
INTERVAL_SECONDS = 0.2
TURNS = 3


async def test_it_waits_and_recovers(tmp_path: Path, shell: str) -> None:
    talker, go = Talker(), asyncio.Event()
    talker.script.append(breaking("pause", go=go))
    settings = {"health_check_interval_seconds": INTERVAL_SECONDS, "upstream_keepalive_seconds": 0.2}
    async with talking(talker), open_gateway(tmp_path / "gateway", shell, **settings) as gateway:
        async with gateway.client() as client:
            made = await client.post("/admin/register", json={"endpoint_url": talker.url})
        show = request("GET", f"/admin/servers/{made.json()['registration_id']}", [("X-API-Key", PROCESS_KEY)])
        inside = await RawConnection.open(gateway.port)
        await inside.send(show)
        assert (await inside.answer()).json["health_status"] == "healthy"
        running = await OpenAnswer.ask(gateway.port, post(ask_body(), key=PROCESS_KEY))
        await running.tokens(3)
        process = Process(gateway.pid)
        limit = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (process.descriptors(), limit[1]))
        crowd = [await RawConnection.open(gateway.port) for _client in range(CROWD)]
        await until(lambda: failed_checks(gateway.output) > 0, "a check finds no descriptor")
        before, cpu_before = failed_checks(gateway.output), process.cpu_seconds()
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        await until(lambda: failed_checks(gateway.output) >= before + TURNS, "more checks find none")
        assert process.cpu_seconds() - cpu_before < 0.1 + 0.2 * (loop.time() - began_at)  # it does not spin
        go.set()
        assert (await running.rest()).is_whole(expected())
        running.leave()
        await inside.send(show)
        seen = (await inside.answer()).json
        assert (seen["health_status"], seen["consecutive_failures"], seen["in_flight"]) == ("healthy", 0, 0)
        for connection in (*crowd, inside):
            connection.abort()
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, limit)

        async def is_served() -> bool:
            answer = await exchange(gateway.port, post(ask_body(stream=False), key=PROCESS_KEY))
            return answer.status == 200

        await until(is_served, "new clients are served again")  # it looks once a second how many are left
        await nothing_left_of(gateway)
        assert "Traceback" not in gateway.output


def failed_checks(output: str) -> int:
    return output.count("could not be checked")
