"""Can a running gateway be replaced by a new process while it is busy, and does no client notice?"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Self

import httpx2
import pytest
import trustme

from tests.fakes.gateway_process import ADMIN_KEY, GatewayProcess, free_port, until
from tests.fakes.model_server import FakeModelServer, serving
from tests.fakes.replaceable_gateway import SERVE, SETTINGS, Replaceable, is_gone, running

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform == "win32", reason="listeners can't be handed over there"),
]

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAM = {**CHAT, "stream": True}


async def register(gateway: GatewayProcess, *fakes: FakeModelServer) -> None:
    async with gateway.client() as client:
        for fake in fakes:
            answer = await client.post("/admin/register", json={"endpoint_url": fake.url})
            assert answer.status_code == 201, answer.text


def text_of(events: list[str]) -> str:
    assert events[-1] == "[DONE]", events[-1]
    return "".join(json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1])


class Load:
    """Clients that ask without a pause; the first one that is refused or cut ends the test."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.done = 0
        self._gateway = gateway
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        for ask, keeps in ((self._whole, True), (self._streamed, True), (self._whole, False)):
            self._group.create_task(self._run(ask, keeps))
            self._group.create_task(self._run(ask, keeps))
        return self

    async def __aexit__(self, kind, error, traceback) -> None:
        self._stopping.set()
        await self._group.__aexit__(kind, error, traceback)

    async def more(self, count: int) -> None:
        """Wait for that many more whole answers."""
        wanted = self.done + count
        await until(lambda: self.done >= wanted, f"{count} more answers", seconds=20)

    async def _run(self, ask: Callable[[httpx2.AsyncClient], object], keeps: bool) -> None:
        client = self._gateway.client()
        try:
            while not self._stopping.is_set():
                await ask(client)
                self.done += 1
                if not keeps:
                    await client.aclose()
                    client = self._gateway.client()
        finally:
            await client.aclose()

    async def _whole(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "one two three")

    async def _streamed(self, client: httpx2.AsyncClient) -> None:
        async with client.stream("POST", "/v1/chat/completions", json=STREAM) as answer:
            events = [line.removeprefix("data: ") async for line in answer.aiter_lines() if line.startswith("data: ")]
        assert (answer.status_code, text_of(events)) == (200, "one two three")


@asynccontextmanager
async def long_stream(gateway: GatewayProcess, model: str) -> AsyncIterator[Callable[[], object]]:
    """A stream that the server holds after its first word; gives what reads the rest."""
    async with (
        gateway.client() as client,
        client.stream("POST", "/v1/chat/completions", json={**STREAM, "model": model}) as answer,
    ):
        lines = aiter(answer.aiter_lines())
        events: list[str] = []
        async for line in lines:
            if line.startswith("data: "):
                events.append(line.removeprefix("data: "))
                if '"one"' in line:
                    break

        async def rest() -> list[str]:
            events.extend([line.removeprefix("data: ") async for line in lines if line.startswith("data: ")])
            return events

        yield rest


class IdleConnection:
    """A client that keeps its connection, and is slow to send its next request."""

    async def open(self, gateway: GatewayProcess) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        assert "connection: close" not in await self.ask()

    async def ask(self) -> str:
        self._writer.write(f"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-API-Key: {ADMIN_KEY}\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200 ")
        length = re.search(r"content-length: (\d+)", head)
        assert length is not None
        await self._reader.readexactly(int(length[1]))
        return head

    async def until_closed(self) -> None:
        assert await asyncio.wait_for(self._reader.read(), 10) == b""
        self._writer.close()
        await self._writer.wait_closed()


async def test_no_request_is_lost_over_several_replacements(tmp_path: Path) -> None:
    gate = asyncio.Event()
    held = FakeModelServer(models=["held"], gate=gate)
    idle = IdleConnection()
    async with (
        serving(FakeModelServer(), held) as (fake, _),
        running(tmp_path, "--replace", DRAIN_TIMEOUT_SECONDS="0.1") as gateway,  # what is replaced has all the time
    ):
        assert "No gateway runs in this folder yet" in gateway.output
        await register(gateway, fake, held)
        first = gateway.pid
        async with Load(gateway) as load, long_stream(gateway, "held") as rest:
            await load.more(20)
            await idle.open(gateway)
            second = await gateway.hang_up(first)
            assert "connection: close" in await idle.ask()
            await idle.until_closed()
            await load.more(20)
            third = await gateway.hang_up(second)
            await load.more(20)
            before, fourth = await gateway.replace(third)
            await load.more(20)
            gate.set()
            assert text_of(await rest()) == "one two three"
        await until(lambda: is_gone(first) and is_gone(second) and is_gone(third), "the replaced ones ended")
        assert await asyncio.to_thread(before.wait, 5) == 0
        assert gateway.pid == fourth
        assert await asyncio.to_thread(gateway.stop) == 0
        for trouble in ("Traceback", "ERROR", "WARNING"):
            assert trouble not in gateway.output
        assert not (gateway.folder / "data" / "handover.sock").exists()


async def refused_as(gateway: Replaceable, code: int, words: str) -> None:
    """Try to replace it; it has to fail so, and the running one has to go on answering."""
    refused = await asyncio.to_thread(gateway.attempt, "--replace")
    assert (refused.returncode, refused.stdout) == (code, ""), refused.stderr
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    await still_serves(gateway)


async def servers(client: httpx2.AsyncClient) -> list[str]:
    return [server["registration_id"] for server in (await client.get("/admin/servers")).json()["servers"]]


async def still_serves(gateway: Replaceable) -> None:
    async with gateway.client() as client:
        assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200
        assert (await client.get("/health")).status_code == 200


async def test_a_new_process_that_fails_leaves_the_old_one_at_work(tmp_path: Path) -> None:
    async with (
        serving(FakeModelServer(), FakeModelServer(models=["another"])) as (fake, another),
        running(tmp_path) as gateway,
    ):
        await register(gateway, fake)
        dotenv = gateway.folder / ".env"
        dotenv.write_text("LOG_LEVEL=LOUD\n")
        os.kill(gateway.pid, signal.SIGHUP)
        await until(lambda: "The gateway was not replaced" in gateway.output, "it says so")
        assert "LOG_LEVEL" in gateway.output.partition("The gateway was not replaced")[2]
        await still_serves(gateway)
        dotenv.unlink()

        key = gateway.folder / "data" / "encryption.key"
        good = key.read_bytes()
        key.write_bytes(b"short")  # found out only when the old process has let go of the database
        await refused_as(gateway, 1, "does not hold a key")
        key.write_bytes(good)
        await register(gateway, another)  # it is stored by the old process, as before

        with closing(sqlite3.connect(gateway.folder / "gateway.db")) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        await refused_as(gateway, 1, "which this release does not know")
        async with gateway.client() as client:
            answer = await client.delete("/admin/register/" + (await servers(client))[0])
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")


async def peer_serial(gateway: Replaceable) -> int:
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=gateway.tls, server_hostname="localhost")
    certificate = writer.get_extra_info("ssl_object").getpeercert()
    writer.close()
    await writer.wait_closed()
    return int(certificate["serialNumber"], 16)


async def test_a_new_certificate_and_a_new_port_are_taken_over(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    files = {"TLS_CERT_FILE": str(tmp_path / "cert.pem"), "TLS_KEY_FILE": str(tmp_path / "key.pem")}

    def write_certificate() -> None:
        issued = authority.issue_cert("127.0.0.1", "localhost")
        issued.private_key_pem.write_to_path(files["TLS_KEY_FILE"])
        issued.cert_chain_pems[0].write_to_path(files["TLS_CERT_FILE"])

    write_certificate()
    async with running(tmp_path, tls=context, **files) as gateway, gateway.client() as kept:
        serial = await peer_serial(gateway)
        assert (await kept.get("/ready")).headers.get("connection") is None
        write_certificate()
        second = await gateway.hang_up(gateway.pid)
        assert (await kept.get("/ready")).headers.get("connection") == "close"
        assert await peer_serial(gateway) != serial

        old_port, gateway.port = gateway.port, free_port()
        await gateway.replace(second)
        async with gateway.client() as client:
            assert (await client.get("/ready")).status_code == 200
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", old_port)


async def test_a_closed_terminal_ends_the_gateway(tmp_path: Path) -> None:
    """SIGHUP replaces only what has no terminal."""
    ours, theirs = os.openpty()
    gateway = Replaceable(tmp_path / "gateway", "door", dict(SETTINGS), free_port())
    program = [sys.executable, *SERVE]
    takes_terminal = f"import os; os.open({os.ttyname(theirs)!r}, os.O_RDWR); os.execv({program[0]!r}, {program!r})"
    try:
        gateway.spawn([sys.executable, "-c", takes_terminal])
        await until(lambda: "Stop:" in gateway.output, "it serves", seconds=20)
        os.close(theirs)
        os.close(ours)
        assert await asyncio.to_thread(gateway.wait_ended) == 0
        assert "take over" not in gateway.output
    finally:
        gateway.close()
