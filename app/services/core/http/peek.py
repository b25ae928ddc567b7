"""What does routing need to know of a body? A typed, partial decode that leaves the rest as bytes.

msgspec skips unknown members without building objects (0.22: about 2 us for 1 KB), but it checks that they are
well-formed JSON. What it does not bound is bounded here: depth (it raises RecursionError at about 1,000) and ``n``;
what it does not check is checked here: that the members it skips are UTF-8.
"""

from __future__ import annotations

import re

import msgspec

from app.services.core.errors import RequestInvalid

__all__ = ["MAX_CHOICES", "MAX_MODEL_NAME_LENGTH", "Peek", "depth_exceeds", "peek"]

MAX_MODEL_NAME_LENGTH = 256
_ABSENT = msgspec.Raw(b"")
_LONGEST_COUNT = 9
MAX_CHOICES = 128
"""The most that OpenAI's own endpoint takes for ``n``."""


class StreamOptions(msgspec.Struct, gc=False):
    """The one stream option that the gateway itself may have to set."""

    include_usage: bool | None = None


class Peek(msgspec.Struct, gc=False):
    """The fields of an inference request that decide where it goes and how its answer is relayed.

    ``stream_options`` is UNSET where the member is absent: then one can be added by a splice at the front. The two
    bounds are whatever stands there: a server may take what the gateway would not.
    """

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | msgspec.UnsetType | None = msgspec.UNSET
    choices: int | None = msgspec.field(default=None, name="n")
    max_tokens: msgspec.Raw = _ABSENT
    max_completion_tokens: msgspec.Raw = _ABSENT

    @property
    def answer_tokens(self) -> int:
        """The most tokens that the client asks for; 0 where it sets no limit, or one that servers are to judge."""
        one, two = self.max_tokens, self.max_completion_tokens
        return max(_count(one) if one is not _ABSENT else 0, _count(two) if two is not _ABSENT else 0)

    @property
    def wants_usage(self) -> bool:
        """Whether the client itself asked for the closing usage event of a stream."""
        options = self.stream_options
        return isinstance(options, StreamOptions) and options.include_usage is True


_decode = msgspec.json.Decoder(Peek).decode
_PATH = re.compile(r" - at `\$\.?([^`\[.]*)")
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'"[]{}')
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_LONG_BYTES = 4096
_MOST_PARTS = 2048
_MOST_PARTS_AT_ONCE = 65536
_AS_ARRAYS = bytes.maketrans(b"{}", b"[]")
_JUNCTIONS = tuple(b"]" * width + b"[" * width for width in (64, 32, 16, 8, 4, 2, 1))
_SLICE_BYTES = 65536


def peek(body: bytes, max_depth: int) -> Peek:
    """Decode the members that routing needs.

    Args:
        body: the whole request body, which should be one JSON object in UTF-8.
        max_depth: how deep arrays and objects may nest.

    Raises:
        RequestInvalid: the body is not JSON, is too deep, or a member has the wrong type. The message says which.
    """
    if not body:
        raise RequestInvalid("The body is empty. Send a JSON object with at least 'model'.", code="empty_body")
    try:
        seen = _decode(body)
        if not body.isascii():
            body.decode()
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error)) from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"The body is not valid JSON: {error}. Send one JSON object, encoded as UTF-8."
        raise RequestInvalid(message, code="invalid_json") from None
    if depth_exceeds(body, max_depth):
        raise _too_deep(max_depth)
    if not 0 < len(seen.model) <= MAX_MODEL_NAME_LENGTH:
        message = f"'model' must be a name of 1 to {MAX_MODEL_NAME_LENGTH} characters. GET /v1/models lists them."
        raise RequestInvalid(message, param="model")
    if seen.choices is not None and not 1 <= seen.choices <= MAX_CHOICES:
        raise RequestInvalid(f"'n' must be between 1 and {MAX_CHOICES}.", param="n")
    return seen


def _count(value: msgspec.Raw) -> int:
    """Read a whole number of at most nine digits; 0 for anything else."""
    digits = bytes(value)
    return int(digits) if len(digits) <= _LONGEST_COUNT and digits.isdigit() else 0


def depth_exceeds(body: bytes, limit: int) -> bool:
    """Whether arrays and objects of this well-formed JSON nest deeper than ``limit``.

    Most bodies have fewer opening brackets than the limit; only the others are looked at more closely. Neighbours at
    one level are merged into one, which keeps the depth, until a single nest ``[[[...]]]`` is left: all in a few passes
    at the speed of C, however the brackets are arranged.
    """
    if not _opens_more_than(body, limit):
        return False
    structure = _outside_strings(body)
    if not _opens_more_than(structure, limit):
        return False
    brackets = structure.translate(_AS_ARRAYS, _NOT_BRACKETS)
    while b"][" in brackets:
        for junction in _JUNCTIONS:
            brackets = brackets.replace(junction, b"")
    return len(brackets) > 2 * limit


def _opens_more_than(text: bytes, limit: int) -> bool:
    """Whether there are more opening brackets than that. In long texts they are sought: ``count`` reads each octet."""
    if len(text) < _LONG_BYTES:
        return text.count(b"{") + text.count(b"[") > limit
    found = 0
    for bracket in (b"{", b"["):
        place = text.find(bracket)
        while place >= 0:
            found += 1
            if found > limit:
                return True
            place = text.find(bracket, place + 1)
    return False


def _outside_strings(body: bytes) -> bytes:
    """Leave out what stands in strings, and the quotes.

    Each quote opens or closes one, but for those behind an odd number of backslashes. Where there are very many, they
    are cut out a slice at a time, so that a large body is not held as millions of pieces.
    """
    has_escapes = body.find(b"\\") >= 0
    most = _MOST_PARTS if has_escapes else _MOST_PARTS_AT_ONCE
    parts = body.split(b'"', most)
    if len(parts) > most:
        return _brackets(body)
    if not has_escapes:
        return b"".join(parts[0::2])
    outside, inside = [], False
    for part in parts:
        if not inside:
            outside.append(part)
            inside = True
        elif part[-1:] != b"\\" or (part[-2:] == b"\\\\" and (len(part) - len(part.rstrip(b"\\"))) % 2 == 0):
            inside = False
    return b"".join(outside)


def _brackets(body: bytes) -> bytes:
    """Keep the brackets outside of strings, all of them as square ones."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = body.translate(_AS_ARRAYS, _NOT_STRUCTURE).replace(b'""', b"")
    kept, inside = bytearray(), 0
    for start in range(0, len(marks), _SLICE_BYTES):
        parts = marks[start : start + _SLICE_BYTES].split(b'"')
        kept += b"".join(parts[inside::2])
        inside ^= (len(parts) - 1) & 1
    return bytes(kept)


def _too_deep(max_depth: int) -> RequestInvalid:
    return RequestInvalid(
        f"The body nests arrays and objects deeper than {max_depth} levels. Send a flatter one.", code="too_deep"
    )


def _wrong_type(explanation: str) -> RequestInvalid:
    """Turn msgspec's ``Expected `str`, got `int` - at `$.model` `` into words and a param."""
    found = _PATH.search(explanation)
    param = found.group(1) if found and found.group(1) else None
    if "missing required field `model`" in explanation:
        message = "'model' is missing. Name the model to use; GET /v1/models lists those available."
        return RequestInvalid(message, param="model", code="missing_model")
    expectation = explanation.split(" - at ", maxsplit=1)[0].replace("`", "")
    subject = f"'{param}' has the wrong type" if param else "The body has the wrong type"
    return RequestInvalid(f"{subject}: {expectation[:1].lower()}{expectation[1:]}.", param=param, code="wrong_type")
