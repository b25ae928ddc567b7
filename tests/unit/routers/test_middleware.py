"""Does every request meet the same bounds, and every answer carry the same headers?"""

from __future__ import annotations

import asyncio
import logging
import re

import pytest
import structlog

from app.routers.middleware import Bounds, RequestGuard

JSON = {"content-type": "application/json"}


def scope_of(method="POST", headers=(), path="/", **other):
    host = [] if any(name == b"host" for name, _ in headers) else [(b"host", b"gateway")]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "http_version": "1.1",
        "headers": [*host, *headers],
    } | other


class Wire:
    """Plays the server's side: hands out chunks, keeps what was sent."""

    def __init__(self, *messages):
        self._messages = list(messages)
        self.sent = []
        self.reads = 0

    async def receive(self):
        self.reads += 1
        if not self._messages:
            await asyncio.Event().wait()
        return self._messages.pop(0)

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent[1:])


def chunk(body=b"", more=False):
    return {"type": "http.request", "body": body, "more_body": more}


async def echo(_scope, receive, send):
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


async def serve(scope, *messages, app=echo, bounds=None):
    wire = Wire(*messages)
    await RequestGuard(app, bounds)(scope, wire.receive, wire.send)
    return wire


async def test_a_body_in_pieces_reaches_the_route_whole():
    headers = [(b"transfer-encoding", b"chunked")]
    wire = await serve(scope_of(headers=headers), chunk(b"a", more=True), chunk(b"b", more=True), chunk(b"c"))
    assert (wire.status, wire.body) == (200, b"abc")


async def test_without_a_body_nothing_is_read_in_http1_but_in_http2():
    assert (await serve(scope_of("GET"))).reads == 0
    wire = await serve(scope_of("POST", http_version="2"), chunk(b"a"))
    assert wire.body == b"a"


async def test_a_length_over_the_bound_is_refused_unread():
    wire = await serve(scope_of(headers=[(b"content-length", b"11")]), bounds=Bounds(body_bytes=10))
    assert (wire.status, wire.reads) == (413, 0)
    wire = await serve(scope_of(headers=[(b"content-length", b"9" * 30)]))
    assert wire.status == 413


async def test_a_body_that_grows_over_the_bound_is_cut_off():
    headers = [(b"transfer-encoding", b"chunked")]
    pieces = [chunk(b"x" * 6, more=True)] * 5
    wire = await serve(scope_of(headers=headers), *pieces, bounds=Bounds(body_bytes=10))
    assert (wire.status, wire.reads) == (413, 2)
    exact = await serve(scope_of(headers=headers), chunk(b"x" * 10), bounds=Bounds(body_bytes=10))
    assert exact.status == 200


async def test_a_body_that_does_not_come_is_given_up():
    headers = [(b"content-length", b"5")]
    wire = await serve(scope_of(headers=headers), chunk(b"a", more=True), bounds=Bounds(body_seconds=0.01))
    assert wire.status == 408


async def test_a_client_that_leaves_is_not_answered():
    headers = [(b"content-length", b"5")]
    wire = await serve(scope_of(headers=headers), chunk(b"a", more=True), {"type": "http.disconnect"})
    assert wire.sent == []


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-a", b"b")] * 101,
        [(b"x-a", b"b" * 16_384)],
        [(b"x" * 16_384, b"")],
    ],
)
async def test_too_many_or_too_long_headers_are_431(headers):
    assert (await serve(scope_of(headers=headers))).status == 431


async def test_a_path_counts_as_head():
    assert (await serve(scope_of("GET", path="/" + "a" * 16_384))).status == 431


@pytest.mark.parametrize(
    "headers",
    [
        [(b"host", b"a"), (b"host", b"b")],
        [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"1"), (b"content-length", b"2")],
        [(b"content-length", b"-1")],
        [(b"transfer-encoding", b"gzip, chunked")],
    ],
)
async def test_a_head_that_can_be_read_two_ways_is_400(headers):
    assert (await serve(scope_of(headers=headers))).status == 400


@pytest.mark.parametrize("sane", [b"a", b"Abc-1.2_3", b"x" * 128])
async def test_a_sane_request_id_is_kept(sane):
    wire = await serve(scope_of(headers=[(b"x-request-id", sane)]), chunk())
    assert wire.headers["x-request-id"] == sane.decode()


@pytest.mark.parametrize("odd", [b"", b"a b", b"a\n", b"x" * 129, b"\xff", b"<script>", "ü".encode()])
async def test_any_other_request_id_is_replaced(odd):
    wire = await serve(scope_of(headers=[(b"x-request-id", odd)]), chunk())
    assert re.fullmatch(r"[0-9a-f]{32}", wire.headers["x-request-id"])


async def test_the_request_id_is_on_log_lines_and_only_there():
    seen = []

    async def looks(scope, receive, send):
        seen.append(structlog.contextvars.get_contextvars())
        await echo(scope, receive, send)

    await serve(scope_of(headers=[(b"x-request-id", b"abc")]), chunk(), app=looks)
    assert seen == [{"request_id": "abc"}]
    assert structlog.contextvars.get_contextvars() == {}


async def test_every_answer_carries_the_security_headers_unless_it_has_its_own():
    async def own(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
        await send({"type": "http.response.body", "body": b""})

    headers = (await serve(scope_of("GET"), app=own)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "public"


async def test_a_bug_is_500_with_the_id_and_a_traceback_in_the_log_alone(caplog):
    async def fails(_scope, _receive, _send):
        raise ZeroDivisionError("secret detail")

    with caplog.at_level(logging.ERROR):
        wire = await serve(scope_of(headers=[(b"x-request-id", b"abc")]), chunk(), app=fails)
    assert wire.status == 500
    assert b"abc" in wire.body
    assert b"secret detail" not in wire.body
    assert b"ZeroDivisionError" not in wire.body
    assert "by a bug" in caplog.text


async def test_a_bug_after_the_answer_began_breaks_the_connection():
    async def fails(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await serve(scope_of("GET"), app=fails)


@pytest.mark.parametrize("declared", [b"text/plain", b"application/x-www-form-urlencoded", b"", b"\xff", None])
async def test_every_body_is_handed_on_as_json(declared):
    seen = []

    async def looks(scope, receive, send):
        seen.append([value for name, value in scope["headers"] if name == b"content-type"])
        await echo(scope, receive, send)

    headers = [(b"content-length", b"2"), *([] if declared is None else [(b"content-type", declared)] * 2)]
    await serve(scope_of(headers=headers), chunk(b"{}"), app=looks)
    assert seen == [[b"application/json"]]


async def test_other_scopes_are_handed_on():
    seen = []

    async def app(scope, _receive, _send):
        seen.append(scope["type"])

    await RequestGuard(app)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]


async def test_a_cancelled_request_stays_cancelled():
    started = asyncio.Event()

    async def waits(_scope, _receive, _send):
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(serve(scope_of("GET"), app=waits))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_whole_api_keeps_the_bounds(api):
    answer = await api.client.post("/admin/register", content=b"x" * 21_000_000, headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    answer = await api.client.get("/health", headers=[(f"x-{number}", "y") for number in range(10_000)])
    assert answer.status_code == 431
