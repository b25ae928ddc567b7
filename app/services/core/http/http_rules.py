"""Is a request's head one that every HTTP implementation reads alike?

Request smuggling lives on heads that two parsers read differently (RFC 9112, 11.2). httptools 0.9 accepts some of
them: duplicate Host, no Host, a Host that is none, ``Transfer-Encoding: gzip, chunked``, Transfer-Encoding in HTTP/1.0,
HTTP/0.9, a 2.0 that is none, and an Upgrade that makes it count a request as whole before its body. They are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app.services.core.errors import BodyTooLarge, HeadTooLarge, RequestInvalid, RequestTimeout

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FRAMING_HEADERS", "ends_connection", "judge_head", "judge_head_size"]

FRAMING_HEADERS = frozenset((b"host", b"transfer-encoding", b"content-length", b"upgrade", b"connection"))
"""The headers that ``judge_head`` looks at."""
_VERSIONS = frozenset(("1.0", "1.1", "2", "3"))
"""As ASGI writes them: what came as HTTP/2 never says "2.0"."""
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")
_LONGEST_NUMBER = 18
"""Digits of a length that fits 64 bits with room to spare."""


def judge_head(headers: Sequence[tuple[bytes, bytes]], http_version: str, max_body_bytes: int) -> None:
    """Check the framing of one request.

    Args:
        headers: names in lower case, values as received.
        http_version: ``1.0``, ``1.1``, ``2`` or ``3``.
        max_body_bytes: the largest body taken; a larger Content-Length is refused before a byte of it is read.

    Raises:
        RequestInvalid: the head is ambiguous.
        BodyTooLarge: the announced body is over the bound.
    """
    hosts = encodings = lengths = 0
    length = b"0"
    host = upgrade = b""
    for name, value in headers:
        if name == b"host":
            hosts += 1
            host = value
        elif name == b"transfer-encoding":
            encodings += 1
            if value.strip().lower() != b"chunked":
                raise _refused("Only 'Transfer-Encoding: chunked' is understood.")
        elif name == b"content-length":
            lengths += 1
            length = value
        elif name == b"upgrade":
            upgrade = value
    _judge_counts(hosts, encodings, lengths, http_version)
    _judge_host(host)
    if upgrade and _asks_to_switch(headers) and (encodings or lengths or upgrade.lower() != b"websocket"):
        raise _refused("Only HTTP/1.1 is spoken here. Send the request without an Upgrade header.")
    if not length.isdigit():
        raise _refused("Content-Length must be a number of bytes.")
    if len(length) > _LONGEST_NUMBER or int(length) > max_body_bytes:
        raise BodyTooLarge(f"The body is larger than the limit of {max_body_bytes} bytes. Send a shorter one.")


def _asks_to_switch(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether an Upgrade header is meant for us: one that Connection does not name is to be ignored (RFC 9110, 7.8)."""
    return any(
        token.strip().lower() == b"upgrade"
        for name, value in headers
        if name == b"connection"
        for token in value.split(b",")
    )


def _judge_counts(hosts: int, encodings: int, lengths: int, http_version: str) -> None:
    if http_version not in _VERSIONS:
        raise _refused("Only HTTP/1.1 is spoken here. Send 'HTTP/1.1' at the end of the request line.")
    if hosts > 1 or (hosts == 0 and http_version == "1.1"):
        raise _refused("Send exactly one Host header (RFC 9112, 3.2).")
    if encodings and http_version == "1.0":
        raise _refused("HTTP/1.0 has no Transfer-Encoding. Send a Content-Length.")
    if encodings + lengths > 1:
        raise _refused("Send one Content-Length or one Transfer-Encoding, not several (RFC 9112, 6.3).")


def _judge_host(host: bytes) -> None:
    if not _HOST.fullmatch(host):
        raise _refused("The Host header is not a host with an optional port (RFC 9112, 3.2).")


def judge_head_size(count: int, size_bytes: int, max_count: int, max_bytes: int) -> None:
    """Check how many headers there are and how long they are together with the request line.

    Raises:
        HeadTooLarge: over one of the bounds.
    """
    if count > max_count:
        raise HeadTooLarge(f"The request has more than {max_count} headers. Send fewer.")
    if size_bytes > max_bytes:
        raise HeadTooLarge(f"The request's headers are longer than {max_bytes} bytes. Send fewer or shorter ones.")


def ends_connection(headers: Sequence[tuple[bytes, bytes]], http_version: str, status: int) -> bool:
    """Whether HTTP/1 cannot go on after an error that did not wait for the body: nobody knows where the next begins.

    A client that sends ``Expect`` may or may not send its body after such an answer (RFC 9110, 10.1.1). Where a chunked
    body turned out too large it was asked for, and its rest can be read and dropped.
    """
    names = {name for name, _value in headers}
    asked_for = status == BodyTooLarge.status and b"transfer-encoding" in names
    unclear = status in {RequestInvalid.status, RequestTimeout.status} or (b"expect" in names and not asked_for)
    return unclear and http_version.startswith("1")


def _refused(message: str) -> RequestInvalid:
    return RequestInvalid(message, code="invalid_http")
