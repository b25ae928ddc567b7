"""Requests made to be read by one parser as one request and by another as two, and odd ones that are right.

Each one of the former is to be followed by ``SMUGGLED``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.fakes.http_shapes import CHAT, H2C, HOST, KEY, SMUGGLED, TE, chat_body, chunked, headed, length, post, raw

__all__ = ["REFUSED", "SERVED"]


def refused() -> dict[str, bytes]:
    """Requests that could be read in more than one way, or that are none."""
    body = chat_body("ATTACK")
    coded = chunked(body)

    def with_coding(written: bytes) -> bytes:
        return headed(written, body=coded)

    def with_size(size: bytes) -> bytes:
        return headed(TE, body=chunked(body, size))

    size = b"%x" % len(body)
    return {
        "CL.TE": headed(b"Content-Length: %d" % len(coded), TE, body=coded),
        "CL.TE that ends early": headed(b"Content-Length: %d" % (len(SMUGGLED) + 5), TE, body=b"0\r\n\r\n"),
        "TE.CL": headed(TE, b"Content-Length: 4", body=coded),
        "TE.CL of nothing": headed(TE, b"Content-Length: 0", body=coded),
        "TE.TE, both chunked": headed(TE, TE, body=coded),
        "TE.TE, one identity": headed(TE, b"Transfer-Encoding: identity", body=coded),
        "TE.TE, the other identity": headed(b"Transfer-Encoding: identity", TE, body=coded),
        "TE.TE, one unknown": headed(TE, b"Transfer-encoding: x", body=coded),
        "TE.TE, one empty": headed(b"Transfer-Encoding:", TE, body=coded),
        "gzip, chunked": with_coding(b"Transfer-Encoding: gzip, chunked"),
        "chunked, gzip": with_coding(b"Transfer-Encoding: chunked, gzip"),
        "chunked, chunked": with_coding(b"Transfer-Encoding: chunked, chunked"),
        "chunked, identity": with_coding(b"Transfer-Encoding: chunked, identity"),
        "identity": with_coding(b"Transfer-Encoding: identity"),
        "xchunked": with_coding(b"Transfer-Encoding: xchunked"),
        "chunked with a parameter": with_coding(b"Transfer-Encoding: chunked;q=1"),
        "chunked in quotes": with_coding(b'Transfer-Encoding: "chunked"'),
        "chunked with a comma": with_coding(b"Transfer-Encoding: chunked,"),
        "a comma, then chunked": with_coding(b"Transfer-Encoding: ,chunked"),
        "a vertical tab before chunked": with_coding(b"Transfer-Encoding: \x0bchunked"),
        "a form feed after chunked": with_coding(b"Transfer-Encoding: chunked\x0c"),
        "a folded coding": with_coding(b"Transfer-Encoding:\r\n chunked"),
        "a coding folded by a tab": with_coding(b"Transfer-Encoding: chunked\r\n\tidentity"),
        "a space before the colon": with_coding(b"Transfer-Encoding : chunked"),
        "a tab before the colon": with_coding(b"Transfer-Encoding\t: chunked"),
        "a space before the name": headed(length(body), b" Transfer-Encoding: chunked", body=body),
        "a space before the length's colon": headed(b"Content-Length : %d" % len(body), body=body),
        "a NUL in the coding's name": with_coding(b"Transfer\0-Encoding: chunked"),
        "a NUL in the coding": with_coding(b"Transfer-Encoding: chu\0nked"),
        "a bare line feed before the coding": headed(length(body), b"X: y\n" + TE, body=body),
        "a bare carriage return before the coding": headed(length(body), b"X: y\r" + TE, body=body),
        "chunks in HTTP/1.0": raw(b"POST %b HTTP/1.0" % CHAT, HOST, KEY, TE, body=coded),
        "the same length twice": headed(length(body), length(body), body=body),
        "two lengths": headed(length(body), b"Content-Length: 3", body=body),
        "two lengths, the other way": headed(b"Content-Length: 0", length(body), body=body),
        "a list of equal lengths": headed(b"Content-Length: %d, %d" % (len(body), len(body)), body=body),
        "a list of lengths": headed(b"Content-Length: 0, %d" % len(body), body=body),
        "a length with a plus": headed(b"Content-Length: +%d" % len(body), body=body),
        "a length with a minus": headed(b"Content-Length: -%d" % len(body), body=body),
        "a length in hexadecimal": headed(b"Content-Length: 0x%x" % len(body), body=body),
        "a length with an underscore": headed(b"Content-Length: 1_0", body=body),
        "a length with a space inside": headed(b"Content-Length: 1 0", body=body),
        "an empty length": headed(b"Content-Length:", body=body),
        "a length beyond 64 bits": headed(b"Content-Length: %d" % (2**64 + len(body)), body=body),
        "a folded length": headed(b"Content-Length:\r\n %d" % len(body), body=body),
        "a chunk size with 0x": with_size(b"0x" + size),
        "a chunk size with a plus": with_size(b"+" + size),
        "a chunk size with a minus": with_size(b"-" + size),
        "a chunk size with an underscore": with_size(size[:1] + b"_" + size[1:]),
        "a chunk size with a space before": with_size(b" " + size),
        "a chunk size with a tab before": with_size(b"\t" + size),
        "a chunk size with a space inside": with_size(b"2 " + size),
        "a chunk size in other digits": with_size(b"\xb2"),
        "a chunk size with a NUL": with_size(size + b"\0"),
        "a chunk size beyond 64 bits": with_size(b"1" + b"0" * 16 + size),
        "a chunk size without end": with_size(b"f" * 400),
        "no chunk size": headed(TE, body=b"\r\n" + body + b"\r\n0\r\n\r\n"),
        "a chunk longer than it said": headed(TE, body=b"%b\r\n%bXX\r\n0\r\n\r\n" % (size, body)),
        "a chunk without its line end": headed(TE, body=b"%b\r\n%b0\r\n\r\n" % (size, body)),
        "chunks with bare line feeds": headed(TE, body=coded.replace(b"\r\n", b"\n")),
        "a chunk size with a bare line feed": headed(TE, body=coded.replace(b"\r\n", b"\n", 1)),
        "a chunk with a bare line feed": headed(TE, body=b"%b\r\n%b\n0\r\n\r\n" % (size, body)),
        "a chunk extension with a bare line feed": with_size(size + b";a\nb"),
        "a chunk extension with a bare carriage return": with_size(size + b";a\rb"),
        "a trailer that is folded": headed(TE, body=chunked(body, end=b"0\r\nX: y\r\n z\r\n\r\n")),
        "a trailer with a bare line feed": headed(TE, body=chunked(body, end=b"0\r\nX: y\nZ: z\r\n\r\n")),
        "two hosts": raw(b"POST %b HTTP/1.1" % CHAT, HOST, HOST, KEY, length(body), body=body),
        "two hosts that differ": raw(b"POST %b HTTP/1.1" % CHAT, HOST, b"Host: b", KEY, length(body), body=body),
        "no host": raw(b"POST %b HTTP/1.1" % CHAT, KEY, length(body), body=body),
        "a host with a path": raw(b"POST %b HTTP/1.1" % CHAT, b"Host: a/b", KEY, length(body), body=body),
        "a host with userinfo": raw(b"POST %b HTTP/1.1" % CHAT, b"Host: a@b", KEY, length(body), body=body),
        "bare line feeds": post(body).replace(b"\r\n", b"\n"),
        "a bare line feed at the end of the head": post(body).replace(b"\r\n\r\n", b"\r\n\n"),
        "bare carriage returns": post(body).replace(b"\r\n", b"\r"),
        "a folded header": post(body, b"X-Folded: one\r\n two"),
        "a header that begins the head with a space": raw(b"POST %b HTTP/1.1" % CHAT, b" " + HOST, KEY),
        "a NUL in a name": post(body, b"X\0Y: 1"),
        "a NUL in a value": post(body, b"X: a\0b"),
        "a header without a colon": post(body, b"Nothing"),
        "a header without a name": post(body, b": nameless"),
        "HTTP/0.9": b"GET /v1/models\r\n",
        "HTTP/1.2": raw(b"POST %b HTTP/1.2" % CHAT, HOST, KEY, length(body), body=body),
        "HTTP/1.10": raw(b"POST %b HTTP/1.10" % CHAT, HOST, KEY, length(body), body=body),
        "HTTP/2.0": raw(b"POST %b HTTP/2.0" % CHAT, HOST, KEY, length(body), body=body),
        "a version with a space": raw(b"POST %b HTTP/1.1 x" % CHAT, HOST, KEY, length(body), body=body),
        "HTTP/2 from the start": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        "h2c with a body": raw(b"POST %b HTTP/1.1" % CHAT, H2C[0], length(body), HOST, *H2C[1:], KEY, body=body),
        "h2c without a body": raw(b"GET /v1/models HTTP/1.1", H2C[0], HOST, *H2C[1:], KEY),
        "CONNECT": raw(b"CONNECT metadata.test:80 HTTP/1.1", b"Host: metadata.test:80", KEY),
        "a target that is no path": raw(b"POST v1/chat/completions HTTP/1.1", HOST, KEY, length(body), body=body),
        "a target with a space": raw(b"POST %b x HTTP/1.1" % CHAT, HOST, KEY, length(body), body=body),
        "a target with a NUL": raw(b"POST %b\0 HTTP/1.1" % CHAT, HOST, KEY, length(body), body=body),
        "a space before it all": b" " + post(body),
        "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(100),
    }  # fmt: skip


def served() -> dict[str, bytes]:
    """Requests that are unusual and right, or whose oddity means nothing: exactly one request each."""
    body = chat_body("FIRST")
    hidden = SMUGGLED.replace(b"SMUGGLED", b"HIDDEN")
    return {
        "chunks": headed(TE, body=chunked(body)),
        "chunks with extensions": headed(TE, body=chunked(body, b"%x;a=b;c" % len(body))),
        "chunks with an extension in quotes": headed(TE, body=chunked(body, b'%x;a="b c"' % len(body))),
        "chunks in capitals": headed(TE, body=chunked(body, b"%X" % len(body))),
        "chunk sizes with zeros in front": headed(TE, body=chunked(body, b"0000%x" % len(body))),
        "a last chunk of many zeros": headed(TE, body=chunked(body, end=b"000\r\n\r\n")),
        "a trailer": headed(TE, body=chunked(body, end=b"0\r\nX-Trailer: 1\r\n\r\n")),
        "a length with zeros in front": headed(b"Content-Length: 000%d" % len(body), body=body),
        "an underscore for a hyphen": headed(b"Transfer_Encoding: chunked", length(body), body=body),
        "a coding of another name": headed(b"X-Transfer-Encoding: chunked", length(body), body=body),
        "an absolute target": post(body).replace(CHAT, b"http://gateway.test" + CHAT),
        "an absolute target of another host": post(body).replace(CHAT, b"http://other.test" + CHAT),
        "line ends before it": b"\r\n\r\n" + post(body),
        "a request inside its body": post(json.dumps({"model": "m", "messages": [hidden.decode()]}).encode()),
    }


REFUSED: Mapping[str, bytes] = refused()
SERVED: Mapping[str, bytes] = served()
