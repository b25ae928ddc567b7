"""Is a server taken out that passes its checks and fails requests, and does its owner get it back by himself?"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.house import until
from tests.fakes.model_server import FakeModelServer, Seen, json_answer, serving

QUIET = {"continuation_enabled": False, "verification_enabled": False}


async def broken(_server: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(json_answer({"error": {"message": "out of memory"}}, "500 Internal Server Error"))


class Skew:
    """The gateway's own clock, put forward by a test."""

    def __init__(self, gateway: GatewayInProcess) -> None:
        self.seconds = 0.0
        plane = gateway.app.state.plane
        real = plane.clock
        plane.clock = lambda: real() + self.seconds


async def ask_until_out(gateway: GatewayInProcess, server_id: str, most: int) -> bool:
    """Ask, and put the clock forward past each ejection; whether the server is in quarantine by then."""
    skew, plane = Skew(gateway), gateway.app.state.plane
    for number in range(most):
        answer = await gateway.chat()
        assert answer.status_code == 200, answer.text
        if plane.snapshot.servers[server_id].quarantined:
            return True
        skew.seconds += 9.0 if number % 20 == 19 else 0.0
    return False


async def test_a_server_that_fails_requests_is_taken_out_and_a_good_check_lets_it_out(tmp_path: Path) -> None:
    bad = FakeModelServer(behaviours={"/v1/chat/completions": broken})
    async with (
        serving(bad, FakeModelServer(), FakeModelServer()) as fakes,
        open_in_process(tmp_path, **QUIET) as gateway,
    ):
        ids = [(await gateway.register(fake.url)).json()["registration_id"] for fake in fakes]
        assert await ask_until_out(gateway, ids[0], 400)
        asked = len(bad.inference)
        for _request in range(20):
            assert (await gateway.chat()).status_code == 200
        assert len(bad.inference) == asked
        shown = (await gateway.client.get(f"/admin/servers/{ids[0]}")).json()
        assert (shown["quarantined"], shown["health_status"]) == (True, "healthy")
        assert "500" in shown["quarantined_reason"]
        assert shown["quarantined_until"] is not None
        lines = (await gateway.client.get("/admin/audit?action=server.quarantined")).json()["rows"]
        assert [(line["actor_id"], line["object_id"]) for line in lines] == [("gateway", ids[0])]
        checked = (await gateway.client.post(f"/admin/servers/{ids[0]}/check")).json()
        assert checked["quarantined"] is False
        await until(lambda: not gateway.app.state.plane.snapshot.servers[ids[0]].quarantined)


async def test_the_last_server_of_a_model_is_never_taken_out(tmp_path: Path) -> None:
    bad = FakeModelServer(behaviours={"/v1/chat/completions": broken})
    async with serving(bad) as (fake,), open_in_process(tmp_path, **QUIET) as gateway:
        server_id = (await gateway.register(fake.url)).json()["registration_id"]
        skew = Skew(gateway)
        for _round in range(12):
            assert (await gateway.chat()).status_code in (502, 503)
            skew.seconds += 9.0
        assert not gateway.app.state.plane.snapshot.servers[server_id].quarantined
