"""A server answers 500, 502, 503 or 504: another one is asked, as long as the budget for retries lasts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.talker import Talker, pretend
from tests.faults.world import World, open_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATUSES = {
    "500": pretend("500 Internal Server Error"),
    "502": pretend("502 Bad Gateway", b"<html>nginx</html>"),
    "503": pretend("503 Service Unavailable", {"error": {"message": "Loading model"}}),
    "504": pretend("504 Gateway Timeout"),
}


@pytest.mark.parametrize(("status", "stream"), [("500", False), ("502", True), ("503", False), ("504", True)])
async def test_another_answers(world: World, status: str, stream: bool) -> None:
    bad, good = Talker(act=STATUSES[status]), Talker()
    bad_id, good_id = await world.add(bad, priority=10), await world.add(good)
    answer = await world.served(stream=stream)
    assert (answer.headers["x-gateway-server-id"], answer.headers["x-gateway-attempts"]) == (good_id, "2")
    assert (len(bad.asked), len(good.asked)) == (1, 1)
    state = await world.state(bad_id)
    assert (state["health_status"], state["in_flight"]) == ("healthy", 0)  # its checks pass
    assert await world.is_well(good_id)


async def test_without_a_budget_nothing_is_retried(tmp_path: Path, shell: str) -> None:
    async with open_world(tmp_path, shell, retry_budget_ratio=0) as world:
        bad, good = Talker(act=STATUSES["500"]), Talker()
        await world.add(bad, priority=10)
        good_id = await world.add(good)
        answer = await world.ask()
        assert (answer.status, answer.error["code"]) == (502, "server_misbehaved")
        assert "127.0.0.1" not in answer.body.decode()
        assert (len(bad.asked), len(good.asked)) == (1, 0)
        assert await world.is_well(good_id)


async def test_no_more_attempts_than_are_allowed(tmp_path: Path, shell: str) -> None:
    async with open_world(tmp_path, shell, max_attempts=2) as world:
        talkers = [Talker(act=STATUSES["500"]) for _number in range(4)]
        for talker in talkers:
            await world.add(talker)
        answer = await world.ask(stream=True)
        assert (answer.status, answer.headers["x-gateway-attempts"]) == (502, "2")
        assert sorted(len(talker.asked) for talker in talkers) == [0, 0, 1, 1]
        assert {server["health_status"] for server in (await world.servers()).values()} == {"healthy"}
