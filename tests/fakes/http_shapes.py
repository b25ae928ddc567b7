"""Requests to the gateway as bytes: good ones, and ones that differ from a good one by little."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from tests.fakes.house import ADMIN_KEY

__all__ = [
    "CHAT",
    "H2C",
    "HOST",
    "JSON",
    "KEY",
    "NEAR_MISSES",
    "SMUGGLED",
    "TE",
    "chat_body",
    "chunked",
    "headed",
    "length",
    "post",
    "raw",
]

CHAT = b"/v1/chat/completions"
HOST = b"Host: gateway.test"
KEY = b"Authorization: Bearer " + ADMIN_KEY.encode()
JSON = b"Content-Type: application/json"
TE = b"Transfer-Encoding: chunked"
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAA")
"""As Java's HttpClient sends them with its first request to a server of unknown version."""


def chat_body(mark: object, **fields: object) -> bytes:
    """A body whose answer repeats ``mark``."""
    return json.dumps({"model": "m", "messages": [mark], **fields}).encode()


def raw(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    """A request from its lines, whatever they hold."""
    return b"\r\n".join((line, *headers, b"", b"")) + body


def length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


def post(body: bytes, *more: bytes) -> bytes:
    """The good request that all others are measured by; ``more`` headers stand before its length."""
    return raw(b"POST %b HTTP/1.1" % CHAT, HOST, KEY, JSON, *more, length(body), body=body)


def headed(*headers: bytes, body: bytes) -> bytes:
    """A good request but for its framing, which is up to ``headers`` and ``body``."""
    return raw(b"POST %b HTTP/1.1" % CHAT, HOST, KEY, JSON, *headers, body=body)


def chunked(body: bytes, size: bytes | None = None, end: bytes = b"0\r\n\r\n") -> bytes:
    """A body as one chunk; ``size`` is what is written in place of its size."""
    return b"%b\r\n%b\r\n%b" % (size or b"%x" % len(body), body, end)


SMUGGLED = post(chat_body("SMUGGLED"))
"""What an attack carries behind it: a good request with a good key, so that whoever takes the attack for more or fewer
bytes than the gateway does makes it a request of its own."""
Shape = Callable[[bytes], bytes]


def _replaced(old: bytes, new: bytes) -> Shape:
    """The good request with one thing in it written differently."""

    def shape(body: bytes) -> bytes:
        good = post(body)
        assert good.count(old) == 1, old
        return good.replace(old, new)

    return shape


def _with(*more: bytes) -> Shape:
    return lambda body: post(body, *more)


def _length_as(written: bytes) -> Shape:
    """The length's header written otherwise: ``N`` stands for the number of bytes."""
    return lambda body: headed(written.replace(b"N", b"%d" % len(body)), body=body)


def _off_by(count: int) -> Shape:
    return lambda body: headed(b"Content-Length: %d" % (len(body) + count), body=body)


def _other(line: bytes, *, key: bytes = KEY) -> Shape:
    return lambda body: raw(line, HOST, key, JSON, length(body), body=body)


def _of_body(other: bytes) -> Shape:
    return lambda _body: post(other)


NEAR_MISSES: Mapping[str, Shape] = {
    "the same": post,
    "a header more": _with(b"X-More: 1"),
    "a header less": lambda body: raw(b"POST %b HTTP/1.1" % CHAT, HOST, KEY, length(body), body=body),
    "a header twice": _with(JSON),
    "headers in another order": lambda body: raw(
        b"POST %b HTTP/1.1" % CHAT, length(body), JSON, KEY, HOST, body=body
    ),
    "names in small letters": lambda body: post(body).replace(HOST, HOST.lower()).replace(b"Content-L", b"content-l"),
    "names in capitals": _replaced(b"Content-Length", b"CONTENT-LENGTH"),
    "bearer in small letters": _replaced(b"Bearer", b"bearer"),
    "a method in small letters": _replaced(b"POST", b"post"),
    "another method": _replaced(b"POST", b"PUT"),
    "GET with a body": _replaced(b"POST", b"GET"),
    "HEAD with a body": _other(b"HEAD /v1/models HTTP/1.1"),
    "OPTIONS with a body": _replaced(b"POST", b"OPTIONS"),
    "another path": _replaced(CHAT, b"/v1/completions"),
    "a path that is not there": _replaced(CHAT, b"/v1/chat/completion"),
    "a path with a slash more": _replaced(CHAT, b"/v1//chat/completions"),
    "another route of the gateway": _replaced(CHAT, b"/admin/register"),
    "a query": _replaced(CHAT, CHAT + b"?a=b"),
    "a query that names a length": _replaced(CHAT, CHAT + b"?content-length:3"),
    "an absolute target": _replaced(CHAT, b"http://gateway.test" + CHAT),
    "HTTP/1.0": _replaced(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/1.2": _replaced(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/2.0": _replaced(b"HTTP/1.1", b"HTTP/2.0"),
    "another host": _replaced(HOST, b"Host: other.test"),
    "a host that is none": _replaced(HOST, b"Host: gateway.test/x"),
    "no host": _replaced(HOST + b"\r\n", b""),
    "two hosts": _with(b"Host: gateway.test"),
    "no key": _replaced(KEY + b"\r\n", b""),
    "a wrong key": _replaced(KEY, KEY[:-1] + b"X"),
    "another good key": _replaced(KEY, b"Authorization: Bearer another-key-0123456789"),
    "the key in another header": _replaced(KEY, b"X-API-Key: " + ADMIN_KEY.encode()),
    "the key twice": _with(KEY),
    "two keys that differ": _with(b"X-API-Key: another-key-0123456789"),
    "a length with zeros in front": _length_as(b"Content-Length: 000N"),
    "a length with a plus": _length_as(b"Content-Length: +N"),
    "a length with a minus": _length_as(b"Content-Length: -N"),
    "a length with a point": _length_as(b"Content-Length: N.0"),
    "a length with an exponent": _length_as(b"Content-Length: Ne0"),
    "a length with an underscore": _length_as(b"Content-Length: 0_N"),
    "a length in hexadecimal": _length_as(b"Content-Length: 0xN"),
    "a length with spaces around": _length_as(b"Content-Length:   N  "),
    "a length with tabs around": _length_as(b"Content-Length:\tN\t"),
    "a length without a space": _length_as(b"Content-Length:N"),
    "a length with a space inside": _length_as(b"Content-Length: 1 N"),
    "a length with a comma": _length_as(b"Content-Length: N,"),
    "a list of lengths": _length_as(b"Content-Length: N, N"),
    "a length in other digits": _length_as(b"Content-Length: \xb2\xb3"),
    "an empty length": _length_as(b"Content-Length: "),
    "no length": lambda body: headed(body=body),
    "a length of nothing": lambda _body: headed(b"Content-Length: 0", body=b""),
    "a length beyond the bound": _length_as(b"Content-Length: 9999999999"),
    "a length beyond 64 bits": _length_as(b"Content-Length: 18446744073709551616"),
    "a length without end": lambda body: headed(b"Content-Length: " + b"9" * 60, body=body),
    "a length one too short": _off_by(-1),
    "a length one too long": _off_by(1),
    "a length that takes in what follows": _off_by(len(SMUGGLED)),
    "the length twice": _with(b"Content-Length: 75"),
    "the same length twice": lambda body: post(body, length(body)),
    "a length that is another header's": _with(b"X-Content-Length: 3"),
    "a length inside a header": _with(b"X-Note: content-length: 3"),
    "a length spelt otherwise": _with(b"Content_Length: 3"),
    "a name that ends so": lambda body: headed(b"X-" + length(body), body=body),
    "chunks as well": _with(TE),
    "chunks instead": lambda body: headed(TE, body=chunked(body)),
    "chunks of another case": lambda body: headed(b"transfer-encoding:CHUNKED", body=chunked(body)),
    "gzip, chunked": lambda body: headed(b"Transfer-Encoding: gzip, chunked", body=chunked(body)),
    "a coding behind the length": lambda body: headed(length(body), TE, body=body),
    "the end of the connection": _with(b"Connection: close"),
    "the end of the connection, in capitals": _with(b"CONNECTION: CLOSE"),
    "no end of the connection": _with(b"Connection: keep-alive"),
    "asking first": _with(b"Expect: 100-continue"),
    "an upgrade to HTTP/2": _with(*H2C),
    "an upgrade to a socket": _with(b"Connection: Upgrade", b"Upgrade: websocket"),
    "an upgrade that is not meant for us": _with(b"Upgrade: h2c"),
    "a folded header": _with(b"X-Folded: one\r\n two"),
    "a bare line feed": _with(b"X-Feed: one\nX-Other: two"),
    "a bare carriage return": _with(b"X-Return: one\rtwo"),
    "a NUL": _with(b"X-Nul: a\0b"),
    "eight bits": _with(b"X-Eight: \xe9\xff"),
    "a space before the colon": _with(b"X-Space : 1"),
    "a header without a colon": _with(b"X-Nothing"),
    "an id of the caller's": _with(b"X-Request-ID: mine-1"),
    "an id that is none": _with(b"X-Request-ID: not an id"),
    "an origin that may": _with(b"Origin: https://a.test"),
    "an origin that may not": _with(b"Origin: https://b.test"),
    "a request that was here before": _with(b"Via: 1.1 elsewhere"),
    "line ends before it": lambda body: b"\r\n\r\n" + post(body),
    "line ends after it": lambda body: post(body) + b"\r\n",
    "a space before it": lambda body: b" " + post(body),
    "bare line feeds": lambda body: post(body).replace(b"\r\n", b"\n"),
    "a body that is no JSON": _of_body(b"{"),
    "a body that asks for another model": _of_body(b'{"model":"n"}'),
    "a body without a model": _of_body(b'{"messages":[]}'),
    "a body that is too deep": _of_body(b'{"model":"m","x":' + b"[" * 70 + b"]" * 70 + b"}"),
    "a body that looks like a head": _of_body(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a body that holds a head": _of_body(chat_body("\r\n\r\nContent-Length: 3\r\n\r\n")),
    "a stream": lambda body: post(body[:-1] + b',"stream":true}'),
    "a head of the greatest size": _with(b"X-Long: " + b"a" * 15_000),
    "a head beyond the bound": _with(b"X-Long: " + b"a" * 17_000),
    "a hundred headers": _with(*[b"X-%d: 1" % number for number in range(96)]),
    "a hundred and one headers": _with(*[b"X-%d: 1" % number for number in range(97)]),
}  # fmt: skip
"""Requests that are good but for one thing, or good in another way, each made from its body."""
