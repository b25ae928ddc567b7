"""Is a failed start told in words where the world outside caused it, and by a traceback where it is a bug?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.startup_words import StartupWords
from app.utils.database import DatabaseTooNew


async def lifespan_of(app: Callable) -> list[dict]:
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "lifespan.startup"}

    async def send(message: dict) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    return sent


def failing_with(error: BaseException) -> Callable:
    async def app(scope, receive, send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "Traceback ..."})
        raise error

    return app


async def test_an_expected_failure_is_kept_and_leaves_no_traceback() -> None:
    error = DatabaseTooNew("A newer release wrote it.")
    front = StartupWords(failing_with(error))
    assert await lifespan_of(front) == [{"type": "lifespan.startup.failed", "message": ""}]
    assert front.failure is error


async def test_a_bug_keeps_its_traceback() -> None:
    front = StartupWords(failing_with(KeyError("bug")))
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "lifespan.startup"}

    async def send(message: dict) -> None:
        sent.append(message)

    with pytest.raises(KeyError):
        await front({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.failed", "message": "Traceback ..."}]
    assert front.failure is None


async def test_an_error_while_it_ends_is_no_failed_start() -> None:
    async def app(scope, receive, send) -> None:
        await send({"type": "lifespan.startup.complete"})
        raise OSError("late")

    front = StartupWords(app)
    with pytest.raises(OSError, match="late"):
        await lifespan_of(front)
    assert front.failure is None


async def test_whoever_asked_is_told_of_an_expected_failure_alone() -> None:
    told: list[BaseException] = []
    error = OSError("no room")
    await lifespan_of(StartupWords(failing_with(error), told.append))
    assert told == [error]
    with pytest.raises(KeyError):
        await lifespan_of(StartupWords(failing_with(KeyError("bug")), told.append))
    assert told == [error]
