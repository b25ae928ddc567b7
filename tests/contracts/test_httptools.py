"""What do the door and the connections to servers rely on in httptools, and is it still so?

Some of it is what the gateway has to refuse because the parser does not. Should a newer one refuse it by itself,
nothing is lost: those tests only say that the gateway's own rule is no longer the only one.
"""

from __future__ import annotations

from typing import Any

import httptools
import pytest

HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"


class Events:
    """Every callback, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.parser: Any = None

    def on_message_begin(self) -> None:
        self.told.append("begin")

    def on_url(self, url: bytes) -> None:
        self.told.append(("url", url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.told.append((name, value))

    def on_headers_complete(self) -> None:
        self.told.append("head")

    def on_body(self, body: bytes) -> None:
        self.told.append(("body", body))

    def on_message_complete(self) -> None:
        self.told.append("end")


def requests() -> tuple[Any, Events]:
    events = Events()
    events.parser = httptools.HttpRequestParser(events)
    events.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
    return events.parser, events


def responses() -> tuple[Any, Events]:
    events = Events()
    events.parser = httptools.HttpResponseParser(events)
    return events.parser, events


def test_a_request_in_its_order() -> None:
    parser, events = requests()
    parser.feed_data(HEAD + b"abc")
    expected = ["begin", ("url", b"/x"), (b"Host", b"a"), (b"Content-Length", b"3"), "head", ("body", b"abc"), "end"]
    assert events.told == expected
    assert (parser.get_http_version(), parser.get_method(), parser.should_keep_alive(), parser.should_upgrade()) == (
        "1.1", b"POST", True, False)  # fmt: skip


def test_headers_are_told_before_the_read_ends() -> None:
    """The door judges a head and begins while the rest of the read is still to be parsed."""
    parser, events = requests()
    parser.feed_data(HEAD + b"a")
    assert events.told[-2:] == ["head", ("body", b"a")]


def test_several_requests_in_one_read_are_told_one_after_another() -> None:
    parser, events = requests()
    parser.feed_data((HEAD + b"abc") * 3)
    assert events.told.count("begin") == events.told.count("end") == 3


def test_between_messages_a_parser_misses_nothing_that_it_is_not_shown() -> None:
    """The fast path of the door: a known request passes by the parser, which stands ready for the one after it."""
    for make, message in ((requests, HEAD + b"abc"), (responses, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")):
        parser, events = make()
        parser.feed_data(message)
        whole = list(events.told)
        for count in (2, 3):
            parser.feed_data(message)
            assert events.told == whole * count


def test_between_chunks_too() -> None:
    """That of the connections to servers: a chunk passes by, the parser reads the next one."""
    parser, events = responses()
    parser.feed_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    parser.feed_data(b"2\r\nde\r\n0\r\n\r\n")
    assert [one for one in events.told if one[0] == "body"] == [("body", b"abc"), ("body", b"de")]
    assert events.told[-1] == "end"


def test_an_exception_in_a_callback_is_an_error_of_the_parser() -> None:
    events = Events()

    def fail() -> None:
        raise KeyError("a bug")

    events.on_headers_complete = fail  # type: ignore[method-assign]
    parser = httptools.HttpRequestParser(events)
    with pytest.raises(httptools.HttpParserError) as caught:
        parser.feed_data(HEAD)
    assert isinstance(caught.value, httptools.HttpParserCallbackError)


def test_an_upgrade_is_told_and_counts_as_whole_before_its_body() -> None:
    """Hence the door refuses such a head at once: what follows would be read as something else."""
    parser, events = requests()
    with pytest.raises(httptools.HttpParserUpgrade):
        parser.feed_data(HEAD[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nabc")
    assert parser.should_upgrade()
    assert ("body", b"abc") not in events.told


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
     b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"],
)  # fmt: skip
def test_what_the_gateway_has_to_refuse_by_itself(head: bytes) -> None:
    parser, events = requests()
    parser.feed_data(head)
    assert "head" in events.told


@pytest.mark.parametrize(
    "data",
    [HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n", HEAD[:-2] + b"Content-Length: 3\r\n\r\n",
     HEAD.replace(b": 3", b": +3"), HEAD.replace(b": 3", b": 3, 3"), HEAD.replace(b": 3", b": 0x3"),
     HEAD.replace(b"\r\n", b"\n"), HEAD[:-2] + b"X: y\r\n z\r\n\r\n", HEAD[:-2] + b"X : y\r\n\r\n",
     HEAD[:-2] + b"X: a\0b\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HEAD.replace(b"1.1", b"1.2"),
     HEAD.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"0x3\r\nabc\r\n0\r\n\r\n",
     HEAD.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"+3\r\nabc\r\n0\r\n\r\n",
     HEAD.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"3\nabc\r\n0\r\n\r\n",
     HEAD.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked, chunked") + b"zz\r\n"],
)  # fmt: skip
def test_what_the_parser_refuses(data: bytes) -> None:
    """The gateway leaves these to it."""
    parser, _events = requests()
    with pytest.raises(httptools.HttpParserError):
        parser.feed_data(data)


def test_targets() -> None:
    assert httptools.parse_url(b"/x?a=b").path == b"/x"
    assert httptools.parse_url(b"http://a/x").path == b"/x"
    assert httptools.parse_url(b"http://a").path in {None, b""}
    with pytest.raises(httptools.HttpParserError):
        httptools.parse_url(b"x y")


def test_an_answer_and_those_before_it() -> None:
    """Whether the connection is kept can be asked for at the end of the message, and not after it."""
    parser, events = responses()
    kept: list[tuple[int, bool]] = []
    events.on_message_complete = lambda: kept.append(  # type: ignore[method-assign]
        (parser.get_status_code(), parser.should_keep_alive())
    )
    parser = httptools.HttpResponseParser(events)
    parser.feed_data(b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n")
    parser.feed_data(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    parser.feed_data(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    assert kept == [(103, True), (200, True), (200, False)]


def test_an_answer_without_a_length_has_no_end() -> None:
    parser, events = responses()
    parser.feed_data(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab")
    assert "end" not in events.told
    assert not parser.should_keep_alive()
