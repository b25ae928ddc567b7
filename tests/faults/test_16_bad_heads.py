"""A server's headers are huge, malformed, doubly framed or without end: a 502, and its connection is closed."""

from __future__ import annotations

import pytest

from tests.fakes.gateway_process import until
from tests.fakes.hostile_answers import BROKEN
from tests.fakes.talker import Talker, saying, tell
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS = {
    False: (b"application/json", b'{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]}'),
    True: (b"text/event-stream", b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\ndata: [DONE]\n\n'),
}
HEADS = {
    "a head beyond all bounds": False,
    "headers beyond all bounds": True,
    "a header without a colon": False,
    "a NUL in a value": True,
    "CL.TE": False,
    "TE.CL": True,
    "two lengths": False,
    "interim answers without end": True,
}
"""Each with whether a stream is asked for."""


@pytest.mark.parametrize(("name", "stream"), HEADS.items(), ids=HEADS)
async def test_it_is_a_502_and_the_connection_is_closed(world: World, name: str, stream: bool) -> None:
    bad = Talker(act=saying(BROKEN[name](*KINDS[stream])))
    bad_id = await world.add(bad)
    answer = await world.ask(stream=stream)
    assert (answer.status, answer.error["code"]) == (502, "server_misbehaved")
    await until(lambda: bad.connected == 0, "the connection is closed")
    state = await world.state(bad_id)
    assert (state["health_status"], state["in_flight"]) == ("healthy", 0)
    bad.act = tell
    await world.served(2, stream=stream)  # on a connection of its own
