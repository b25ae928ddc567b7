"""Which answers are in these bytes? Read strictly: what RFC 9112 does not allow is an error of the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Answer", "read_answers"]


@dataclass(frozen=True)
class Answer:
    """One answer as a client sees it; ``whole`` is false where the connection ended in its midst."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool = True

    @property
    def told(self) -> tuple[int, tuple[tuple[str, str], ...], bytes, bool]:
        """What must be the same whenever the same is asked: all but the date, and ids that were made up."""
        kept = {name: value for name, value in self.headers.items() if name not in {"date", "x-request-id"}}
        return self.status, tuple(sorted(kept.items())), self.body, self.whole


def read_answers(data: bytes, heads: Sequence[bool], *, ended: bool) -> tuple[list[Answer], bytes]:
    """Take whole answers off the front; return them and what is left.

    ``heads`` says which are to HEAD and have no body; ``ended``: the connection is closed, so that what is not whole
    never will be.
    """
    found: list[Answer] = []
    while b"\r\n\r\n" in data:
        head, rest = data.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.1 "), first
        status = int(first[9:12])
        pairs = [line.partition(": ")[::2] for line in lines]
        headers = dict(pairs)
        assert len(headers) == len(pairs), lines
        if status == 100:
            data = rest
            continue
        bodiless = status == 204 or (len(found) < len(heads) and heads[len(found)])
        body, left = (b"", rest) if bodiless else _body(headers, rest, ended=ended)
        if left is None:
            if ended:
                found.append(Answer(status, headers, rest, whole=False))
                data = b""
            break
        found.append(Answer(status, headers, body))
        data = left
    return found, data


def _body(headers: dict[str, str], rest: bytes, *, ended: bool) -> tuple[bytes, bytes | None]:
    if "content-length" in headers:
        assert "transfer-encoding" not in headers, headers
        length = int(headers["content-length"])
        return (rest[:length], rest[length:]) if len(rest) >= length else (b"", None)
    if "transfer-encoding" not in headers:
        assert headers.get("connection") == "close", headers
        return (rest, b"") if ended else (b"", None)
    body = b""
    while b"\r\n" in rest:
        size, rest = rest.split(b"\r\n", 1)
        length = int(size, 16)
        if len(rest) < length + 2:
            return b"", None
        assert rest[length : length + 2] == b"\r\n", rest[:200]
        body, rest = body + rest[:length], rest[length + 2 :]
        if length == 0:
            return body, rest
    return b"", None
