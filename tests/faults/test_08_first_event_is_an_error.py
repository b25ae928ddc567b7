"""A server says 200 and its first event is an error: another one answers, and the client sees nothing of it."""

from __future__ import annotations

import pytest

from tests.fakes.model_server import EVENT_HEAD, LAST_CHUNK, event
from tests.fakes.talker import Talker, saying
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

ERRORS = {
    "OpenAI's": {"error": {"message": "out of memory", "type": "server_error", "code": 500}},
    "vLLM's of old": {"object": "error", "message": "out of memory", "type": "InternalServerError", "code": 500},
    "a bare one": {"error": "out of memory"},
}


@pytest.mark.parametrize("name", ERRORS)
async def test_the_client_sees_the_others_answer_alone(world: World, name: str) -> None:
    bad, good = Talker(act=saying(EVENT_HEAD, event(ERRORS[name]), LAST_CHUNK)), Talker()
    bad_id, good_id = await world.add(bad, priority=10), await world.add(good)
    answer = await world.served(stream=True)
    assert (answer.headers["x-gateway-server-id"], answer.headers["x-gateway-attempts"]) == (good_id, "2")
    assert b"memory" not in answer.body
    assert (await world.served(2, stream=True)).headers["x-gateway-attempts"] == "1"
    assert (await world.state(bad_id))["in_flight"] == 0
    assert await world.is_well(good_id)


async def test_alone_it_is_a_502(world: World) -> None:
    bad = Talker(act=saying(EVENT_HEAD, event(ERRORS["OpenAI's"]), LAST_CHUNK))
    bad_id = await world.add(bad)
    answer = await world.ask(stream=True)
    assert (answer.status, answer.error["code"]) == (502, "server_misbehaved")
    assert (await world.state(bad_id))["health_status"] == "healthy"
