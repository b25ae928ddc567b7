"""Two servers of one model, one of them dies: who notices, and when is it back?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.demo.bundled import MODEL_NAME
from tests.fakes.gateway_process import open_gateway, until
from tests.fakes.model_server import FakeModelServer, Seen, serving

pytestmark = pytest.mark.e2e

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CLIENTS = 4
UNTRIED = {"continuation_enabled": False, "verification_enabled": False}
"""No request goes to a server but the tests' own; what breaks in mid-stream ends there."""


@dataclass(frozen=True)
class Reply:
    """One request as its client saw it."""

    status: int
    text: str
    streamed: bool
    server_id: str | None
    asked_after_the_death: bool = False

    @property
    def whole(self) -> bool:
        """Whether it brought all of the answer, once and in order."""
        if self.status != 200:
            return False
        if not self.streamed:
            return json.loads(self.text)["choices"][0]["message"]["content"] == "one two three"
        *lines, last = [line.removeprefix("data: ") for line in self.text.split("\n") if line]
        deltas = [choice["delta"].get("content") for line in lines for choice in json.loads(line).get("choices", ())]
        return last == "[DONE]" and "".join(filter(None, deltas)) == "one two three"


@dataclass
class Traffic:
    """Clients that ask one question after another, streamed and in one piece by turns."""

    client: httpx2.AsyncClient
    replies: list[Reply] = field(default_factory=list)
    one_is_dead: bool = False

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        askers = [asyncio.create_task(self._ask_on(first_streamed=turn % 2 == 0)) for turn in range(CLIENTS)]
        try:
            yield
        finally:
            for asker in askers:
                asker.cancel()
            await asyncio.gather(*askers, return_exceptions=True)
        for asker in askers:
            with suppress(asyncio.CancelledError):
                asker.result()

    async def _ask_on(self, *, first_streamed: bool) -> None:
        streamed = first_streamed
        while True:
            after = self.one_is_dead
            self.replies.append(replace(await ask(self.client, streamed=streamed), asked_after_the_death=after))
            streamed = not streamed

    async def more(self, count: int) -> None:
        """Wait until so many more were answered."""
        wanted = len(self.replies) + count
        await until(lambda: len(self.replies) >= wanted, f"{count} more answers", seconds=20)


async def ask(client: httpx2.AsyncClient, *, streamed: bool = False, **fields: Any) -> Reply:
    answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": streamed, **fields})
    return Reply(answer.status_code, answer.text, streamed, answer.headers.get("x-gateway-server-id"))


async def register(client: httpx2.AsyncClient, url: str) -> str:
    answer = await client.post("/admin/register", json={"endpoint_url": url})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["registration_id"])


async def view(client: httpx2.AsyncClient, server_id: str) -> dict[str, Any]:
    answer = await client.get(f"/admin/servers/{server_id}")
    assert answer.status_code == 200
    return dict(answer.json())


async def until_status(
    client: httpx2.AsyncClient, server_id: str, status: str, *, seconds: float = 10
) -> dict[str, Any]:
    """Wait for a state and return the server as it is then."""
    seen: dict[str, Any] = {}

    async def has_it() -> bool:
        seen.update(await view(client, server_id))
        return bool(seen["health_status"] == status)

    await until(has_it, f"the server is {status}", seconds=seconds)
    return seen


async def test_under_load_no_request_fails_when_a_server_dies(tmp_path: Path, shell: str) -> None:
    settings = {"health_check_interval_seconds": 0.5, **UNTRIED}
    async with (
        serving(FakeModelServer(), FakeModelServer()) as (dying, staying),
        open_gateway(tmp_path / "gateway", shell, **settings) as gateway,
        gateway.client() as client,
    ):
        dying_id, staying_id = await register(client, dying.url), await register(client, staying.url)
        traffic = Traffic(client)
        async with traffic.flowing():
            await traffic.more(40)
            assert {reply.server_id for reply in traffic.replies} == {dying_id, staying_id}
            dying.gate, known, port = asyncio.Event(), len(dying.requests), dying.port
            await until(lambda: any(is_stream(seen) for seen in dying.requests[known:]), "a stream runs on it")
            await dying.stop()
            dying.gate, traffic.one_is_dead = None, True
            dead = await until_status(client, dying_id, "unhealthy")
            assert "refused" in dead["reason"]
            await traffic.more(40)
            since = len(traffic.replies)
            await traffic.more(40)
            assert {reply.server_id for reply in traffic.replies[since:]} == {staying_id}
            await dying.start(port)
            await until_status(client, dying_id, "healthy")
            back = len(traffic.replies)
            await until(  # it gets little at first
                lambda: {reply.server_id for reply in traffic.replies[back:]} == {dying_id, staying_id},
                "both serve again",
                seconds=30,
            )
        broken = [reply for reply in traffic.replies if not reply.whole]
        for reply in broken:  # none but streams that were running, and those say so
            assert not reply.asked_after_the_death, reply
            assert (reply.streamed, reply.status, reply.server_id) == (True, 200, dying_id), reply
            assert '"error"' in reply.text


def is_stream(seen: Seen) -> bool:
    return seen.method == "POST" and bool(seen.json["stream"])


@pytest.mark.parametrize("shell", ["asgi"])
async def test_traffic_alone_finds_out_within_three_requests(tmp_path: Path, shell: str) -> None:
    async with (
        serving(FakeModelServer(), FakeModelServer()) as (dying, staying),
        open_gateway(tmp_path / "gateway", shell, health_check_interval_seconds=600, **UNTRIED) as gateway,
        gateway.client() as client,
    ):
        dying_id = await register(client, dying.url)
        await register(client, staying.url)
        assert (await ask(client)).whole
        await dying.stop()

        async def found_out() -> bool:
            assert (await ask(client)).whole
            return bool((await view(client, dying_id))["health_status"] == "unhealthy")

        await until(found_out, "the dead server is unhealthy")
        lost = [check for check in (await view(client, dying_id))["history"] if check["source"] == "traffic"]
        assert 1 <= len(lost) <= 3


@pytest.mark.parametrize("shell", ["door"])
async def test_checks_alone_find_out_and_bring_back(tmp_path: Path, shell: str) -> None:
    async with (
        serving(FakeModelServer()) as (fake,),
        open_gateway(tmp_path / "gateway", shell, health_check_interval_seconds=0.2, **UNTRIED) as gateway,
        gateway.client() as client,
    ):
        server_id, port = await register(client, fake.url), fake.port
        await fake.stop()
        dead = await until_status(client, server_id, "unhealthy")
        misses = [check for check in dead["history"] if not check["ok"]]
        assert len(misses) == 3
        assert dead["last_transition_at"] == misses[0]["checked_at"]
        refused = await ask(client)
        assert refused.status == 503
        assert "m" in json.loads(refused.text)["error"]["message"]
        await fake.start(port)
        alive = await until_status(client, server_id, "healthy")
        passes = [check["ok"] for check in alive["history"]].index(False)
        assert passes == 2
        assert alive["last_transition_at"] == alive["history"][0]["checked_at"]
        assert alive["reason"] == ""
        assert (await ask(client)).whole


@pytest.mark.parametrize("shell", ["asgi"])
async def test_a_request_that_waits_on_a_dying_server_is_answered_by_the_other(tmp_path: Path, shell: str) -> None:
    async with (
        serving(FakeModelServer(), FakeModelServer()) as (first, second),
        open_gateway(tmp_path / "gateway", shell, health_check_interval_seconds=600, **UNTRIED) as gateway,
        gateway.client() as client,
    ):
        first_id, second_id = await register(client, first.url), await register(client, second.url)
        silent = asyncio.Event()

        async def say_nothing(fake: FakeModelServer, _seen: object, writer: asyncio.StreamWriter) -> None:
            silent.set()
            await fake.reader_of(writer).read()

        first.behaviours["/v1/chat/completions"] = say_nothing
        asked: list[asyncio.Task[Reply]] = []
        while not silent.is_set():
            asked.append(asyncio.create_task(ask(client)))
            await asyncio.wait([asked[-1], asyncio.create_task(silent.wait())], return_when=asyncio.FIRST_COMPLETED)
        await first.stop()
        replies = await asyncio.gather(*asked)
        assert all(reply.whole for reply in replies)
        assert {reply.server_id for reply in replies} == {second_id}
        assert first_id != second_id


async def test_a_stream_that_breaks_ends_in_a_typed_error(tmp_path: Path, shell: str) -> None:
    async with (
        serving(FakeModelServer(gate=asyncio.Event())) as (fake,),
        open_gateway(tmp_path / "gateway", shell, health_check_interval_seconds=600, **UNTRIED) as gateway,
        gateway.client() as client,
    ):
        await register(client, fake.url)
        async with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
            lines = aiter(answer.aiter_lines())
            async for line in lines:
                if '"one"' in line:
                    break
            await fake.stop()
            rest = [line.removeprefix("data: ") async for line in lines if line]
        error = json.loads(rest[0])["error"]
        assert error["type"] and error["code"]  # noqa: PT018 (both or neither)
        assert rest[1:] in ([], ["[DONE]"])


@pytest.mark.parametrize("streamed", [True, False])
async def test_work_stops_within_a_second_when_the_client_leaves(tmp_path: Path, shell: str, streamed: bool) -> None:
    fake = FakeModelServer(gate=asyncio.Event())
    begun = asyncio.Event()

    async def never_answer(server: FakeModelServer, _seen: object, writer: asyncio.StreamWriter) -> None:
        begun.set()
        await server.reader_of(writer).read()
        server.lost.set()

    if not streamed:
        fake.behaviours["/v1/chat/completions"] = never_answer
    async with (
        serving(fake),
        open_gateway(tmp_path / "gateway", shell, health_check_interval_seconds=600, **UNTRIED) as gateway,
        gateway.client() as client,
    ):
        await register(client, fake.url)

        async def read() -> None:
            async with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": streamed}) as answer:
                async for _line in answer.aiter_lines():
                    begun.set()

        reading = asyncio.create_task(read())
        await begun.wait()
        assert not fake.lost.is_set()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        async with asyncio.timeout(1):
            await fake.lost.wait()


@pytest.mark.real_model
@pytest.mark.parametrize("shell", ["asgi"])
async def test_a_real_server_is_killed_and_comes_back(
    tmp_path: Path, shell: str, model_servers: tuple[Any, Any], start_model_server: Callable[..., Any]
) -> None:
    doomed = start_model_server()
    settings = {"health_check_interval_seconds": 0.5}
    async with open_gateway(tmp_path / "gateway", shell, **settings) as gateway, gateway.client() as client:
        doomed_id = await register(client, doomed.url)
        staying_id = await register(client, model_servers[0].url)
        await expect_answers(client, 3, {doomed_id, staying_id})
        doomed.kill()
        await expect_answers(client, 4, {staying_id})
        await until_status(client, doomed_id, "unhealthy")
        again = start_model_server(doomed.port)
        alive = await until_status(client, doomed_id, "healthy")
        passed = [check["ok"] for check in alive["history"]].index(False)
        was_loading = alive["history"][passed]["reason"] == "loading the model"
        assert passed == (1 if was_loading else 2)
        await client.post(f"/admin/servers/{staying_id}/pause")
        await expect_answers(client, 1, {doomed_id})
        again.kill()


async def expect_answers(client: httpx2.AsyncClient, count: int, servers: set[str]) -> None:
    for turn in range(count):
        reply = await ask(client, streamed=turn % 2 == 0, model=MODEL_NAME, max_tokens=4)
        assert reply.status == 200, reply.text
        assert '"error"' not in reply.text
        assert reply.server_id in servers
