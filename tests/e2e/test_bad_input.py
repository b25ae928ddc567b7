"""What does a client hear that sends nonsense? A clear 4xx in the one envelope, and the gateway lives on.

Bodies and sizes, on both ways in; how badly HTTP itself can be spoken is ``test_bad_http``'s.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fakes.gateway_in_process import ADMIN_KEY, SHELLS, GatewayInProcess, open_in_process
from tests.fakes.model_server import FakeModelServer, serving
from tests.fakes.raw_http import RawConnection, connected, exchange, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT, REGISTER = "/v1/chat/completions", "/admin/register"
KEY = ("Authorization", f"Bearer {ADMIN_KEY}")
JSON = ("Content-Type", "application/json")
GOOD = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
DEPTH = 100_000
DEEP_ARRAYS = b"[" * DEPTH + b"]" * DEPTH
DEEP_OBJECTS = b'{"a":' * DEPTH + b"1" + b"}" * DEPTH
HUGE = b"9" * 5000
ONE_MEBIBYTE = 1_048_576
TOO_MUCH = 21 * ONE_MEBIBYTE

NO_JSON = {
    "nothing": b"",
    "cut short": GOOD[:-3],
    "bytes after the end": GOOD + b"x",
    "two documents": GOOD + GOOD,
    "a comment": b'{"model":"m" /* here */}',
    "a trailing comma": b'{"model":"m",}',
    "single quotes": b"{'model':'m'}",
    "a form": b"model=m&stream=true",
    "UTF-16": GOOD.decode().encode("utf-16"),
    "NaN": b'{"model":"m","temperature":NaN}',
    "Infinity": b'{"model":"m","temperature":-Infinity}',
    "a raw NUL": b'{"model":"m\0"}',
    "a raw line break": b'{"model":"m","a":"\n"}',
    "bytes that are no UTF-8": b'{"model":"m","a":"\xff\xfe"}',
    "a surrogate in UTF-8": b'{"model":"m\xed\xa0\x80"}',
    "a lone surrogate": b'{"model":"\\ud800"}',
    "surrogates in the wrong order": b'{"model":"\\udfff\\ud800"}',
    "brackets without end": b"[" * DEPTH,
    "arrays of great depth": DEEP_ARRAYS,
    "objects of great depth": DEEP_OBJECTS,
    "great depth inside": b'{"model":"m","endpoint_url":"http://127.0.0.1","metadata":' + DEEP_OBJECTS + b"}",
    "an array": b"[]",
    "text": b'"m"',
    "a number": b"1",
    "null": b"null",
}
"""Nobody can do anything with these, at no path."""

BAD_REQUESTS = {
    "no model": (b'{"messages":[]}', "missing_model", "model"),
    "a number for a model": (b'{"model":1}', "wrong_type", "model"),
    "null for a model": (b'{"model":null}', "wrong_type", "model"),
    "a list of models": (b'{"model":["m"]}', "wrong_type", "model"),
    "an empty model": (b'{"model":""}', "invalid_request", "model"),
    "a long model": (b'{"model":"' + b"m" * 257 + b'"}', "invalid_request", "model"),
    "stream as text": (b'{"model":"m","stream":"true"}', "wrong_type", "stream"),
    "stream as a number": (b'{"model":"m","stream":1}', "wrong_type", "stream"),
    "options as a list": (b'{"model":"m","stream":true,"stream_options":[]}', "wrong_type", "stream_options"),
    "a million answers": (b'{"model":"m","n":1000000}', "invalid_request", "n"),
    "no answers": (b'{"model":"m","n":0}', "invalid_request", "n"),
    "fewer than none": (b'{"model":"m","n":-1}', "invalid_request", "n"),
    "half an answer": (b'{"model":"m","n":1.5}', "wrong_type", "n"),
    "more answers than a machine can count": (b'{"model":"m","n":' + HUGE + b"}", "wrong_type", "n"),
    "infinite answers": (b'{"model":"m","n":1e400}', "wrong_type", "n"),
    "65 levels": (b'{"model":"m","a":' + b"[" * 64 + b"]" * 64 + b"}", "too_deep", None),
}

BAD_FIELDS = {
    "no endpoint": (b"{}", "endpoint_url"),
    "a number for an endpoint": (b'{"endpoint_url":1}', "endpoint_url"),
    "null for an endpoint": (b'{"endpoint_url":null}', "endpoint_url"),
    "an unknown field": (b'{"max_concurency":1,"endpoint_url":"URL"}', "max_concurency"),
    "an unknown field with a strange name": (b'{"\\u001b[31m\\ud800":1,"endpoint_url":"URL"}', None),
    "a model with a line break": (b'{"endpoint_url":"URL","model_name":"a\\nb"}', "model_name"),
    "a model with NUL": (b'{"endpoint_url":"URL","model_name":"a\\u0000"}', "model_name"),
    "a model with a surrogate": (b'{"endpoint_url":"URL","model_name":"\\ud800"}', "model_name"),
    "an empty model": (b'{"endpoint_url":"URL","model_name":""}', "model_name"),
    "a long model": (b'{"endpoint_url":"URL","model_name":"' + b"m" * 300 + b'"}', "model_name"),
    "no models": (b'{"endpoint_url":"URL","models":[]}', "models"),
    "models as text": (b'{"endpoint_url":"URL","models":"m"}', "models"),
    "too many models": (
        json.dumps({"endpoint_url": "URL", "models": [f"m{index}" for index in range(2000)]}).encode(),
        "models",
    ),
    "a model that is a number": (b'{"endpoint_url":"URL","models":[1]}', "models[0]"),
    "a model named twice": (b'{"endpoint_url":"URL","models":["m","m"]}', None),
    "a key with a line break": (b'{"endpoint_url":"URL","api_key":"a\\r\\nX: 1"}', "api_key"),
    "a key with a surrogate": (b'{"endpoint_url":"URL","api_key":"\\udc80"}', "api_key"),
    "concurrency as text": (b'{"endpoint_url":"URL","max_concurrency":"8"}', "max_concurrency"),
    "concurrency as true": (b'{"endpoint_url":"URL","max_concurrency":true}', "max_concurrency"),
    "a concurrency of 0": (b'{"endpoint_url":"URL","max_concurrency":0}', "max_concurrency"),
    "a concurrency beyond counting": (
        b'{"endpoint_url":"URL","max_concurrency":1%s}' % (b"0" * 400),
        "max_concurrency",
    ),
    "a priority of half": (b'{"endpoint_url":"URL","priority":0.5}', "priority"),
    "an infinite weight": (b'{"endpoint_url":"URL","weight":1e999}', "weight"),
    "a negative weight": (b'{"endpoint_url":"URL","weight":-1}', "weight"),
    "a share with nobody": (b'{"endpoint_url":"URL","share":"nobody"}', "share"),
    "metadata as a list": (b'{"endpoint_url":"URL","metadata":[]}', "metadata"),
    "metadata with a surrogate": (b'{"endpoint_url":"URL","metadata":{"a":"\\ud800"}}', "metadata"),
    "metadata with a surrogate for a name": (b'{"endpoint_url":"URL","metadata":{"\\ud800":1}}', "metadata"),
    "metadata with NUL": (b'{"endpoint_url":"URL","metadata":{"a":"\\u0000"}}', "metadata"),
    "metadata with a great number": (b'{"endpoint_url":"URL","metadata":{"a":1%s}}' % (b"0" * 400), "metadata"),
    "metadata with infinity": (b'{"endpoint_url":"URL","metadata":{"a":1e999}}', "metadata"),
    "metadata too deep": (b'{"endpoint_url":"URL","metadata":{"a":' + b"[" * 20 + b"]" * 20 + b"}}", "metadata"),
    "metadata too large": (b'{"endpoint_url":"URL","metadata":{"a":"' + b"x" * 20_000 + b'"}}', "metadata"),
    "a context below nothing": (
        b'{"endpoint_url":"URL","capabilities":{"context_length":-1}}',
        "capabilities.context_length",
    ),
    "a context beyond counting": (
        b'{"endpoint_url":"URL","capabilities":{"context_length":' + b"9" * 30 + b"}}",
        "capabilities.context_length",
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    async with serving(FakeModelServer()) as (server,), open_in_process(tmp_path_factory.mktemp("bad-input")) as opened:
        assert (await opened.register(server.url)).status_code == 201
        yield opened


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def lives_on(gateway: GatewayInProcess) -> AsyncIterator[None]:
    """After each test the gateway serves, on both ways in, and has not stumbled over a bug."""
    logged = len(gateway.log)
    yield
    for shell in SHELLS:
        assert (await exchange(gateway.ports[shell], request("GET", "/health"))).status == 200
        assert (await exchange(gateway.ports[shell], post(CHAT, GOOD))).status == 200
    assert "ERROR" not in gateway.log[logged:]
    assert not gateway.app.state.plane.open_exchanges


@pytest.fixture
def port(gateway: GatewayInProcess, shell: str) -> int:
    return gateway.ports[shell]


def post(path: str, body: bytes, *headers: tuple[str, str]) -> bytes:
    return request("POST", path, (KEY, JSON, *headers), body)


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", REGISTER])
@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
async def test_what_is_no_request_at_all(port: int, path: str, body: bytes) -> None:
    answer = await exchange(port, post(path, body))
    assert answer.status in ({400} if path != REGISTER else {400, 422}), answer.body
    assert answer.error["message"].isprintable()
    assert len(answer.body) < 1000


@pytest.mark.parametrize(("body", "code", "param"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
async def test_a_request_that_routing_cannot_read(port: int, body: bytes, code: str, param: str | None) -> None:
    for path in (CHAT, "/v1/completions", "/v1/embeddings"):
        answer = await exchange(port, post(path, body))
        assert answer.status == 400
        assert (answer.error["code"], answer.error["param"]) == (code, param)
        assert not answer.closes  # the body was read whole: the connection is good for the next


@pytest.mark.parametrize(
    "model", ["nope", "M", "m ", " m", "m\u202e", "../m", "m\0", "\U0001f600", "'; DROP TABLE model_servers;--"]
)
async def test_an_unknown_model_is_told_what_there_is(port: int, model: str) -> None:
    answer = await exchange(port, post(CHAT, json.dumps({"model": model}).encode()))
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found"
    assert answer.error["message"].endswith("Available: m.")


@pytest.mark.parametrize(
    "target",
    ["/v1/models/nope", "/v1/models/%00", "/v1/models/%ff%fe", "/v1/models/%zz", "/v1/models/a/b/c", "/v1/models//",
     "/v1/models/" + "m" * 5000, "/v1/", "/v1/chat", "/v1/chat/completions/", "/v1/responses", "/v1/%63hat/completions",
     "/nothing", "/admin", "/admin/", "/admin/servers/%00", "/admin/servers/..%2f..", "/admin/servers/" + "9" * 5000,
     "/docs/%2e%2e"],
)  # fmt: skip
async def test_a_path_that_leads_nowhere(port: int, target: str) -> None:
    answer = await exchange(port, request("GET", target, [KEY]))
    assert answer.status == 404
    assert len(answer.error["message"]) < 500


@pytest.mark.parametrize(("body", "param"), BAD_FIELDS.values(), ids=BAD_FIELDS)
async def test_a_server_described_badly(gateway: GatewayInProcess, port: int, body: bytes, param: str | None) -> None:
    before = (await gateway.client.get("/admin/servers")).json()["total"]
    written = body.replace(b"URL", b"http://127.0.0.1:1")
    server_id = (await gateway.client.get("/admin/servers")).json()["servers"][0]["registration_id"]
    for method, path in (
        ("POST", REGISTER),
        ("PUT", f"/admin/register/{server_id}"),
        ("PATCH", f"/admin/register/{server_id}"),
    ):
        if method == "PATCH" and written == b"{}":
            continue  # changing nothing is no mistake
        answer = await exchange(port, request(method, path, (KEY, JSON), written))
        assert answer.status in {400, 422}, (method, answer.body)
        assert answer.error["message"].isprintable()
        if param is not None and answer.status == 422:
            assert param in (answer.error["param"] or answer.error["message"])
    assert (await gateway.client.get("/admin/servers")).json()["total"] == before


@pytest.mark.parametrize(
    "until",
    ["yesterday", "2020-01-01T00:00:00Z", "2030-01-01", "2030-01-01T00:00:00", "2030-13-01T00:00:00Z", 1893456000, True,
     "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "", "\0", "2030-01-01T00:00:00Z\n", "9" * 1000],
)  # fmt: skip
async def test_a_time_that_is_none(gateway: GatewayInProcess, port: int, until: object) -> None:
    server = (await gateway.client.get("/admin/servers")).json()["servers"][0]
    path = f"/admin/servers/{server['registration_id']}/pause"
    answer = await exchange(port, post(path, json.dumps({"until": until}).encode()))
    assert answer.status == 422, answer.body
    assert answer.error["param"] == "until"


@pytest.mark.parametrize(
    "query", ["status=ill", "status=", "status=healthy&status=ill", "status=%00", "status=" + "a" * 3000]
)
async def test_a_filter_that_is_none(port: int, query: str) -> None:
    answer = await exchange(port, request("GET", f"/admin/servers?{query}", [KEY]))
    assert answer.status == 422
    assert answer.error["param"] == "status"


@pytest.mark.parametrize(
    "query", ["model=%00", "model=%ff", "owner=%ed%a0%80", "model=" + "m" * 5000, "model[]=m", "%", "&&&=&", "a=b=c"]
)
async def test_a_strange_filter_finds_nothing_or_all(port: int, query: str) -> None:
    answer = await exchange(port, request("GET", f"/admin/servers?{query}", [KEY]))
    assert answer.status == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "\xff", "a/b;" * 99]
)
async def test_a_body_of_another_type(port: int, content_type: str) -> None:
    headers = (KEY, ("Content-Type", content_type))
    assert (await exchange(port, request("POST", CHAT, headers, GOOD))).status == 200  # OpenAI takes it too
    answer = await exchange(port, request("POST", REGISTER, headers, b'{"endpoint_url":"ftp://a"}'))
    assert answer.status in {400, 422}
    assert answer.error


async def send_chunks(connection: RawConnection, size_bytes: int) -> None:
    for _chunk in range(size_bytes // ONE_MEBIBYTE):
        await connection.send(b"%x\r\n%b\r\n" % (ONE_MEBIBYTE, b" " * ONE_MEBIBYTE))


@pytest.mark.parametrize("path", [CHAT, REGISTER])
class TestTooLarge:
    async def test_announced(self, port: int, path: str) -> None:
        """The answer comes before a byte of the body was sent."""
        async with connected(port) as connection:
            await connection.send(request("POST", path, (KEY, ("Content-Length", str(TOO_MUCH)))))
            answer = await connection.answer()
            assert (answer.status, answer.error["code"]) == (413, "request_too_large")

    async def test_announced_and_sent_all_the_same(self, port: int, path: str) -> None:
        async with connected(port) as connection:
            await connection.send(request("POST", path, (KEY, ("Content-Length", str(TOO_MUCH)))))
            await connection.send(b" " * TOO_MUCH)
            answer = await connection.answer()
            assert (answer.status, answer.error["code"]) == (413, "request_too_large")

    async def test_in_chunks(self, port: int, path: str) -> None:
        async with connected(port) as connection:
            await connection.send(request("POST", path, (KEY, ("Transfer-Encoding", "chunked"))))
            await send_chunks(connection, TOO_MUCH)
            answer = await connection.answer()
            assert (answer.status, answer.error["code"]) == (413, "request_too_large")

    async def test_after_asking(self, port: int, path: str) -> None:
        """A client that waits for 100 hears 413 instead; whether its body follows nobody knows, so that is the end."""
        async with connected(port) as connection:
            headers = (KEY, ("Content-Length", str(TOO_MUCH)), ("Expect", "100-continue"))
            await connection.send(request("POST", path, headers))
            answer = await connection.answer()
            assert (answer.status, answer.error["code"]) == (413, "request_too_large")
            assert answer.closes
            assert await connection.rest() == b""

    async def test_in_chunks_after_asking(self, port: int, path: str) -> None:
        async with connected(port) as connection:
            headers = (KEY, ("Transfer-Encoding", "chunked"), ("Expect", "100-continue"))
            await connection.send(request("POST", path, headers))
            assert await connection.interim() == 100
            await send_chunks(connection, TOO_MUCH)
            answer = await connection.answer()
            assert (answer.status, answer.error["code"]) == (413, "request_too_large")

    async def test_ten_thousand_headers(self, port: int, path: str) -> None:
        answer = await exchange(port, post(path, GOOD, *((f"X-{index}", "1") for index in range(10_000))))
        assert (answer.status, answer.error["code"]) == (431, "headers_too_large")

    @pytest.mark.parametrize(
        "header", [("X-Long", "a" * 1_000_000), ("a" * 1_000_000, "1"), ("Cookie", "a=b; " * 5000)]
    )
    async def test_one_long_header(self, port: int, path: str, header: tuple[str, str]) -> None:
        answer = await exchange(port, post(path, GOOD, header))
        assert (answer.status, answer.error["code"]) == (431, "headers_too_large")

    async def test_a_long_target(self, port: int, path: str) -> None:
        answer = await exchange(port, request("POST", f"{path}?{'a' * 20_000}", (KEY, JSON), GOOD))
        assert (answer.status, answer.error["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize("path", [CHAT, REGISTER])
async def test_asking_first_is_answered(port: int, path: str) -> None:
    """A client that waits for 100 gets it, then its answer; one without a key gets 401 at once."""
    async with connected(port) as connection:
        await connection.send(
            request("POST", path, (KEY, JSON, ("Expect", "100-continue"), ("Content-Length", str(len(GOOD)))))
        )
        assert await connection.interim() == 100
        await connection.send(GOOD)
        assert (await connection.answer()).status == (200 if path == CHAT else 422)
    async with connected(port) as connection:
        await connection.send(
            request("POST", path, (JSON, ("Expect", "100-continue"), ("Content-Length", str(len(GOOD)))))
        )
        answer = await connection.answer()
        assert (answer.status, answer.closes) == (401, True)
        assert answer.error["code"] == "invalid_api_key"


async def test_many_fields_are_no_hardship(port: int) -> None:
    fields = b",".join(b'"field_%d":%d' % (index, index) for index in range(50_000))
    assert (await exchange(port, post(CHAT, b'{"model":"m",' + fields + b"}"))).status == 200
    answer = await exchange(
        port, post(REGISTER, b'{"endpoint_url":"http://a",' + fields[:900_000].rpartition(b",")[0] + b"}")
    )
    assert answer.status == 422
    assert len(answer.body) < 2000
