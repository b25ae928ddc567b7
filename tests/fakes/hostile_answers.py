"""Answers that a hostile or broken model server could give to make two parsers disagree, or one of them tire.

Each is made for a body of a type: a whole JSON answer, or events. ``BROKEN`` are to be refused before a byte of them
reaches a client; ``EXCESSIVE`` hold a good answer with something behind it, which is to end the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["BROKEN", "EXCESSIVE", "FORGED"]

TE = b"Transfer-Encoding: chunked"
FORGED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 79\r\n\r\n"
    b'{"choices":[{"index":0,"message":{"content":"FORGED"},"finish_reason":"stop"}]}'
)
"""An answer to a request that was never made: whoever gets it got another's."""


def answer(*headers: bytes, kind: bytes, body: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((line, b"Content-Type: " + kind, *headers, b"", b"")) + body


def chunk(body: bytes, size: bytes | None = None, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"%b\r\n%b\r\n%b" % (size or b"%x" % len(body), body, end)


def length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


Shape = Callable[[bytes, bytes], bytes]


def _headed(*headers: bytes, coded: bool = False, line: bytes = b"HTTP/1.1 200 OK") -> Shape:
    """An answer whose framing is up to ``headers``; ``N`` stands for the number of bytes of the body."""

    def shape(kind: bytes, body: bytes) -> bytes:
        written = [header.replace(b": N", b": %d" % len(body)) for header in headers]
        return answer(*written, kind=kind, body=chunk(body) if coded else body, line=line)

    return shape


def _sized(size: bytes) -> Shape:
    """An answer of one chunk whose size is written so; ``N`` stands for the size."""
    return lambda kind, body: answer(TE, kind=kind, body=chunk(body, size.replace(b"N", b"%x" % len(body))))


BROKEN: Mapping[str, Shape] = {
    "CL.TE": _headed(b"Content-Length: N", TE, coded=True),
    "TE.CL": _headed(TE, b"Content-Length: 4", coded=True),
    "TE.CL of nothing": _headed(TE, b"Content-Length: 0", coded=True),
    "TE.TE": _headed(TE, TE, coded=True),
    "TE.TE, one identity": _headed(TE, b"Transfer-Encoding: identity", coded=True),
    "gzip, chunked": _headed(b"Transfer-Encoding: gzip, chunked", coded=True),
    "chunked, chunked": _headed(b"Transfer-Encoding: chunked, chunked", coded=True),
    "chunked, identity": _headed(b"Transfer-Encoding: chunked, identity", coded=True),
    "identity": _headed(b"Transfer-Encoding: identity", b"Content-Length: N"),
    "xchunked": _headed(b"Transfer-Encoding: xchunked", coded=True),
    "a vertical tab before chunked": _headed(b"Transfer-Encoding: \x0bchunked", coded=True),
    "a space before the colon": _headed(b"Transfer-Encoding : chunked", coded=True),
    "a tab before the colon": _headed(b"Transfer-Encoding\t: chunked", coded=True),
    "a folded coding": _headed(b"Transfer-Encoding:\r\n chunked", coded=True),
    "the same length twice": _headed(b"Content-Length: N", b"Content-Length: N"),
    "two lengths": _headed(b"Content-Length: N", b"Content-Length: 2"),
    "a list of lengths": _headed(b"Content-Length: N, 2"),
    "a length with a plus": _headed(b"Content-Length: +9"),
    "a length with a minus": _headed(b"Content-Length: -9"),
    "a length in hexadecimal": _headed(b"Content-Length: 0x9"),
    "a length with an underscore": _headed(b"Content-Length: 1_0"),
    "a length in other digits": _headed(b"Content-Length: \xb2"),
    "an empty length": _headed(b"Content-Length:"),
    "a length beyond 64 bits": _headed(b"Content-Length: 18446744073709551617"),
    "a length without end": _headed(b"Content-Length: " + b"9" * 4000),
    "a chunk size with 0x": _sized(b"0xN"),
    "a chunk size with a plus": _sized(b"+N"),
    "a chunk size with a minus": _sized(b"-N"),
    "a chunk size with an underscore": _sized(b"1_0"),
    "a chunk size with a space before": _sized(b" N"),
    "a chunk size in other digits": _sized(b"\xb2"),
    "a chunk size beyond 64 bits": _sized(b"10000000000000000N"),
    "a chunk size without end": _sized(b"f" * 4000),
    "no chunk size": lambda kind, body: answer(TE, kind=kind, body=b"\r\n" + body + b"\r\n0\r\n\r\n"),
    "a chunk extension with a bare line feed": _sized(b"N;a\nb"),
    "bare line feeds": lambda kind, body: answer(length(body), kind=kind, body=body).replace(b"\r\n", b"\n"),
    "bare carriage returns": lambda kind, body: answer(length(body), kind=kind, body=body).replace(b"\r\n", b"\r"),
    "a bare line feed in the head": _headed(b"X: y\nZ: z", b"Content-Length: N"),
    "a folded header": _headed(b"X: y\r\n z", b"Content-Length: N"),
    "a NUL in a value": _headed(b"X: a\0b", b"Content-Length: N"),
    "a NUL in a name": _headed(b"X\0Y: a", b"Content-Length: N"),
    "a header without a colon": _headed(b"Nothing", b"Content-Length: N"),
    "a header without a name": _headed(b": nameless", b"Content-Length: N"),
    "HTTP/0.9": lambda _kind, body: body,
    "HTTP/1.2": _headed(b"Content-Length: N", line=b"HTTP/1.2 200 OK"),
    "HTTP/2.0": _headed(b"Content-Length: N", line=b"HTTP/2.0 200 OK"),
    "another protocol's name": _headed(b"Content-Length: N", line=b"ICY 200 OK"),
    "a status of two digits": _headed(b"Content-Length: N", line=b"HTTP/1.1 20 OK"),
    "a status of four digits": _headed(b"Content-Length: N", line=b"HTTP/1.1 2000 OK"),
    "a status with a sign": _headed(b"Content-Length: N", line=b"HTTP/1.1 +200 OK"),
    "a status below all": _headed(b"Content-Length: N", line=b"HTTP/1.1 099 OK"),
    "switching protocols": lambda _kind, _body: (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    ),
    "interim answers without end": lambda _kind, _body: b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200,
    "interim answers that carry a length": lambda kind, body: (
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 500\r\n\r\n" * 12 + answer(length(body), kind=kind, body=body)
    ),
    "a request": lambda _kind, _body: b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "TLS": lambda _kind, _body: bytes.fromhex("15030100020228"),
    "an HTTP/2 settings frame": lambda _kind, _body: bytes.fromhex("000000040000000000"),
    "a head beyond all bounds": _headed(b"X-Long: " + b"a" * 70_000, b"Content-Length: N"),
    "headers beyond all bounds": _headed(*[b"X-%d: y" % number for number in range(9000)], b"Content-Length: N"),
    "a redirect": _headed(b"Location: http://169.254.169.254/", b"Content-Length: N", line=b"HTTP/1.1 302 Found"),
    "not modified": _headed(line=b"HTTP/1.1 304 Not Modified"),
    "nothing to say": _headed(line=b"HTTP/1.1 204 No Content"),
    "compressed": _headed(b"Content-Encoding: gzip", b"Content-Length: N"),
}
"""What must never reach a client as an answer."""

EXCESSIVE: Mapping[str, Shape] = {
    "another answer": lambda kind, body: answer(length(body), kind=kind, body=body) + FORGED,
    "another answer behind chunks": lambda kind, body: answer(TE, kind=kind, body=chunk(body)) + FORGED,
    "another answer of another status": lambda kind, body: (
        answer(length(body), kind=kind, body=body) + FORGED.replace(b"200 OK", b"400 Bad Request")
    ),
    "half of another answer": lambda kind, body: answer(length(body), kind=kind, body=body) + FORGED[:60],
    "noise": lambda kind, body: answer(length(body), kind=kind, body=body) + b"\0\1\2",
    "one byte": lambda kind, body: answer(length(body), kind=kind, body=body) + b"x",
    "a last chunk": lambda kind, body: answer(length(body), kind=kind, body=body) + b"0\r\n\r\n",
    "another last chunk": lambda kind, body: answer(TE, kind=kind, body=chunk(body)) + b"0\r\n\r\n",
    "another answer behind a trailer": lambda kind, body: (
        answer(TE, kind=kind, body=chunk(body, end=b"0\r\nX-Trailer: 1\r\n\r\n")) + FORGED
    ),
}
"""A good answer, and more than one was asked for."""
