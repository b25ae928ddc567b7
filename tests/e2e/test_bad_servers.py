"""What is said when a server is registered that answers with nonsense? Why it is refused, in time and in few words.

What comes from a server is as little to be trusted as what comes from a client: nothing of it may grow without bound,
reach a log or a page as it is, or keep the gateway busy.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.gateway_process import until
from tests.fakes.model_server import LAST_CHUNK, FakeModelServer, Seen, chunk, json_answer, serving, until_gone

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHECK_SECONDS = 0.5
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
LISTED = b'{"object":"list","data":[{"id":"m","object":"model"}]}'
DEPTH = 100_000

Behaviour = Callable[[FakeModelServer, Seen, asyncio.StreamWriter], Awaitable[None]]


def saying(answer: bytes, *, close: bool = False) -> Behaviour:
    async def behaviour(_fake: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if close:
            writer.transport.abort()

    return behaviour


async def endless_body(_fake: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    while not writer.transport.is_closing():
        writer.write(chunk(b" " * 65536))
        await writer.drain()


async def endless_body_without_length(_fake: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"\r\n[")
    while not writer.transport.is_closing():
        writer.write(b"1," * 32768)
        await writer.drain()


async def endless_headers(_fake: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD)
    while not writer.transport.is_closing():
        writer.write(b"x-more: and more\r\n" * 1000)
        await writer.drain()


async def slow_drip(fake: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
    """A byte now and then, never enough to be silent and never enough to be whole."""
    writer.write(HEAD + b"content-length: 1000\r\n\r\n")
    gone = asyncio.ensure_future(until_gone(fake, writer))
    while not gone.done():
        writer.write(b" ")
        await asyncio.wait([gone], timeout=0.05)
    await gone


async def silence(fake: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
    await until_gone(fake, writer)


REFUSED: dict[str, tuple[Behaviour, str]] = {
    "HTML": (saying(json_answer(b"<!doctype html><title>hi</title>", content_type="text/html")), "HTML"),
    "HTML that calls itself JSON": (saying(json_answer(b"<html><body>hi</body></html>")), "HTML"),
    "an empty body": (saying(json_answer(b"")), "empty body"),
    "plain text": (saying(json_answer(b"Ollama is running", content_type="text/plain")), "not JSON"),
    "half of JSON": (saying(json_answer(LISTED[:-9])), "not JSON"),
    "JSON of great depth": (saying(json_answer(b"[" * DEPTH + b"]" * DEPTH)), "not JSON"),
    "a list of great depth": (
        saying(json_answer(b'{"data":[' + b'{"id":' * DEPTH + b"1" + b"}" * DEPTH + b"]}")),
        "too complex to read",
    ),
    "half a character": (saying(json_answer(b'{"data":[{"id":"m"},{"id":"\\ud800"}]}')), "not JSON"),
    "bytes that are no UTF-8": (saying(json_answer(b'{"data":[{"id":"\xff\xfe"}]}')), "not JSON"),
    "compressed": (saying(json_answer(gzip.compress(LISTED), extra="content-encoding: gzip\r\n")), "not JSON"),
    "a bomb": (saying(json_answer(gzip.compress(b" " * 50_000_000), extra="content-encoding: gzip\r\n")), "not JSON"),
    "an array": (saying(json_answer([{"id": "m"}])), "not a list of models"),
    "null": (saying(json_answer(b"null")), "not a list of models"),
    "data that is an object": (saying(json_answer({"data": {"id": "m"}})), "not a list of models"),
    "no models": (saying(json_answer({"object": "list", "data": []})), "lists no model"),
    "models that are numbers": (saying(json_answer({"data": [1, 2, 3]})), "lists no model"),
    "models with strange ids": (
        saying(json_answer({"data": [{"id": 5}, {"id": None}, {"id": ["m"]}, {}]})),
        "lists no model",
    ),
    "models nobody could ask for": (
        saying(json_answer({"data": [{"id": "a\nb"}, {"id": ""}, {"id": "x" * 10_000}]})),
        "lists no model",
    ),
    "an error under 200": (saying(json_answer({"error": {"message": "model is gone"}})), "model is gone"),
    "404": (saying(json_answer({"detail": "Not Found"}, "404 Not Found")), "404"),
    "500": (saying(json_answer(b"<h1>oops</h1>", "500 Internal Server Error")), "500"),
    "503": (
        saying(json_answer({"error": {"message": "Loading model"}}, "503 Service Unavailable")),
        "loading the model",
    ),
    "401": (saying(json_answer({}, "401 Unauthorized")), "api_key"),
    "204": (saying(b"HTTP/1.1 204 No Content\r\n\r\n"), "204"),
    "a redirect": (
        saying(json_answer({}, "302 Found", extra="location: http://169.254.169.254/\r\n")),
        "redirects are not followed",
    ),
    "a redirect to itself": (
        saying(json_answer({}, "307 Temporary Redirect", extra="location: /v1/models\r\n")),
        "redirects",
    ),
    "another protocol": (
        saying(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"),
        "HTTP",
    ),
    "interim answers without end": (saying(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000), "HTTP"),
    "no HTTP": (saying(b"SSH-2.0-OpenSSH_9.6\r\n", close=True), "HTTP"),
    "HTTP/0.9": (saying(LISTED, close=True), "HTTP"),
    "nothing, and closes": (saying(b"", close=True), "before any answer"),
    "half a head": (saying(HEAD, close=True), "closed"),
    "half a body": (saying(HEAD + b"content-length: 500\r\n\r\n{", close=True), "closed"),
    "half of its chunks": (saying(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk(LISTED), close=True), "closed"),
    "two framings": (
        saying(HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n" + LAST_CHUNK),
        "HTTP",
    ),
    "two lengths": (saying(HEAD + b"content-length: 2\r\ncontent-length: 54\r\n\r\n" + LISTED), "HTTP"),
    "a length without end": (saying(HEAD + b"content-length: " + b"9" * 40 + b"\r\n\r\n" + LISTED), "HTTP"),
    "a bad chunk": (saying(HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}"), "HTTP"),
    "one long header": (
        saying(HEAD + b"x-long: " + b"a" * 200_000 + b"\r\ncontent-length: 54\r\n\r\n" + LISTED),
        "headers are too large",
    ),
    "ten thousand headers": (
        saying(HEAD + b"x-more: 1\r\n" * 10_000 + b"content-length: 54\r\n\r\n" + LISTED),
        "headers are too large",
    ),
    "headers without end": (endless_headers, "headers are too large"),
    "a header with control characters": (
        saying(HEAD + b"x-a: \x01\x02\r\ncontent-length: 54\r\n\r\n" + LISTED),
        "HTTP",
    ),
    "a body without end": (endless_body, "larger than 4 MiB"),
    "a body without end and length": (endless_body_without_length, "larger than 4 MiB"),
    "a slow drip": (slow_drip, "no answer within"),
    "silence": (silence, "no answer within"),
}
"""What a server answers when it is asked for its models, and what its owner is told of it."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    folder = tmp_path_factory.mktemp("bad-servers")
    async with open_in_process(folder, health_check_timeout_seconds=CHECK_SECONDS) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def lives_on(gateway: GatewayInProcess) -> AsyncIterator[None]:
    logged = len(gateway.log)
    yield
    assert (await gateway.client.get("/health")).status_code == 200
    for server in (await gateway.client.get("/admin/servers")).json()["servers"]:
        assert (await gateway.client.delete(f"/admin/register/{server['registration_id']}")).status_code == 204
    assert "ERROR" not in gateway.log[logged:]


@pytest.mark.parametrize(("behaviour", "reason"), REFUSED.values(), ids=REFUSED)
async def test_a_server_that_answers_so_is_refused_with_the_reason(
    gateway: GatewayInProcess, behaviour: Behaviour, reason: str
) -> None:
    async with serving(FakeModelServer(behaviours={"*": behaviour})) as (server,):
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        answer = await gateway.register(server.url)
        assert loop.time() - asked_at < CHECK_SECONDS + 5
        assert answer.status_code == 503, answer.text
        error = answer.json()["error"]
        assert error["code"] == "server_unreachable"
        assert reason in error["message"]
        assert error["message"].isprintable()
        assert len(error["message"]) < 1000
        assert answer.headers["retry-after"]
        await until(lambda: not server._writers, "the connection is given up")
    assert (await gateway.client.get("/admin/servers")).json()["total"] == 0


async def test_a_named_model_that_is_not_listed(gateway: GatewayInProcess) -> None:
    async with serving(FakeModelServer()) as (server,):
        answer = await gateway.register(server.url, model_name="other")
        assert answer.status_code == 503
        message = answer.json()["error"]["message"]
        assert "lists model m but not other" in message
        assert json.dumps({"name": "other", "upstream_name": "m"})[1:-1] in message


async def test_of_ten_thousand_models_a_thousand_are_taken(gateway: GatewayInProcess) -> None:
    names = [f"model-{number}" for number in range(10_000)]
    async with serving(FakeModelServer(models=names)) as (server,):
        answer = await gateway.register(server.url)
        assert answer.status_code == 201, answer.text
        assert answer.json()["models"] == names[:1000]
        assert len((await gateway.client.get("/v1/models")).json()["data"]) == 1000
        assert (await gateway.chat("model-999")).status_code == 200
        unknown = await gateway.chat("model-1000")
        assert unknown.status_code == 404
        assert len(unknown.json()["error"]["message"]) < 1000


STRANGE = ["m", "a\nb", "a\r\nx-injected: 1", "nul\0", "\x1b[31mred", " padded ", "x" * 257, "", "line\u2028break"]
KEPT = [
    "m",
    "with/slash",
    "with space",
    "\u6a21\u578b",
    "<script>alert(1)</script>",
    "'; DROP TABLE model_servers;--",
    "../../etc",
    "x" * 256,
]


async def test_names_that_nobody_could_ask_for_are_left_out(gateway: GatewayInProcess) -> None:
    listed = {"data": [{"id": name} for name in [*STRANGE, *KEPT]]}
    answer_listed = saying(json_answer(json.dumps(listed).encode()))
    async with serving(FakeModelServer(behaviours={"/v1/models": answer_listed})) as (server,):
        answer = await gateway.register(server.url)
        assert answer.status_code == 201, answer.text
        assert answer.json()["models"] == KEPT
        for name in KEPT:
            found = await gateway.chat(name)
            assert found.status_code == 200, name
            assert server.inference[-1].json["model"] == name


@pytest.mark.parametrize("length", [-1, 0, 10**400, 1e308, "8192", "many", None, True, [], {}, float("inf"), 2**31])
async def test_a_context_length_that_is_none_is_not_believed(gateway: GatewayInProcess, length: object) -> None:
    listed = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": length, "meta": {"n_ctx": length}}]}
    text = json.dumps(listed).replace("Infinity", "1e999")
    async with serving(FakeModelServer(behaviours={"/v1/models": saying(json_answer(text.encode()))})) as (server,):
        answer = await gateway.register(server.url)
        assert answer.status_code in {201, 503}, answer.text
        if answer.status_code == 201:
            model = (await gateway.client.get("/v1/models/m")).json()
            assert model["context_length"] in {None, 8192}


@pytest.mark.parametrize("behaviour", [behaviour for behaviour, _reason in REFUSED.values()], ids=REFUSED)
async def test_a_server_that_turns_so_is_found_out_by_its_next_check(
    gateway: GatewayInProcess, behaviour: Behaviour
) -> None:
    async with serving(FakeModelServer()) as (server,):
        server_id = (await gateway.register(server.url)).json()["registration_id"]
        server.behaviours["*"] = behaviour
        found = await gateway.client.post(f"/admin/servers/{server_id}/check")
        assert found.status_code == 200, found.text
        seen = found.json()
        assert seen["history"][0]["ok"] is False
        assert seen["reason"].isprintable()
        assert 0 < len(seen["reason"]) < 1000
        assert seen["models"] == ["m"]  # what was known stays until it is known better
