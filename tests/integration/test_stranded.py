"""What becomes of all the requests that wait at one server when that one turns out to be dead, by both ways in?"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.fakes.house import LIMITS, open_house, server, until
from tests.fakes.model_server import FakeModelServer, Seen, serving, until_gone

STRANDED = 24


@pytest.mark.parametrize("stream", [False, True])
async def test_all_go_elsewhere_however_few_retries_are_left(shell: str, *, stream: bool) -> None:
    async def be_silent(fake: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        await until_gone(fake, writer)

    limits = replace(LIMITS, suspect_ticks=12)
    async with (
        open_house(shell, limits=limits, max_attempt_ratio=0.0) as house,
        serving(FakeModelServer(), FakeModelServer()) as (stopped, other),
    ):
        stopped.behaviours["/v1/chat/completions"] = be_silent
        house.told.alive = False
        house.install(server("stopped", stopped.url))
        asking = [asyncio.create_task(house.chat(stream=stream)) for _request in range(STRANDED)]
        await until(lambda: len(stopped.inference) == STRANDED)
        house.install(server("stopped", stopped.url), server("other", other.url))
        for _tick in range(30):
            house.tick(1)
            await asyncio.sleep(0)
        answers = await asyncio.gather(*asking)
        lanes = house.plane.board.lanes
        assert (lanes["stopped"].in_flight, lanes["other"].in_flight) == (0, 0)
    assert [answer.status_code for answer in answers] == [200] * STRANDED
    assert {answer.headers["x-gateway-server-id"] for answer in answers} == {"other"}
    assert {answer.headers["x-gateway-attempts"] for answer in answers} == {"2"}
