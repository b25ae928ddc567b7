"""A client reads slowly: no more is read from the server than fits, memory stays flat, and no byte is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.soak_kernel import Process
from tests.fakes.gateway_process import ADMIN_KEY as PROCESS_KEY
from tests.fakes.gateway_process import open_gateway
from tests.fakes.talk import ask_body
from tests.fakes.torrent import SteppingReader, Torrent, body_of, flowing
from tests.faults.reading import post
from tests.faults.remains import figures_of, nothing_left_of
from tests.faults.world import open_world

MEBIBYTE = 1024 * 1024
SIZE_BYTES = 32 * MEBIBYTE
STEP_BYTES = 4096


@pytest.mark.e2e
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells of memory on Linux only")
@pytest.mark.parametrize("shell", ["door"])
async def test_the_server_is_held_up(tmp_path: Path, shell: str) -> None:
    torrent, body = Torrent(SIZE_BYTES), post(ask_body(), key=PROCESS_KEY)
    settings = {
        "health_check_interval_seconds": 600,
        "upstream_keepalive_seconds": 0.2,
        "continuation_enabled": False,
        "verification_enabled": False,
    }
    async with flowing(torrent), open_gateway(tmp_path / "gateway", shell, **settings) as gateway:
        async with gateway.client() as client:
            assert (await client.post("/admin/register", json={"endpoint_url": torrent.url})).status_code == 201
        process = Process(gateway.pid)
        for turn in ("warm", "measured"):
            reader = await SteppingReader.open(gateway.port)
            try:
                process.forget_peak()
                before = process.rss_bytes()
                await reader.send(body)
                await reader.read(STEP_BYTES)
                answer = torrent.answers[-1]
                await answer.until_held_up()
                for _step in range(32):
                    await reader.read(STEP_BYTES)
                await answer.until_held_up()
                assert not answer.done
                assert answer.written_bytes < SIZE_BYTES // 2
                assert turn == "warm" or process.peak_rss_bytes() - before < 2 * MEBIBYTE
                figures = await figures_of(gateway)
                assert [value for name, value in figures.items() if name.startswith("multiverse_in_flight{")] == [1]
                assert await reader.body() == body_of(SIZE_BYTES, stream=True)
            finally:
                reader.close()
        async with gateway.client() as client:
            (server,) = (await client.get("/admin/servers")).json()["servers"]
        assert (server["health_status"], server["consecutive_failures"]) == ("healthy", 0)
        await nothing_left_of(gateway)


async def test_one_who_never_reads_is_let_go(tmp_path: Path, shell: str) -> None:
    torrent = Torrent(SIZE_BYTES)
    settings = {"stream_idle_timeout_seconds": 0.5, "continuation_enabled": False, "verification_enabled": False}
    async with flowing(torrent), open_world(tmp_path, shell, **settings) as world:
        server_id = await world.register(torrent.url)
        reader = await SteppingReader.open(world.port)
        try:
            await reader.send(post(ask_body()))
            await reader.read(STEP_BYTES)
            await world.until_state(server_id, in_flight=0)
            assert not (await reader.end()).endswith(b"0\r\n\r\n")  # it can tell that it has not got all
        finally:
            reader.close()
        assert await world.is_well(server_id)  # which is no fault of the server's
