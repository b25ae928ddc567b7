"""Is a head known again only where nothing but the length of its body differs, and the message is whole?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.known_head import KnownHead

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\nAuthorization: Bearer k\r\n\r\n"


def message(body: bytes, number: bytes | None = None) -> bytes:
    return HEAD % (number if number is not None else b"%d" % len(body)) + body


@pytest.fixture
def known() -> KnownHead:
    found = KnownHead.of(message(b"{}"), 2)
    assert found is not None
    return found


@given(st.binary(max_size=2000))
def test_any_whole_body_is_known(body: bytes) -> None:
    known = KnownHead.of(message(b"{}"), 2)
    assert known is not None
    assert known.body_length(message(body)) == len(body)


@given(st.binary(max_size=40), st.binary(max_size=3), st.data())
def test_a_changed_octet_is_a_new_head(body: bytes, change: bytes, data: st.DataObject) -> None:
    known = KnownHead.of(message(b"{}"), 2)
    assert known is not None
    whole = message(body)
    place = data.draw(st.integers(0, len(whole) - len(body) - 1))
    other = whole[:place] + change + whole[place + 1 :]
    length = known.body_length(other)
    if length >= 0:  # then only the number was changed, and it is the right one
        assert other[len(other) - length :] == body
        assert other[: len(other) - length] == HEAD % other.split(b"Content-Length: ")[1].split(b"\r\n")[0]


@pytest.mark.parametrize("number", [b"", b"+2", b"-2", b" 2", b"2 ", b"0x2", b"2_0", b"3", b"1", b"\xb2", b"9" * 30])
def test_a_strange_number_is_not_known(known: KnownHead, number: bytes) -> None:
    assert known.body_length(message(b"{}", number)) == -1


@pytest.mark.parametrize("extra", [b"x", b"GET / HTTP/1.1\r\n\r\n"])
def test_more_or_less_than_one_message_is_not_known(known: KnownHead, extra: bytes) -> None:
    assert known.body_length(message(b"{}") + extra) == -1
    assert known.body_length(message(b"{}")[:-1]) == -1
    assert known.body_length(extra) == -1


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
    assert KnownHead.of(head + b"{}", 2) is None


def test_a_body_of_another_length_than_was_parsed_is_not_kept() -> None:
    assert KnownHead.of(message(b"{}"), 3) is None
    assert KnownHead.of(message(b"{}") + b"more", 2) is None
