"""Tasks are kept, their failures logged, and all are gone when the keeper closes."""

from __future__ import annotations

import asyncio
import gc

import pytest
from structlog.testing import capture_logs

from app.utils.tasks import TaskKeeper


async def test_a_task_s_result_and_name():
    async def answer() -> int:
        return 42

    keeper = TaskKeeper()
    task = keeper.spawn(answer(), name="answer")
    assert task.get_name() == "answer"
    assert await task == 42
    await asyncio.sleep(0)
    assert len(keeper) == 0


async def test_a_task_that_nobody_holds_is_kept():
    done = asyncio.Event()
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    keeper = TaskKeeper()
    keeper.spawn(work(), name="work")
    await asyncio.sleep(0)
    gc.collect()
    go.set()
    await asyncio.wait_for(done.wait(), 5)
    await keeper.close()


async def test_a_failure_is_logged_with_the_task_s_name():
    async def fail() -> None:
        raise ValueError("broken")

    with capture_logs() as captured:
        task = TaskKeeper().spawn(fail(), name="prober")
        await asyncio.wait([task])
        await asyncio.sleep(0)
    [event] = captured
    assert (event["event"], event["task"], event["log_level"]) == ("A task failed", "prober", "error")
    assert isinstance(event["exc_info"], ValueError)


async def test_close_cancels_waits_and_logs_no_failure():
    cleaned_up: list[str] = []

    async def wait_forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.append("yes")

    keeper = TaskKeeper()
    with capture_logs() as captured:
        for number in range(3):
            keeper.spawn(wait_forever(), name=f"task {number}")
        await asyncio.sleep(0)
        await keeper.close()
    assert cleaned_up == ["yes"] * 3
    assert captured == []
    assert len(keeper) == 0


async def test_close_does_not_wait_past_its_deadline():
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    keeper = TaskKeeper()
    task = keeper.spawn(stubborn(), name="stubborn")
    await asyncio.sleep(0)
    with capture_logs() as captured:
        await keeper.close(deadline_seconds=0.01)
    assert [(event["event"], event["task"]) for event in captured] == [("A task did not end in time", "stubborn")]
    release.set()
    await task


async def test_nothing_is_spawned_after_close():
    async def work() -> None:
        pytest.fail("ran")

    keeper = TaskKeeper()
    await keeper.close()
    with pytest.raises(RuntimeError, match="'late'"):
        keeper.spawn(work(), name="late")


def test_an_opened_keeper_spawns_again_in_another_loop():
    async def use(keeper: TaskKeeper) -> str:
        async def answer() -> str:
            return "done"

        keeper.open()
        result = await keeper.spawn(answer(), name="answer")
        await keeper.close()
        return result

    keeper = TaskKeeper()
    assert [asyncio.run(use(keeper)) for _time in range(2)] == ["done", "done"]


async def test_a_task_may_close_its_own_keeper():
    keeper = TaskKeeper()
    task = keeper.spawn(keeper.close(), name="closer")
    await asyncio.wait_for(task, 5)
