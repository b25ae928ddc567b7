"""A server dies and returns, again and again: no answer is lost to it, and it is not asked in vain without end."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.talker import breaking, tell
from tests.faults.reading import expected
from tests.faults.world import World, open_world

ROUNDS = 5
ASKED_A_ROUND = 6


async def ask_all(world: World, first: int) -> int:
    """Ask some questions; return how many attempts were in vain."""
    vain = 0
    for number in range(first, first + ASKED_A_ROUND):
        answer = await world.served(number, stream=number % 2 == 0)
        vain += int(answer.headers["x-gateway-attempts"]) - 1
    return vain


async def test_every_answer_is_whole(tmp_path: Path, shell: str) -> None:
    async with open_world(tmp_path, shell, health_check_interval_seconds=0.2) as world:
        flapping, good = await world.pair()
        port, vain = flapping.port, 0
        for turn in range(ROUNDS):
            flapping.act = good.act = breaking("stall")
            async with world.asking(turn) as answer:  # cut in the middle, on whichever of the two it runs
                await answer.tokens(3)
                flapping.act = good.act = tell
                if answer.server_id == next(iter(await world.servers())):
                    await flapping.stop()
                    assert (await answer.rest()).is_whole(expected(turn))
                else:
                    await flapping.stop()
            vain += await ask_all(world, turn * 100)
            await flapping.start(port)
            vain += await ask_all(world, turn * 100 + 50)
        assert vain <= 3 * ROUNDS  # connection errors that it takes to be out, each time that it was in
        flapping_id, good_id = await world.servers()
        assert await world.is_well(good_id)
        await world.until_state(flapping_id, health_status="healthy", in_flight=0)
