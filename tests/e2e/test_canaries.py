"""Do keys, prompts and answers stay where they belong, whatever goes wrong? Planted ones are looked for everywhere."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes.gateway_process import GatewayProcess, open_gateway
from tests.fakes.model_server import (
    EVENT_HEAD,
    LAST_CHUNK,
    FakeModelServer,
    Seen,
    answer_chat,
    event,
    json_answer,
    serving,
)

pytestmark = pytest.mark.e2e

ADMIN = "admin-5b1c7d0e93fa4418a6d27e40c8bb9f35"
METRICS = "metrics-e07a42c96d1f4b2085d3b9167ac84fe2"
STRANGER = "stranger-94d6e1f0b73c4a5e8812c05f7da36b4e"
KEPT = "kept-2f8e6b03d9a7415cb1480ce95d72a6f1"
REFUSED = "refused-c37a90f52e8b4d61a0f4917b6ed8253c"
PASSWORD = "password-708bd1f9e24c4ac39d5608e7cb31fa46"
PROMPT = "prompt-d1905ef3a67c4b8892ab34f0e87c516d"
ANSWER = "answer-46f2ba0d8c7e491e83d05a6cf9b72e18"
ALL = (ADMIN, METRICS, STRANGER, KEPT, REFUSED, PASSWORD, PROMPT, ANSWER)


def faults(*said: str) -> dict[str, bytes]:
    """All that an indiscreet server can answer: it repeats what it was told wherever it can."""
    echo = f"no: {' and '.join(said)}"
    echoed = json_answer({"error": {"message": echo, "type": echo, "param": echo, "code": echo}})
    plain = echo.encode()
    return {
        "400": echoed.replace(b"200 OK", b"400 Bad Request"),
        "401": echoed.replace(b"200 OK", b"401 Unauthorized"),
        "404": echoed.replace(b"200 OK", b"404 Not Found"),
        "422": json_answer({"detail": [{"msg": echo, "input": echo}]}, "422 Unprocessable Entity"),
        "429": echoed.replace(b"200 OK", b"429 Too Many Requests"),
        "500": echoed.replace(b"200 OK", b"500 Internal Server Error"),
        "503": echoed.replace(b"200 OK", b"503 " + plain),
        "error-under-200": echoed,
        "html": json_answer(f"<html>{echo}</html>".encode(), content_type="text/html"),
        "text": json_answer(plain, content_type=echo.replace(" ", "-")),
        "redirect": json_answer({}, "302 Found", extra=f"location: http://127.0.0.1:1/?{echo.replace(' ', '&')}\r\n"),
        "no-http": plain + b"\r\n\r\n",
        "bad-header": b"HTTP/1.1 200 OK\r\n" + plain + b"\r\n\r\n" + plain,
        "bad-length": b"HTTP/1.1 200 OK\r\ncontent-length: " + plain + b"\r\n\r\n" + plain,
        "bad-chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + plain + b"\r\n" + plain,
        "bad-json": json_answer(b'{"choices": "' + plain),
        "bad-event": EVENT_HEAD + event(b'{"choices": "' + plain) + LAST_CHUNK,
        "error-event": EVENT_HEAD + event({"error": {"message": echo}}) + LAST_CHUNK,
        "cut-short": json_answer({"choices": [{"message": {"content": echo * 9}}]})[:-200],
    }


FAULTS = faults(f"Bearer {KEPT}", PROMPT, ANSWER)
CHECK_FAULTS = faults(f"Bearer {KEPT}", KEPT)  # a check carries no prompt
OWN_WORDS = ("400", "404", "422")
"""Refusals that are the client's own: it reads the server's words there, so its prompt may stand in them."""

MODELS = ("good", "cut-stream", *FAULTS)


@dataclass
class Indiscreet:
    """One model for each fault, each at a base path of its own; ``checks_fail`` once the checks shall meet it too."""

    checks_fail: bool = False
    authorizations: set[str] = field(default_factory=set)

    async def __call__(self, fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        self.authorizations.add(seen.headers.get("authorization", ""))
        _, name, *_rest = seen.path.split("/")
        fault = (CHECK_FAULTS if seen.method == "GET" else FAULTS).get(name)
        if seen.method == "GET" and not (fault and self.checks_fail):
            writer.write(json_answer({"object": "list", "data": [{"id": name, "object": "model"}]}))
        elif fault is not None:
            writer.write(fault)
            await writer.drain()
            raise ConnectionResetError
        elif name == "cut-stream" and seen.json.get("stream"):
            chunk = {"object": "chat.completion.chunk", "model": name, "choices": [{"delta": {"content": ANSWER}}]}
            writer.write(EVENT_HEAD + event(chunk) + f"zz {KEPT} {PROMPT}\r\n".encode())
            await writer.drain()
            raise ConnectionResetError
        else:
            await answer_chat(fake, seen, writer)


@dataclass
class Asker:
    """Sends requests and keeps what was answered: that must hold no canary, but for those that a call lets in."""

    client: httpx2.AsyncClient
    found: list[str] = field(default_factory=list)

    async def ask(
        self, method: str, path: str, expected: int, *, lets: tuple[str, ...] = (), **options: Any
    ) -> httpx2.Response:
        if "content" in options:
            options["headers"] = {"content-type": "application/json", **options.get("headers", {})}
        answer = await self.client.request(method, path, **options)
        assert answer.status_code == expected, (path, options, answer.text)
        told = f"{answer.headers.multi_items()} {answer.text}".encode()
        self.found += [f"{canary} in {method} {path}: {answer.text}" for canary in canaries_in(told, lets)]
        return answer


def canaries_in(data: bytes, lets: tuple[str, ...] = ()) -> Iterator[str]:
    """Name the canaries of which a piece stands in some bytes, plainly or in Base64."""
    lowered = data.lower()
    for canary in ALL:
        secret = canary.partition("-")[2].encode()
        pieces = (secret[:10], secret[-10:])
        encoded = base64.b64encode(canary.encode()).rstrip(b"=")[:-2]
        if canary not in lets and (any(piece in lowered for piece in pieces) or encoded in data):
            yield canary


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def chat(model: object = "good", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": PROMPT}], **fields}


@pytest.mark.parametrize(("shell", "log_format"), [("door", "json"), ("asgi", "console")])
async def test_no_canary_gets_out(tmp_path: Path, shell: str, log_format: str) -> None:
    indiscreet = Indiscreet()
    fake = FakeModelServer(words=[ANSWER], behaviours={"*": indiscreet})
    settings: dict[str, Any] = {"log_level": "DEBUG", "log_format": log_format, "metrics_key": METRICS}
    settings |= {
        "max_request_bytes": 65536,
        "continuation_enabled": False,
        "verification_enabled": False,
    }  # no server hears but what this test asks
    folder = tmp_path / "gateway"
    async with (
        serving(fake),
        open_gateway(folder, shell, admin_key=ADMIN, **settings) as gateway,
        gateway.client(headers=bearer(ADMIN)) as client,
    ):
        asker = Asker(client)
        ids = await registered(asker, fake)
        minted = await change_things(asker, ids)
        await refuse_registrations(asker, fake)
        await use_models(asker)
        await send_rubbish(asker)
        await try_wrong_keys(asker)
        indiscreet.checks_fail = True
        await check(asker, ids)
        await use_models(asker, after_checks=True)
        await look_around(asker, ids)
        await asyncio.to_thread(gateway.command, "backup", "saved.tar.gz")
        await asyncio.to_thread(gateway.stop)
    for secret in minted:
        shown = [str(path) for path in sorted(tmp_path.rglob("*")) if path.is_file() and secret[5:25] in text_of(path)]
        assert shown == []
    assert f"Bearer {KEPT}" in indiscreet.authorizations
    assert asker.found == [], "\n".join(asker.found)
    found = list(leaks(gateway))
    assert found == [], "\n".join(found)
    log = (folder / "logs" / "gateway.log").read_text()
    assert ids["good"] in log  # we look at the right file
    assert "request finished" in log


async def registered(asker: Asker, fake: FakeModelServer) -> dict[str, str]:
    ids = {}
    for name in MODELS:
        body = {"endpoint_url": f"{fake.url}/{name}", "api_key": KEPT, "metadata": {"owner": "alice"}}
        answer = await asker.ask("POST", "/admin/register", 201, json=body)
        ids[name] = answer.json()["registration_id"]
    return ids


async def change_things(asker: Asker, ids: dict[str, str]) -> list[str]:
    """Changes whose lines of the audit could hold a secret. Return the secrets that were told, once each."""
    await asker.ask("PATCH", f"/admin/register/{ids['good']}", 200, json={"api_key": KEPT})
    group = (await asker.ask("POST", "/admin/groups", 201, json={"name": "lab"})).json()["id"]
    limits = {"requests_per_minute": 1000, "tokens_per_day": 10**9}
    made = await asker.ask(
        "POST", "/admin/keys", 201, json={"name": "one", "role": "user", "group": group, "limits": limits}
    )
    rotated = await asker.ask("POST", f"/admin/keys/{made.json()['id']}/rotate", 200, json={"overlap_seconds": 60})
    listed = {"people": [{"name": "two"}], "role": "user", "group": group, "as": "invites"}
    link = (await asker.ask("POST", "/admin/keys/import", 201, json=listed)).text
    await asker.ask("POST", "/admin/aliases", 201, json={"name": "fast", "targets": [{"model": "good"}]})
    keys = [made.json()["key"], rotated.json()["key"]]
    for key in keys:
        path = "/v1/chat/completions"
        await asker.ask("POST", path, 200, json=chat("fast"), headers=bearer(key), lets=(ANSWER,))
    token = next(word for word in link.replace('"', "/").split("/") if word.startswith("mvi_"))
    return [*keys, token]


def text_of(path: Path) -> str:
    return path.read_bytes().decode("latin-1")


async def refuse_registrations(asker: Asker, fake: FakeModelServer) -> None:
    """Everything that can be wrong with a registration, with a key in it."""
    taken = {"endpoint_url": f"{fake.url}/good", "api_key": REFUSED}
    await asker.ask("POST", "/admin/register", 409, json=taken)
    lacking = {"endpoint_url": f"{fake.url}/elsewhere", "model_name": "m", "api_key": REFUSED}
    await asker.ask("POST", "/admin/register", 503, json=lacking)
    nobody = {"endpoint_url": "http://127.0.0.1:1", "api_key": REFUSED}
    await asker.ask("POST", "/admin/register", 503, json=nobody)
    await asker.ask("POST", "/admin/register", 422, json={"endpoint_url": fake.url, "api_key": f"{REFUSED}\n"})
    await asker.ask("POST", "/admin/register", 422, json={"endpoint_url": fake.url, "api_key": {"key": REFUSED}})
    await asker.ask("POST", "/admin/register", 422, json={"endpoint_url": fake.url, "api_kee": REFUSED})
    await asker.ask("POST", "/admin/register", 400, content=f'{{"api_key": "{REFUSED}", '.encode())
    host = f"127.0.0.1:{fake.port}"
    for url in (f"http://user:{PASSWORD}@{host}", f"http://{PASSWORD}@{host}", f"ftp://user:{PASSWORD}@{host}"):
        await asker.ask("POST", "/admin/register", 400, json={"endpoint_url": url})


async def use_models(asker: Asker, *, after_checks: bool = False) -> None:
    """Ask every model, streamed and not, and let it answer as badly as it does."""
    path = "/v1/chat/completions"
    for stream in (False, True):
        good = await asker.ask("POST", path, 200, json=chat(stream=stream), lets=(ANSWER,))
        assert ANSWER in good.text
        await asker.ask("POST", path, 200, json=chat("cut-stream", stream=stream), lets=(ANSWER,))
        for name in FAULTS:
            answer = await asker.client.post(path, json=chat(name, stream=stream))
            assert answer.status_code == 503 if after_checks else answer.status_code >= 400, (name, answer.text)
            lets = (PROMPT, ANSWER) if name in OWN_WORDS and not after_checks else ()
            asker.found += [f"{canary} for {name}: {answer.text}" for canary in canaries_in(answer.content, lets)]


async def send_rubbish(asker: Asker) -> None:
    """Bodies that the gateway itself refuses, with a prompt in them."""
    path = "/v1/chat/completions"
    await asker.ask("POST", path, 404, json=chat("no-such-model"))
    await asker.ask("POST", path, 400, json=chat(["good", PROMPT]))
    await asker.ask("POST", path, 400, json=chat(stream=PROMPT))
    await asker.ask("POST", path, 400, json=[PROMPT])
    await asker.ask("POST", path, 400, content=json.dumps(chat())[:-1].encode())
    await asker.ask("POST", path, 400, content=b"\xff\xfe" + PROMPT.encode())
    await asker.ask("POST", path, 400, json=chat(deep=json.loads("[" * 200 + f'"{PROMPT}"' + "]" * 200)))
    await asker.ask("POST", path, 413, json=chat(padding=PROMPT * 4000))
    await asker.ask("GET", "/admin/usage", 422, params={"from": PROMPT, "key": ADMIN})
    await asker.ask("GET", "/admin/usage", 422, params={"group_by": PROMPT})
    await asker.ask("GET", "/admin/audit", 422, params={"since": PROMPT, "actor": ADMIN})
    await asker.ask("GET", "/admin/audit", 200, params={"actor": ADMIN, "object": KEPT})
    await asker.ask("POST", "/v1/no-such-path", 404, json=chat(), params={"key": ADMIN, "prompt": PROMPT})
    await asker.ask("POST", "/admin/servers", 405, json=chat())
    await asker.ask("GET", "/admin/servers", 422, params={"status": PROMPT, "api_key": ADMIN})
    await asker.ask("GET", path, 405, params={"prompt": PROMPT})


async def try_wrong_keys(asker: Asker) -> None:
    """Keys in all the wrong places."""
    plain = {"authorization": ""}
    wrong: list[dict[str, str]] = [
        bearer(STRANGER),
        {**plain, "x-api-key": STRANGER},
        {"authorization": f"Basic {base64.b64encode(f'user:{STRANGER}'.encode()).decode()}"},
        {"authorization": f"Bearer {STRANGER} {ADMIN}"},
        {"authorization": STRANGER},
        {**bearer(ADMIN), "x-api-key": STRANGER},
        {**plain, "cookie": f"key={ADMIN}; session={STRANGER}"},
        {**plain, "proxy-authorization": f"Bearer {ADMIN}"},
        bearer(ADMIN[:-1]),
        bearer(f"{ADMIN}x"),
        {**plain, "user-agent": STRANGER, "referer": f"http://other/?key={STRANGER}"},
    ]
    for headers in wrong:
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/admin/servers"),
                             ("POST", "/admin/register"), ("GET", "/metrics")):  # fmt: skip
            body = {"json": {**chat(), "api_key": REFUSED}} if method == "POST" else {}
            await asker.ask(method, path, 401, headers=headers, params={"key": STRANGER}, **body)
    await asker.ask("GET", "/admin/servers", 401, headers=bearer(METRICS))
    await asker.ask("GET", "/metrics", 200, headers=bearer(METRICS))


async def check(asker: Asker, ids: dict[str, str]) -> None:
    """Let the checks meet the faults until each server is out; the owner reads why, without the keys."""
    for name, server_id in ids.items():
        for _time in range(3):
            answer = await asker.ask("POST", f"/admin/servers/{server_id}/check", 200)
        expected = "healthy" if name in ("good", "cut-stream") else "unhealthy"
        assert answer.json()["health_status"] == expected, name
        assert (answer.json()["reason"] == "") is (expected == "healthy"), name


async def look_around(asker: Asker, ids: dict[str, str]) -> None:
    """Read everything that can be read."""
    pages = ("/health", "/ready", "/metrics", "/", "/openapi.json", "/v1/models", "/admin/servers", "/v1/usage")
    groupings = ("key", "model", "server", "owner", "group", "person", "hour", "day")
    accounts = [f"/admin/usage?group_by={name}" for name in groupings]
    accounts += ["/admin/usage?format=csv", "/admin/usage/contributions", "/admin/usage/contributions?format=csv"]
    accounts += ["/admin/audit?limit=1000", "/admin/audit?format=csv&limit=1000", "/admin/keys", "/admin/aliases"]
    assert "settings.first" in (await asker.ask("GET", "/admin/audit?kind=settings", 200)).text
    for path in (*pages, *accounts, *(f"/admin/servers/{server_id}" for server_id in ids.values())):
        await asker.ask("GET", path, 200)


def leaks(gateway: GatewayProcess) -> Iterator[str]:
    """Look into every file that there is, into every member of the backup, and into every row."""
    folder = gateway.folder
    unpacked = folder / "unpacked"
    with tarfile.open(folder / "saved.tar.gz") as archive:  # by hand: `extractall(filter=)` is newer than Python 3.11.0
        for member in archive.getmembers():
            file = unpacked / member.name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(archive.extractfile(member).read())
    files = {path for path in folder.rglob("*") if path.is_file()} | {gateway.output_file}
    databases = [path for path in files if path.name == "gateway.db"]
    assert len(databases) == 2
    assert folder / "logs" / "gateway.log" in files
    for path in files:
        yield from (f"{canary} in {path}" for canary in canaries_in(path.read_bytes()))
    for path in databases:
        with sqlite3.connect(path) as connection:
            for line in connection.iterdump():
                yield from (f"{canary} in {line}" for canary in canaries_in(line.encode()))
        connection.close()


async def test_a_key_that_the_gateway_made_stands_in_its_file_alone(tmp_path: Path, shell: str) -> None:
    folder = tmp_path / "gateway"
    async with open_gateway(folder, shell, admin_key=None, log_level="DEBUG") as gateway:
        key_file = folder / "data" / "admin.key"
        key = key_file.read_text().strip()
        assert key_file.stat().st_mode & 0o777 == 0o600
        async with gateway.client(headers=bearer(key)) as client:
            assert (await client.get("/admin/servers")).status_code == 200
            assert (await client.get("/v1/models")).status_code == 200
            assert key not in (await client.get("/metrics")).text
        await asyncio.to_thread(gateway.stop)
    secret = key.partition("_")[2].encode()
    assert len(secret) > 20
    others = {path for path in folder.rglob("*") if path.is_file()} - {key_file} | {gateway.output_file}
    assert folder / "gateway.db" in others
    assert [path for path in others if secret[:12] in path.read_bytes() or secret[-12:] in path.read_bytes()] == []
    assert "admin.key" in gateway.output
