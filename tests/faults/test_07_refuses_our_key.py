"""A server answers 401 or 403: another one answers, alone it is a 502, and its owner is told what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.talker import Talker, pretend
from tests.faults.world import World, open_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATUSES = ["401 Unauthorized", "403 Forbidden"]


@pytest.mark.parametrize("status", STATUSES)
async def test_alone_it_is_a_502(world: World, status: str) -> None:
    locked = Talker(act=pretend(status, {"error": {"message": "Incorrect API key sk-secret"}}))
    await world.add(locked, api_key="the-wrong-one-0123456789")
    answer = await world.ask()
    assert (answer.status, answer.error["code"]) == (502, "server_misconfigured")
    assert "sk-secret" not in answer.body.decode()


@pytest.mark.parametrize(("shell", "status"), [("door", STATUSES[0]), ("asgi", STATUSES[1])])
async def test_it_is_out_until_its_key_is_changed(tmp_path: Path, shell: str, status: str) -> None:
    """Its list of models is open to all, so that its checks pass; they don't bring it back."""
    async with open_world(tmp_path, shell, health_check_interval_seconds=0.2) as world:
        locked, good = Talker(act=pretend(status)), Talker()
        locked_id = await world.add(locked, priority=10, api_key="the-wrong-one-0123456789")
        good_id = await world.add(good)
        assert (await world.served(1, stream=True)).headers["x-gateway-attempts"] == "2"
        state = await world.until_state(locked_id, health_status="unhealthy")
        assert "api_key" in state["reason"]
        assert status[:3] in state["reason"]
        checks = locked.checks
        while locked.checks < checks + 4:
            answer = await world.served(2)
            assert (answer.headers["x-gateway-server-id"], answer.headers["x-gateway-attempts"]) == (good_id, "1")
        assert (await world.state(locked_id))["health_status"] == "unhealthy"
        assert len(locked.asked) == 1
        locked.act = Talker().act
        changed = await world.gateway.client.patch(f"/admin/register/{locked_id}", json={"api_key": "the-right-one-01"})
        assert changed.status_code == 200, changed.text
        await world.until_state(locked_id, health_status="healthy", reason="")
        await world.served(3)
        assert locked.asked[-1].headers["authorization"] == "Bearer the-right-one-01"
