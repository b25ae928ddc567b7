r"""How long is a request, in the words of the model that it is for? Read from the body, only where it may matter.

Nearly all requests are short in view of every context that they could meet, which ``needs_demand`` says from two
numbers. The others are taken apart here: what makes up the prompt, and how much of it is text. Encoded pictures and
sound are long and take few tokens, so they are left out and counted apiece. ``\uXXXX`` is six bytes for what is two or
three in UTF-8, and whether a client writes it so says nothing of tokens: texts are measured as if none did.

Nothing here raises: a value that can't be read asks for nothing, and the model server judges it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from app.services.core.continuation.reading import elements, whole_number
from app.services.core.prompt.demand import Demand
from app.services.core.prompt.token_rates import LEAST_BYTES, LEAST_TOKENS, least_tokens

if TYPE_CHECKING:
    from app.services.core.prompt.demand import Home
    from app.services.core.prompt.token_rates import TokenRates

__all__ = ["needs_demand", "read_demand", "teach"]

MEDIUM_TOKENS: Final = 576
"""What a picture or a sound is taken for: 256 to 1,500 are common, by model and size."""
LEAST_MEDIUM_TOKENS: Final = 64
"""What a small one may have; nobody is refused for more."""
MOST_MEDIA: Final = 1000
"""What stands behind so many is not counted at all."""
_MOST_LOOKS: Final = 10_000
"""Behind so many places that may begin a medium, all is taken for text."""
_MARK: Final = b'"data'
"""What media begin with: ``"data:image/png;base64,...`` or, in an ``input_audio``, ``"data": "..."``."""
_ENCODED: Final = b";base64,"
_LONGEST_TYPE_BYTES: Final = 128
_AUDIO: Final = b'"input_audio"'
_LONGEST_TAUGHT_BYTES: Final = 256 * 1024
_SAMPLES: Final = 8
_SAMPLE_BYTES: Final = 256
_ESCAPES: Final = ((b"\\u", 3), (b"\\u0", 1))
"""What escaped characters take beyond their UTF-8: three bytes, and up to U+07FF four."""
_PADDING: Final = b"    "
"""Long runs of spaces may be one token."""
_CUT: Final = b'"truncate_prompt_tokens"'
"""vLLM's own: the client asks for its prompt to be cut to so many tokens."""
_NULL = msgspec.Raw(b"null")
_DIGITS: Final = frozenset(b"-0123456789")


class _Body(msgspec.Struct, gc=False):
    """The members that make up the prompt, or bound the answer; as they stand."""

    messages: msgspec.Raw = _NULL
    prompt: msgspec.Raw = _NULL
    input: msgspec.Raw = _NULL
    tools: msgspec.Raw = _NULL
    functions: msgspec.Raw = _NULL
    max_tokens: msgspec.Raw = _NULL
    max_completion_tokens: msgspec.Raw = _NULL
    truncate_prompt_tokens: msgspec.Raw = _NULL


_decode = msgspec.json.Decoder(_Body).decode


class _Measured(NamedTuple):
    """How long a prompt is: text, what is in it beside text, and ids of tokens."""

    text_bytes: int = 0
    padding_bytes: int = 0
    media: int = 0
    token_ids: int = 0


def needs_demand(body_bytes: int, least_context: int | None, answer_tokens: int = 0) -> bool:
    """Whether a request may be too long for some server of its model, so that its demand is worth reading.

    No estimate goes below 2 bytes for a token, and with its margin of an eighth a prompt of fewer fits surely: then
    every server would be found to hold it, and there is nothing to read.

    Args:
        body_bytes: the whole body.
        least_context: the smallest context that is known among the model's servers; None where none is.
        answer_tokens: the most that is asked for, where that is known.
    """
    return least_context is not None and body_bytes * 9 // 16 + answer_tokens > least_context


def read_demand(
    body: bytes, rates: TokenRates, model: str, homes: tuple[Home, ...] = (), member: str = "messages"
) -> Demand:
    """Read what a request asks of the server that it goes to. One that wants its prompt cut fits wherever it is cut.

    Args:
        body: as the client sent it; ``peek`` has accepted it.
        rates: what was learnt of models.
        model: as the client names it.
        homes: servers that know its beginning.
        member: what holds the prompt: ``messages``, ``prompt`` or ``input``.
    """
    try:
        fields = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Demand(homes=homes, member=member)
    if bytes(fields.truncate_prompt_tokens) != b"null":
        return Demand(homes=homes, member=member)
    found = _prompt(fields, member)
    known = found.token_ids
    least = least_tokens(max(found.text_bytes - found.padding_bytes, 0)) + known
    likely = rates.tokens(model, found.text_bytes) + found.media * MEDIUM_TOKENS + known
    answer = max(whole_number(fields.max_completion_tokens) or 0, whole_number(fields.max_tokens) or 0)
    low = rates.low_tokens(model, found.text_bytes) + found.media * LEAST_MEDIUM_TOKENS + known
    return Demand(least, max(likely, least), answer, homes, member, min(max(low, least), max(likely, least)))


def teach(
    rates: TokenRates, model: str, body: bytes, prompt_tokens: int, context_length: int | None, *, cuts: bool
) -> None:
    """Learn from what a server counted for a chat that it was sent as the client wrote it.

    Nothing is learnt from a prompt that may have been cut: its count is that of what was left.

    Args:
        rates: what was learnt so far.
        model: as the client names it.
        body: as the client sent it.
        prompt_tokens: as the server reported it.
        context_length: of the model on that server, in tokens; None where it is not known.
        cuts: whether its engine cuts in silence what does not fit.
    """
    if not LEAST_BYTES <= len(body) <= _LONGEST_TAUGHT_BYTES or prompt_tokens < LEAST_TOKENS or not rates.wants(model):
        return
    media, _ = _media(body)
    if media or body.find(b'"messages"') < 0 or body.find(_CUT) >= 0:  # a completion's prompt may be ids of tokens
        return
    text_bytes = max(len(body) - _escaping_bytes(body), 0)
    likely = max(rates.tokens(model, text_bytes), prompt_tokens)
    if cuts and (context_length is None or likely > context_length // 8 * 7):
        return
    rates.note(model, text_bytes, prompt_tokens)


def _prompt(fields: _Body, member: str) -> _Measured:
    """Measure what makes up the prompt."""
    if member != "messages":
        return _longest(bytes(fields.prompt if member == "prompt" else fields.input))
    parts = [_measured(bytes(part)) for part in (fields.messages, fields.tools, fields.functions)]
    return _Measured(*(sum(figures) for figures in zip(*parts, strict=True)))


def _longest(value: bytes) -> _Measured:
    """Measure the longest of several prompts, for each has a context of its own: texts, or lists of token ids."""
    if value[:1] == b"[" and not _is_ids(value):
        value = bytes(max(elements(value) or [_NULL], key=len))
    return _Measured(token_ids=value.count(b",") + 1) if _is_ids(value) else _measured(value)


def _is_ids(value: bytes) -> bool:
    """Whether it is a list that begins with a number."""
    first = value[1:64].lstrip()[:1]
    return value[:1] == b"[" and bool(first) and first[0] in _DIGITS


def _measured(value: bytes) -> _Measured:
    """Measure a text as it stands in JSON."""
    if value == b"null":
        return _Measured()
    media, media_bytes = _media(value)
    text_bytes = len(value) - media_bytes - _escaping_bytes(value)
    return _Measured(max(text_bytes, 0), _frequency(value, _PADDING) * len(_PADDING), media)


def _media(value: bytes) -> tuple[int, int]:
    """Count encoded media, and their bytes. Each ends at the next quote, as Base64 has none."""
    count = size = looks = 0
    start = value.find(_MARK)
    has_audio = start >= 0 and value.find(_AUDIO) >= 0
    while start >= 0 and looks < _MOST_LOOKS:
        opened = _content(value, start, has_audio=has_audio)
        end = value.find(b'"', opened) if opened >= 0 else -1
        if end > opened:
            count, size = count + 1, size + end - opened
            if count == MOST_MEDIA:
                return count, size + len(value) - end
        looks += 1
        start = value.find(_MARK, max(start + len(_MARK), end))
    return count, size


def _content(value: bytes, start: int, *, has_audio: bool) -> int:
    """Where the content of a medium begins whose mark stands at ``start``; -1 if it is none."""
    after = start + len(_MARK)
    if value[start - 1 : start] == b"\\":  # in a text, where it costs as many tokens as any
        return -1
    if value[after : after + 1] == b":":
        encoded = value.find(_ENCODED, after, after + _LONGEST_TYPE_BYTES)
        return encoded + len(_ENCODED) if encoded >= 0 else -1
    if has_audio and value[after : after + 1] == b'"':
        return value.find(b'"', after + 1) + 1 or -1
    return -1


def _escaping_bytes(value: bytes) -> int:
    """About how many bytes a text has only because characters are escaped."""
    return sum(_frequency(value, part) * spared for part, spared in _ESCAPES) if value.isascii() else 0


def _frequency(value: bytes, part: bytes) -> int:
    """About how often a part is in a text: counted in short ones, sampled in long ones."""
    size = len(value)
    if size <= _SAMPLES * _SAMPLE_BYTES:
        return value.count(part)
    stride = size // _SAMPLES
    found = sum(value.count(part, start, start + _SAMPLE_BYTES) for start in range(0, stride * _SAMPLES, stride))
    return found * stride // _SAMPLE_BYTES
