"""A server's network swallows every packet: connecting ends at its timeout, and another one answers."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.fakes.talker import Talker
from tests.faults.world import open_world

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other kernels refuse what does not fit into a backlog")

CONNECT_SECONDS = 0.3


@contextmanager
def black_hole(port: int) -> Iterator[None]:
    """Listen with a backlog that is full: Linux drops each further SYN (tcp(7), listen(2))."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        for _place in range(4):
            plug = stack.enter_context(socket.socket())
            plug.setblocking(False)
            plug.connect_ex(("127.0.0.1", port))
        yield


async def test_another_answers_after_the_connect_timeout(tmp_path: Path, shell: str) -> None:
    async with open_world(tmp_path, shell, connect_timeout_seconds=CONNECT_SECONDS) as world:
        gone, good = Talker(), Talker()
        gone_id, good_id = await world.add(gone, priority=10), await world.add(good)
        await gone.stop()
        with black_hole(gone.port):
            loop = asyncio.get_running_loop()
            asked_at = loop.time()
            answer = await world.served(1, stream=True)
            assert CONNECT_SECONDS <= loop.time() - asked_at < CONNECT_SECONDS + 2
            assert (answer.headers["x-gateway-server-id"], answer.headers["x-gateway-attempts"]) == (good_id, "2")
            state = await world.state(gone_id)
            assert state["consecutive_failures"] >= 1
            assert any(
                "no answer within 0.3 s" in check["reason"]
                for check in state["history"]
                if check["source"] == "traffic"
            )
            again = await world.served(2)
            assert again.headers["x-gateway-attempts"] == "1"  # nobody else pays for it
            assert await world.is_well(good_id)
            await world.gateway.client.delete(f"/admin/register/{gone_id}")  # or its checks would still be under way
