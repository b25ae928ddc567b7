"""A server answers 400, 413 or 422: the client hears it, nobody else is asked, and nothing is counted."""

from __future__ import annotations

import pytest

from tests.fakes.talker import Talker, pretend
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAID = {"object": "error", "message": "max_tokens is too large.", "type": "BadRequestError", "param": None, "code": 400}
TIMES = 8


@pytest.mark.parametrize(
    ("status", "stream"),
    [("400 Bad Request", True), ("413 Content Too Large", False), ("422 Unprocessable Content", True)],
)
async def test_it_is_passed_through(world: World, status: str, stream: bool) -> None:
    picky, other = Talker(act=pretend(status, SAID)), Talker()
    picky_id, other_id = await world.add(picky, priority=10), await world.add(other)
    for _again in range(TIMES):
        answer = await world.ask(stream=stream)
        assert (answer.status, answer.headers["x-gateway-server-id"]) == (int(status[:3]), picky_id)
        assert answer.error["message"] == SAID["message"]
    assert (len(picky.asked), len(other.asked)) == (TIMES, 0)
    assert await world.is_well(picky_id)
    assert await world.is_well(other_id)
    lane = world.plane.board.lane(picky_id)
    assert (lane.ejections, lane.suspect_until) == (0, 0.0)
