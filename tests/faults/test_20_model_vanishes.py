"""A server lists a model no longer: that model is delisted by the next check, the others are served on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.gateway_process import until
from tests.fakes.talker import Talker
from tests.faults.world import open_world


@pytest.mark.parametrize("shell", ["asgi"])
async def test_it_is_delisted_within_one_check(tmp_path: Path, shell: str) -> None:
    async with open_world(tmp_path, shell, health_check_interval_seconds=0.2) as world:
        talker = Talker(models=["m", "n"])
        server_id = await world.add(talker, models=[{"name": "m"}, {"name": "n"}])
        await world.served()
        talker.models.remove("m")
        checks, asked = talker.checks, len(talker.asked)
        await until(lambda: talker.checks > checks + 1, "one check is done")
        answer = await world.ask()
        assert (answer.status, answer.error["code"]) == (503, "unavailable")
        assert len(talker.asked) == asked
        await world.served(model="n")
        state = await world.state(server_id)
        assert {detail["name"]: detail["listed"] for detail in state["model_details"]} == {"m": False, "n": True}
        assert (state["health_status"], state["in_flight"]) == ("healthy", 0)
        assert "m" in state["reason"]
        talker.models.append("m")
        await world.until_state(server_id, reason="")
        await world.served()
