"""A server sends a compressed answer, unasked: it is never inflated."""

from __future__ import annotations

import gzip
import os
import sys

import pytest

from bench.soak_kernel import Process
from tests.fakes.model_server import json_answer
from tests.fakes.talker import Talker, saying
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

INFLATED_BYTES = 64 * 1024 * 1024
BOMB = gzip.compress(b" " * INFLATED_BYTES)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_it_is_refused_as_it_is(world: World, stream: bool) -> None:
    kind = "text/event-stream" if stream else "application/json"
    act = saying(json_answer(BOMB, extra="content-encoding: gzip\r\n", content_type=kind))
    bomber = Talker(act=act)
    bomber_id = await world.add(bomber)
    process = Process(os.getpid())
    if sys.platform == "linux":
        process.forget_peak()
        before = process.rss_bytes()
    answer = await world.ask(stream=stream)
    assert (answer.status, answer.error["code"]) == (502, "server_misbehaved")
    assert bomber.asked[0].headers["accept-encoding"] == "identity"
    if sys.platform == "linux":
        assert process.peak_rss_bytes() - before < INFLATED_BYTES // 4
    assert (await world.state(bomber_id))["in_flight"] == 0
    good_id = await world.add(Talker())
    for number in range(4):
        assert (await world.served(number, stream=stream)).headers["x-gateway-server-id"] == good_id
