"""Is a request's head one that every HTTP implementation reads alike?

Request smuggling lives on heads that two parsers read differently (RFC 9112, 11.2). httptools 0.9 accepts some of
them: duplicate Host, no Host, ``Transfer-Encoding: gzip, chunked``, Transfer-Encoding in HTTP/1.0. They are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core.errors import BodyTooLarge, HeadTooLarge, RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["judge_head", "judge_head_size"]

_LONGEST_NUMBER = 18
"""Digits of a length that fits 64 bits with room to spare."""


def judge_head(headers: Iterable[tuple[bytes, bytes]], http_version: str, max_body_bytes: int) -> None:
    """Check the framing of one request.

    Args:
        headers: names in lower case, values as received.
        http_version: ``1.0`` or ``1.1``.
        max_body_bytes: the largest body taken; a larger Content-Length is refused before a byte of it is read.

    Raises:
        RequestInvalid: the head is ambiguous.
        BodyTooLarge: the announced body is over the bound.
    """
    hosts = encodings = lengths = 0
    length = b"0"
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            encodings += 1
            if value.strip().lower() != b"chunked":
                raise _refused("Only 'Transfer-Encoding: chunked' is understood.")
        elif name == b"content-length":
            lengths += 1
            length = value
    _judge_counts(hosts, encodings, lengths, http_version)
    if not length.isdigit():
        raise _refused("Content-Length must be a number of bytes.")
    if len(length) > _LONGEST_NUMBER or int(length) > max_body_bytes:
        raise BodyTooLarge(f"The body is larger than the limit of {max_body_bytes} bytes. Send a shorter one.")


def _judge_counts(hosts: int, encodings: int, lengths: int, http_version: str) -> None:
    if hosts > 1 or (hosts == 0 and http_version == "1.1"):
        raise _refused("Send exactly one Host header (RFC 9112, 3.2).")
    if encodings and http_version == "1.0":
        raise _refused("HTTP/1.0 has no Transfer-Encoding. Send a Content-Length.")
    if encodings + lengths > 1:
        raise _refused("Send one Content-Length or one Transfer-Encoding, not several (RFC 9112, 6.3).")


def judge_head_size(count: int, size_bytes: int, max_count: int, max_bytes: int) -> None:
    """Check how many headers there are and how long they are together with the request line.

    Raises:
        HeadTooLarge: over one of the bounds.
    """
    if count > max_count:
        raise HeadTooLarge(f"The request has more than {max_count} headers. Send fewer.")
    if size_bytes > max_bytes:
        raise HeadTooLarge(f"The request's headers are longer than {max_bytes} bytes. Send fewer or shorter ones.")


def _refused(message: str) -> RequestInvalid:
    return RequestInvalid(message, code="invalid_http")
