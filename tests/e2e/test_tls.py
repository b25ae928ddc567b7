"""Is TLS spoken on both sides, and is an authority that nobody trusts told as what it is?"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import trustme

from tests.fakes.gateway_process import GatewayProcess, open_gateway, until
from tests.fakes.model_server import FakeModelServer, serving

pytestmark = pytest.mark.e2e

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@dataclass
class TlsModelServer(FakeModelServer):
    """A model server behind a certificate."""

    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]


@asynccontextmanager
async def serving_tls(authority: trustme.CA, *names: str) -> AsyncIterator[TlsModelServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    server = TlsModelServer(tls=context)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def serving_plain() -> AsyncIterator[int]:
    """A server without TLS, which takes a handshake for a bad request, as nginx and uvicorn do."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def written(authority: trustme.CA, path: Path) -> Path:
    authority.cert_pem.write_to_path(path)
    return path


async def register(gateway: GatewayProcess, url: str) -> httpx2.Response:
    async with gateway.client() as client:
        return await client.post("/admin/register", json={"endpoint_url": url})


async def test_a_server_whose_authority_is_trusted(tmp_path: Path, shell: str) -> None:
    authority = trustme.CA()
    ca_file = written(authority, tmp_path / "ca.pem")
    async with (
        serving_tls(authority, "localhost") as fake,
        open_gateway(tmp_path / "gateway", shell, upstream_ca_file=ca_file) as gateway,
    ):
        assert (await register(gateway, fake.url)).status_code == 201
        async with gateway.client() as client:
            whole = await client.post("/v1/chat/completions", json=CHAT)
            streamed = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert whole.json()["choices"][0]["message"]["content"] == "one two three"
        assert streamed.text.rstrip().endswith("data: [DONE]")
        assert fake.inference[0].headers["host"] == f"localhost:{fake.port}"


@pytest.mark.parametrize("shell", ["door"])
async def test_a_server_whose_authority_is_not_trusted(tmp_path: Path, shell: str) -> None:
    ca_file = written(trustme.CA(), tmp_path / "another.pem")
    async with (
        serving_tls(trustme.CA(), "localhost") as fake,
        open_gateway(tmp_path / "gateway", shell, upstream_ca_file=ca_file) as gateway,
    ):
        refused = await register(gateway, fake.url)
        assert refused.status_code == 503
        message = refused.json()["error"]["message"]
        assert "certificate" in message
        assert "UPSTREAM_CA_FILE" in message
        assert fake.requests == []


@pytest.mark.parametrize("shell", ["asgi"])
async def test_a_certificate_for_another_name(tmp_path: Path, shell: str) -> None:
    authority = trustme.CA()
    ca_file = written(authority, tmp_path / "ca.pem")
    async with (
        serving_tls(authority, "another.example") as fake,
        open_gateway(tmp_path / "gateway", shell, upstream_ca_file=ca_file) as gateway,
    ):
        refused = await register(gateway, fake.url)
        assert refused.status_code == 503
        assert "certificate" in refused.json()["error"]["message"]
        assert fake.requests == []


@pytest.mark.parametrize("shell", ["door"])
async def test_plain_http_where_tls_is_spoken_and_the_reverse(tmp_path: Path, shell: str) -> None:
    async with (
        serving_tls(trustme.CA(), "localhost") as fake,
        serving_plain() as plain_port,
        open_gateway(tmp_path / "gateway", shell) as gateway,
    ):
        refused = await register(gateway, f"http://127.0.0.1:{fake.port}")
        assert refused.status_code == 503
        refused = await register(gateway, f"https://127.0.0.1:{plain_port}")
        assert refused.status_code == 503
        assert "does not speak TLS" in refused.json()["error"]["message"]
        assert "http://" in refused.json()["error"]["message"]


@pytest.mark.parametrize("shell", ["asgi"])
async def test_an_authority_that_is_trusted_no_longer(tmp_path: Path, shell: str) -> None:
    authority = trustme.CA()
    ca_file = written(authority, tmp_path / "ca.pem")
    async with (
        serving_tls(authority, "localhost") as fake,
        open_gateway(tmp_path / "gateway", shell, upstream_ca_file=ca_file) as gateway,
    ):
        server_id = (await register(gateway, fake.url)).json()["registration_id"]
        await asyncio.to_thread(gateway.stop)
        before = len(fake.requests)
        written(trustme.CA(), ca_file)
        await asyncio.to_thread(gateway.start)
        async with gateway.client() as client:
            assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 503

            async def reason() -> str:
                return str((await client.get(f"/admin/servers/{server_id}")).json()["reason"])

            assert "certificate" in await until(reason, "the server's owner can read why")
        assert len(fake.requests) == before


async def test_clients_are_served_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    settings = {"tls_cert_file": chain, "tls_key_file": key}
    async with (
        serving(FakeModelServer()) as (fake,),
        open_gateway(tmp_path / "gateway", "door", tls=trusting, **settings) as gateway,
    ):
        assert gateway.url.startswith("https:")
        assert (await register(gateway, fake.url)).status_code == 201
        async with gateway.client() as client:
            whole = await client.post("/v1/chat/completions", json=CHAT)
            streamed = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
            assert (await client.get("/docs")).status_code == 200
        assert whole.json()["choices"][0]["message"]["content"] == "one two three"
        assert streamed.text.rstrip().endswith("data: [DONE]")
        async with httpx2.AsyncClient() as stranger:
            with pytest.raises(httpx2.ConnectError):
                await stranger.get(f"{gateway.url}/ready")
        assert f"https://127.0.0.1:{gateway.port}" in gateway.output
        gateway.signal()
        assert await asyncio.to_thread(gateway.wait_ended) == 0
