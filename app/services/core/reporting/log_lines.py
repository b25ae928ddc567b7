"""What does a line of the log say? Reading back what ``utils/log_format`` and ``request_line`` write.

Both forms are read, mixed as they come: a log whose format was changed has both. A traceback follows its event with
``|`` before each line (``is_continuation``). What is no event of ours is a record all the same, of text alone: no line
is ever lost. Nothing in a record can steer a terminal or turn a page around: what doesn't print is an escape.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["CONTINUATION", "LEVELS", "LogRecord", "is_continuation", "moment_of_line", "read_record", "severity"]

CONTINUATION: Final = "    |"
"""How a line begins that belongs to the event before it."""
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
"""From the least to the most severe."""
_SEVERITY: Final = {level: place for place, level in enumerate(LEVELS)} | {"warn": 2, "exception": 3, "fatal": 4}
_NO_LEVEL: Final = -1
_MOST_STARTS: Final = 64
"""In how many places a sentence may look as if its fields began there; a line that is made to cost time stops there."""
_MOST_TEXT: Final = 4_000
_MOST_FIELDS: Final = 64
_MOST_VALUE: Final = 1_000
_MOST_DETAIL: Final = 20_000

_LINE: Final = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (?P<level>[A-Z][A-Z_]{0,31})(?: +|$)"
)
_FIELD: Final = re.compile(r" (?P<name>[A-Za-z_][\w.-]*)=")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*+"')
_PLAIN: Final = re.compile(r'[^ "]*')
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]')
_ESCAPE: Final = re.compile(r'\\(?:(["\\/bfnrt])|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8}))')
_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SURROGATES: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LARGEST_CODE: Final = 0x10FFFF


class LogRecord(msgspec.Struct, frozen=True):
    """One event of the log, or one line that is none.

    Attributes:
        time: when, in UTC; None where the line does not say.
        level: in lower case, such as ``warning``; empty where the line has none.
        component: the name of the logger, such as ``gateway.requests``; empty where the line has none.
        text: the sentence; the whole line where it is no event.
        fields: names and values in the order of the line, but for the request id; values as text.
        request_id: which request it is about; empty where it is about none.
        detail: the traceback, with line breaks; empty where there is none.
    """

    time: datetime | None
    level: str
    component: str
    text: str
    fields: tuple[tuple[str, str], ...] = ()
    request_id: str = ""
    detail: str = ""


def severity(level: str) -> int:
    """Where a level stands among ``LEVELS``; below all of them where it is unknown."""
    return _SEVERITY.get(level.lower(), _NO_LEVEL)


def is_continuation(line: str) -> bool:
    """Whether a line belongs to the event before it."""
    return line.startswith(CONTINUATION)


def moment_of_line(line: str) -> datetime | None:
    """Say when a line was written, if it says so, without reading the rest of it."""
    if match := _LINE.match(line):
        return _moment(match["time"])
    read = _object(line)
    return None if read is None else _moment(read.get("timestamp"))


def read_record(lines: Sequence[str]) -> LogRecord:
    """Read one event.

    Args:
        lines: the line of the event and those that continue it, without their line breaks; at least one.
    """
    head, rest = lines[0], lines[1:]
    detail = _lines(line.removeprefix(CONTINUATION).removeprefix(" ") for line in rest)
    if match := _LINE.match(head):
        return _of_text(match, head[match.end() :], detail)
    read = _object(head)
    if read is not None and isinstance(read.get("event"), str) and isinstance(read.get("level"), str):
        return _of_object(read, detail)
    return LogRecord(None, "", "", _shown(head, _MOST_TEXT), detail=detail)


# -- as text


def _of_text(match: re.Match[str], body: str, detail: str) -> LogRecord:
    rest, component = f" {body}", ""
    begins = rest.rfind(" (")
    if begins >= 0 and rest.endswith(")"):
        rest, component = rest[:begins], rest[begins + 2 : -1]
    sentence, pairs = _sentence_and_fields(rest)
    return _record(_moment(match["time"]), match["level"], component, sentence[1:], pairs, detail)


def _sentence_and_fields(rest: str) -> tuple[str, list[tuple[str, str]]]:
    """Find the first place from which on there are fields and nothing else; what stands before it is the sentence."""
    begins = 0
    for _ in range(_MOST_STARTS):
        start = _FIELD.search(rest, begins)
        if start is None:
            break
        pairs = _fields(rest, start.start())
        if pairs is not None:
            return rest[: start.start()], pairs
        begins = start.start() + 1
    return rest, []


def _fields(rest: str, position: int) -> list[tuple[str, str]] | None:
    """Read fields from a position to the end; None where something else stands among them."""
    pairs = []
    while position < len(rest):
        name = _FIELD.match(rest, position)
        if name is None:
            return None
        ends = _end_of_value(rest, name.end())
        if ends < 0:
            return None
        pairs.append((name["name"], _value_of_text(rest[name.end() : ends])))
        position = ends
    return pairs


def _end_of_value(rest: str, position: int) -> int:
    """Where the value that begins here ends; below zero where it does not."""
    sign = rest[position : position + 1]
    if sign == '"':
        quoted = _QUOTED.match(rest, position)
        return -1 if quoted is None else quoted.end()
    if sign and sign in "[{":
        ends = _end_of_brackets(rest, position)
        if ends >= 0:
            return ends
    plain = _PLAIN.match(rest, position)
    return -1 if plain is None or rest[plain.end() : plain.end() + 1] == '"' else plain.end()


def _end_of_brackets(rest: str, position: int) -> int:
    depth = 0
    for found in _BRACKETS.finditer(rest, position):
        sign = found[0]
        depth += 1 if sign in "[{" else -1 if sign in "]}" else 0
        if depth == 0:
            follows = rest[found.end() : found.end() + 1]
            return found.end() if follows in {"", " "} else -1
    return -1


def _value_of_text(written: str) -> str:
    return _unescaped(written[1:-1]) if written.startswith('"') else written


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return _SURROGATES.sub(_joined, _ESCAPE.sub(_sign, text))


def _sign(escape: re.Match[str]) -> str:
    short, *codes = escape.groups()
    if short:
        return _SHORT.get(short, short)
    code = int(next(code for code in codes if code), 16)
    return chr(code) if code <= _LARGEST_CODE else escape[0]


def _joined(pair: re.Match[str]) -> str:
    """Put together a character that JSON writes as two halves."""
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


# -- as JSON


def _object(line: str) -> Mapping[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):  # cut, no JSON at all, or made to be too deep or too long
        return None
    return cast("Mapping[str, object]", read) if isinstance(read, dict) else None


_NO_FIELDS: Final = frozenset({"timestamp", "level", "logger", "event", "exception", "stack"})


def _of_object(read: Mapping[str, object], detail: str) -> LogRecord:
    blocks = [str(read[name]) for name in ("exception", "stack") if read.get(name) is not None]
    pairs = [(name, _value_of_object(value)) for name, value in read.items() if name not in _NO_FIELDS]
    return _record(
        _moment(read.get("timestamp")),
        str(read["level"]),
        str(read.get("logger") or ""),
        str(read["event"]),
        pairs,
        "\n".join(block for block in (*(_lines(block.split("\n")) for block in blocks), detail) if block),
    )


def _value_of_object(value: object) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):  # a number of more digits than Python writes
        return "..."


# -- both


def _record(
    time: datetime | None, level: str, component: str, text: str, pairs: Sequence[tuple[str, str]], detail: str
) -> LogRecord:
    request_id = next((value for name, value in reversed(pairs) if name == "request_id"), "")
    fields = tuple(
        (_shown(name, _MOST_VALUE), _shown(value, _MOST_VALUE)) for name, value in pairs if name != "request_id"
    )
    return LogRecord(
        time,
        _shown(level.lower(), _MOST_VALUE),
        _shown(component, _MOST_VALUE),
        _shown(text, _MOST_TEXT),
        fields[:_MOST_FIELDS],
        _shown(request_id, _MOST_VALUE),
        detail,
    )


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        return None if moment is None else moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _lines(lines: Iterable[str]) -> str:
    """Put lines together again, the characters in them that don't print as escapes."""
    kept, left = [], _MOST_DETAIL
    for line in lines:
        shown = _shown(line, min(left, _MOST_TEXT))
        kept.append(shown)
        left -= len(shown) + 1
        if left <= 0:
            kept.append("...")
            break
    return "\n".join(kept)


def _shown(text: str, most: int) -> str:
    """Write characters that don't print as escapes, and cut what is long."""
    kept = text if len(text) <= most else f"{text[:most]}..."
    if kept.isprintable():
        return kept
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in kept)
