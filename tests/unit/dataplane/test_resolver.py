"""Does the system's resolver answer in literals, and does a hanging name hold one thread alone?"""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from app.services.dataplane.resolver import SystemResolver


async def test_localhost_resolves_to_loopback_literals_each_once() -> None:
    resolver = SystemResolver()
    answers = await resolver.resolve("localhost", 8000)
    resolver.close()
    assert answers
    assert set(answers) <= {"127.0.0.1", "::1"}
    assert len(set(answers)) == len(answers)


async def test_a_literal_resolves_to_itself() -> None:
    resolver = SystemResolver()
    assert list(await resolver.resolve("127.0.0.1", 8000)) == ["127.0.0.1"]
    resolver.close()


async def test_a_question_under_way_is_shared_and_an_answered_one_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    answer = threading.Event()

    def slow(
        host: bytes, *_details: object, **_options: object
    ) -> list[tuple[object, object, object, object, tuple[str]]]:
        asked.append(host)
        answer.wait(10)
        return [(None, None, None, None, ("192.0.2.1",))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    resolver = SystemResolver()
    first, second = (asyncio.ensure_future(resolver.resolve("box.example", 1)) for _asker in range(2))
    await asyncio.sleep(0)
    first.cancel()  # one who leaves takes nothing from the other
    answer.set()
    assert list(await second) == ["192.0.2.1"]
    assert first.cancelled()
    assert asked == [b"box.example"]
    await resolver.resolve("box.example", 1)
    assert asked == [b"box.example", b"box.example"]
    resolver.close()


async def test_an_error_that_nobody_waits_for_is_not_reported_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))

    def failing(*_details: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", failing)
    resolver = SystemResolver()
    asking = asyncio.ensure_future(resolver.resolve("box.example", 1))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    with pytest.raises(socket.gaierror):
        await resolver.resolve("box.example", 1)
    resolver.close()
    assert reports == []


def test_an_opened_resolver_answers_again_in_another_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()

    def hang(*_details: object, **_options: object) -> list[object]:
        hangs.wait(10)
        return []

    async def ask_in_vain() -> None:
        asyncio.ensure_future(resolver.resolve("localhost", 1)).cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(resolver.resolve("localhost", 1), 0.01)
        resolver.close()

    resolver = SystemResolver()
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", hang)
        asyncio.run(ask_in_vain())
    resolver.open()
    assert set(asyncio.run(resolver.resolve("localhost", 1))) <= {"127.0.0.1", "::1"}
    hangs.set()
    resolver.close()


async def test_opening_an_open_resolver_keeps_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def slow(*_details: object, **_options: object) -> list[tuple[object, object, object, object, tuple[str]]]:
        go.wait(10)
        return [(None, None, None, None, ("192.0.2.1",))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    resolver = SystemResolver()
    asking = asyncio.ensure_future(resolver.resolve("box.example", 1))
    await asyncio.sleep(0)
    resolver.open()
    go.set()
    assert list(await asking) == ["192.0.2.1"]
    resolver.close()
