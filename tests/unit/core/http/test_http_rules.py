"""Heads: what two parsers could read differently is refused, all else passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.errors import BodyTooLarge, HeadTooLarge, RequestInvalid
from app.services.core.http.http_rules import ends_connection, judge_head, judge_head_size

LIMIT = 1000
HOST = (b"host", b"gateway.example:8000")
CHUNKED = (b"transfer-encoding", b"chunked")
SOCKET = (b"upgrade", b"websocket")
SWITCH = (b"connection", b"keep-alive, Upgrade")


def length(value: bytes) -> tuple[bytes, bytes]:
    return b"content-length", value


def judge(*headers: tuple[bytes, bytes], version: str = "1.1") -> None:
    judge_head(headers, version, LIMIT)


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ((HOST,), "1.1"),
        ((HOST, length(b"0")), "1.1"),
        ((HOST, length(b"1000")), "1.1"),
        ((HOST, length(b"0001000")), "1.1"),
        ((HOST, CHUNKED), "1.1"),
        ((HOST, (b"transfer-encoding", b" Chunked ")), "1.1"),
        ((), "1.0"),
        ((length(b"5"),), "1.0"),
        ((HOST, length(b"5")), "1.0"),
        ((HOST,), "2"),
        ((), "3"),
        (((b"host", b""),), "1.1"),
        (((b"host", b"[::1]:8000"),), "1.1"),
        (((b"host", b"my_box.local"),), "1.1"),
        ((HOST, SOCKET, SWITCH), "1.1"),
        ((HOST, (b"upgrade", b"h2c"), length(b"5")), "1.1"),
        ((HOST, (b"upgrade", b"h2c"), (b"connection", b"close")), "1.1"),
    ],
)
def test_a_plain_head_passes(headers: tuple[tuple[bytes, bytes], ...], version: str) -> None:
    judge(*headers, version=version)


@pytest.mark.parametrize(
    ("headers", "version", "words"),
    [
        ((), "1.1", "exactly one Host"),
        ((HOST, HOST), "1.1", "exactly one Host"),
        ((HOST, HOST), "1.0", "exactly one Host"),
        (((b"host", b"a.example b.example"),), "1.1", "not a host"),
        (((b"host", b"user@a.example"),), "1.1", "not a host"),
        (((b"host", b"a.example/path"),), "1.1", "not a host"),
        (((b"host", b"a.example\xff"),), "1.1", "not a host"),
        ((HOST, (b"transfer-encoding", b"gzip, chunked")), "1.1", "Only 'Transfer-Encoding: chunked'"),
        ((HOST, (b"transfer-encoding", b"chunked, chunked")), "1.1", "Only 'Transfer-Encoding: chunked'"),
        ((HOST, (b"transfer-encoding", b"identity")), "1.1", "Only 'Transfer-Encoding: chunked'"),
        ((HOST, (b"transfer-encoding", b"")), "1.1", "Only 'Transfer-Encoding: chunked'"),
        ((HOST, (b"transfer-encoding", b"xchunked")), "1.1", "Only 'Transfer-Encoding: chunked'"),
        ((HOST, CHUNKED, CHUNKED), "1.1", "not several"),
        ((HOST, CHUNKED, length(b"5")), "1.1", "not several"),
        ((HOST, length(b"5"), CHUNKED), "1.1", "not several"),
        ((HOST, length(b"5"), length(b"5")), "1.1", "not several"),
        ((HOST, length(b"5"), length(b"6")), "1.1", "not several"),
        ((CHUNKED,), "1.0", "HTTP/1.0 has no Transfer-Encoding"),
        *(
            ((HOST, length(value)), "1.1", "must be a number")
            for value in (b"", b"+5", b"-5", b"5.0", b"0x5", b"5, 5", b"5 5", b" ", b"\xb2", "٣".encode())
        ),
        ((HOST,), "0.9", "Only HTTP/1.1"),
        ((HOST,), "2.0", "Only HTTP/1.1"),
        ((HOST,), "1.2", "Only HTTP/1.1"),
        ((HOST, SOCKET, SWITCH, length(b"5")), "1.1", "without an Upgrade header"),
        ((HOST, SOCKET, SWITCH, CHUNKED), "1.1", "without an Upgrade header"),
        ((HOST, (b"upgrade", b"h2c"), SWITCH), "1.1", "without an Upgrade header"),
    ],
)
def test_an_ambiguous_head_is_refused(headers: tuple[tuple[bytes, bytes], ...], version: str, words: str) -> None:
    with pytest.raises(RequestInvalid, match=words) as caught:
        judge(*headers, version=version)
    assert (caught.value.status, caught.value.code) == (400, "invalid_http")


@pytest.mark.parametrize("value", [b"1001", b"9" * 18, b"9" * 19, b"9" * 10_000])
def test_a_body_over_the_bound_is_refused_before_it_comes(value: bytes) -> None:
    with pytest.raises(BodyTooLarge, match="limit of 1000 bytes"):
        judge(HOST, length(value))


NAMES = st.sampled_from([b"host", b"content-length", b"transfer-encoding", b"upgrade", b"connection", b"accept"])
SOUND_VALUES = st.sampled_from([b"a.example", b"chunked", b"5", b"upgrade", b"websocket"])


@given(st.lists(st.tuples(NAMES, SOUND_VALUES | st.binary(max_size=8)), max_size=6), st.sampled_from(["1.0", "1.1"]))
def test_a_head_that_passes_has_one_host_and_one_framing(headers: list[tuple[bytes, bytes]], version: str) -> None:
    try:
        judge(*headers, version=version)
    except (RequestInvalid, BodyTooLarge):
        return
    names = [name for name, _value in headers]
    assert names.count(b"host") == 1 or (version == "1.0" and b"host" not in names)
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert version == "1.1" or b"transfer-encoding" not in names
    assert all(value.isdigit() for name, value in headers if name == b"content-length")


@pytest.mark.parametrize(("count", "size_bytes"), [(0, 0), (100, 16_384)])
def test_a_head_within_the_bounds_passes(count: int, size_bytes: int) -> None:
    judge_head_size(count, size_bytes, 100, 16_384)


@pytest.mark.parametrize(
    ("count", "size_bytes", "words"), [(101, 0, "more than 100 headers"), (0, 16_385, "longer than 16384 bytes")]
)
def test_a_head_over_a_bound_is_refused(count: int, size_bytes: int, words: str) -> None:
    with pytest.raises(HeadTooLarge, match=words):
        judge_head_size(count, size_bytes, 100, 16_384)


@pytest.mark.parametrize(
    ("headers", "version", "status", "ends"),
    [
        ((HOST,), "1.1", 400, True),
        ((HOST,), "1.1", 408, True),
        ((HOST,), "1.0", 400, True),
        ((HOST,), "2", 400, False),
        ((HOST,), "1.1", 401, False),
        ((HOST, length(b"5")), "1.1", 413, False),
        ((HOST, (b"expect", b"100-continue")), "1.1", 401, True),
        ((HOST, (b"expect", b"100-continue"), length(b"5")), "1.1", 413, True),
        ((HOST, (b"expect", b"100-continue"), CHUNKED), "1.1", 413, False),
        ((HOST, (b"expect", b"100-continue")), "2", 401, False),
    ],
)
def test_a_connection_ends_where_nobody_knows_what_comes_next(
    headers: tuple[tuple[bytes, bytes], ...], version: str, status: int, ends: bool
) -> None:
    assert ends_connection(headers, version, status) is ends
