"""Is a request known again only where it differs in what may differ, and is that read right?"""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.http.known_message import KnownMessage, Variation

READ = frozenset((b"host", b"authorization", b"origin", b"x-request-id", b"traceparent", b"tracestate", b"via"))
LONGEST = 4096
LINES = [
    b"POST /v1/completions HTTP/1.1",
    b"Host: a",
    b"Authorization: Bearer k",
    b"Connection: keep-alive",
    b"User-Agent: one",
    b"X-Request-ID: first",
    b"traceparent: 00-a",
    b"Content-Length: 2",
    b"Idempotency-Key: 1",
]


def vary(known: KnownMessage, message: bytes) -> Variation | None:
    """As a connection asks."""
    return known.compare(message, LONGEST) or known.learn(message, LONGEST)


def request(body: bytes = b"{}", **changes: bytes) -> bytes:
    """The known request with some lines changed, by the place of each."""
    lines = [changes.get(f"line_{place}", line) for place, line in enumerate(LINES)]
    if "line_7" not in changes:
        lines[7] = b"Content-Length: %d" % len(body)
    return b"\r\n".join(line for line in lines if line) + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def known() -> KnownMessage:
    found = KnownMessage.of(request(), 2, READ)
    assert found is not None
    return found


def test_the_same_again(known: KnownMessage) -> None:
    assert vary(known, request()) == Variation(2, b"first", b"00-a", b"")
    assert vary(known, request(b"[1, 2]")) == Variation(6, b"first", b"00-a", b"")


@given(st.binary(max_size=300), st.from_regex(rb"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True))
def test_what_nobody_looks_at_may_vary(body: bytes, value: bytes) -> None:
    known = KnownMessage.of(request(), 2, READ)
    assert known is not None
    other = request(body, line_4=b"User-Agent: " + value, line_5=b"X-Request-ID: " + value, line_6=b"traceparent: 00-b")
    assert vary(known, other) == Variation(len(body), value, b"00-b", b"")


@pytest.mark.parametrize(
    "changes",
    [
        {"line_0": b"POST /v1/embeddings HTTP/1.1"},
        {"line_0": b"GET /v1/completions HTTP/1.1"},
        {"line_0": b"POST /v1/completions HTTP/1.0"},
        {"line_1": b"Host: b"},
        {"line_1": b"host: a"},
        {"line_2": b"Authorization: Bearer j"},
        {"line_3": b"Connection: close"},
        {"line_4": b"User-Agent: "},
        {"line_4": b"User-Agent:two"},
        {"line_4": b"User-Agent : one"},
        {"line_4": b"User-Agent: a\nb"},
        {"line_4": b"User-Agent: a\x00"},
        {"line_4": b"User-Agent: \xe9"},
        {"line_4": b"Accept: one"},
        {"line_4": b""},
        {"line_4": b"User-Agent: one\r\nX: y"},
        {"line_4": b"User-Agent: one\r\n folded"},
        {"line_4": b"User-Agent: " + b"x" * LONGEST},
        {"line_7": b"Content-Length: 3"},
        {"line_7": b"Content-Length: +2"},
        {"line_7": b"Content-Length: 0x2"},
        {"line_7": b"Content-Length: 2, 2"},
        {"line_7": b"Content-Length: 2\r\nContent-Length: 2"},
        {"line_7": b"Transfer-Encoding: chunked"},
        {"line_8": b"Idempotency-Key: 1\r\nTransfer-Encoding: chunked"},
    ],
)
def test_what_matters_may_not(known: KnownMessage, changes: dict[str, bytes]) -> None:
    assert vary(known, request(**changes)) is None


def test_only_one_whole_request_is_known(known: KnownMessage) -> None:
    assert vary(known, request() + request()) is None
    assert vary(known, request()[:-1]) is None
    assert vary(known, request(line_4=b"User-Agent: two") + b"x") is None
    assert vary(known, b"") is None


@pytest.mark.parametrize("name", [b"X-Request-ID", b"traceparent", b"tracestate", b"content-length"])
def test_a_head_that_says_twice_what_may_vary_is_not_kept(name: bytes) -> None:
    twice = request(line_8=b"%b: 2\r\n%b: 2" % (name, name.upper()))
    assert KnownMessage.of(twice, 2, READ) is None


class Notes:
    """What a parser makes of a request."""

    def __init__(self) -> None:
        self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.whole = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole += 1


@given(st.integers(0, 8), st.binary(max_size=30), st.binary(max_size=10))
def test_a_parser_reads_the_same(place: int, value: bytes, body: bytes) -> None:
    known = KnownMessage.of(request(), 2, READ)
    assert known is not None
    line = LINES[place].partition(b":")[0] + b": " + value
    other = request(body, **{f"line_{place}": line})
    found = vary(known, other)
    if found is not None:
        notes = Notes()
        httptools.HttpRequestParser(notes).feed_data(other)
        assert notes.whole == 1
        assert notes.body == body
        assert len(body) == found.body_length
        told = dict(notes.headers)
        assert told[b"x-request-id"] == found.request_id
        assert told[b"traceparent"] == found.traceparent


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\nHost: a\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\n Content-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n",
    ],
)
def test_heads_without_a_clear_length_are_not_kept(head: bytes) -> None:
    assert KnownMessage.of(head + b"{}", 2, READ) is None


def test_a_body_of_another_length_than_was_parsed_is_not_kept() -> None:
    assert KnownMessage.of(request(), 3, READ) is None
    assert KnownMessage.of(request() + b"more", 2, READ) is None


def test_what_varied_once_is_expected_to_vary(known: KnownMessage) -> None:
    for number in range(5):
        other = request(b"x" * number, line_5=b"X-Request-ID: %d" % number, line_8=b"Idempotency-Key: %d" % number)
        assert vary(known, other) == Variation(number, b"%d" % number, b"00-a", b"")
    assert vary(known, request(line_2=b"Authorization: Bearer j")) is None
    assert vary(known, request()) == Variation(2, b"first", b"00-a", b"")


ANSWER = b"HTTP/1.1 200 OK\r\ndate: %b\r\ncontent-type: %b\r\ncontent-length: 2\r\n\r\n{}"


def test_an_answer_is_known_too() -> None:
    known = KnownMessage.of(ANSWER % (b"Mon", b"application/json"), 2, {b"content-type"})
    assert known is not None
    assert vary(known, ANSWER % (b"Tue", b"application/json")) == Variation(2, b"", b"", b"")
    assert vary(known, ANSWER % (b"Tue", b"text/html")) is None
    assert vary(known, (ANSWER % (b"Tue", b"application/json")).replace(b"200", b"500")) is None
