"""What is asked under churn, and what must come back? Seven kinds of request, each with the answer it has to get."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.churn.answering import CALL_NAME, MODEL
from bench.churn.words import LENGTH, MARK, Form, key_of_messages, pieces, prompt_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

__all__ = ["KINDS", "PROMISED", "STREAMED", "Ask", "Expected", "Kind", "draw_ask"]

_SYSTEM = "You are a careful teller of stories. Number each word."
_TOOL = {
    "type": "function",
    "function": {
        "name": CALL_NAME,
        "description": "Tells a story.",
        "parameters": {"type": "object", "properties": {"words": {"type": "string"}}},
    },
}
_SHORTEST = 30
_AMPLE = LENGTH + 40
"""More tokens than an answer has."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request.

    Attributes:
        name: as ``--kinds`` takes it.
        title: for people.
        weight: its share of all requests, in hundredths, by default.
        streams: whether it asks for a stream.
        promised: whether a broken answer of this kind is to be made whole all the same.
        why: what stands in the way where it is not.
    """

    name: str
    title: str
    weight: int
    streams: bool = True
    promised: bool = True
    why: str = ""


KINDS = (
    Kind("stream", "streamed chats", 40),
    Kind("plain", "chats without streaming", 25, streams=False),
    Kind("text", "streamed completions", 10),
    Kind("tools", "streamed tool calls", 10),
    Kind("structured", "structured output", 5, promised=False, why="a grammar starts anew with the answer"),
    Kind("choices", "several choices (`n` of 2)", 5, promised=False, why="engines go on with one text"),
    Kind("logprobs", "`logprobs`", 5, promised=False, why="an engine scores only the tokens that it makes"),
)
PROMISED = tuple(kind.name for kind in KINDS if kind.promised)
STREAMED = tuple(kind.name for kind in KINDS if kind.promised and kind.streams)


@dataclass(frozen=True, slots=True)
class Expected:
    """What an exact answer holds.

    Attributes:
        form: what the text is.
        texts: of each choice.
        finish: why each choice ends.
        streams: whether it comes in events.
        is_chat: whether texts are messages.
        usage: prompt and completion tokens; None where none was asked for.
        logprobs: whether each token comes with its own.
        steps: how many tokens it takes, one after the other.
    """

    form: Form
    texts: tuple[str, ...]
    finish: str
    streams: bool
    is_chat: bool = True
    usage: tuple[int, int] | None = None
    logprobs: bool = False
    steps: int = LENGTH


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: where it goes, with which body, and what must come back."""

    kind: Kind
    path: str
    body: bytes
    expected: Expected


def draw_ask(number: int, kinds: Sequence[Kind], random: Random) -> Ask:
    """Make up a request, one like no other: what is asked, how long the answer may be, whether usage is wanted.

    Args:
        number: of the request in its run.
        kinds: what may be drawn, by weight.
        random: where all chance comes from.
    """
    kind = random.choices(kinds, [kind.weight for kind in kinds])[0]
    prompt = f"{MARK}{number}-{random.getrandbits(48):012x}] Tell me a story.\n"
    limit = random.choice((None, LENGTH, random.randrange(_SHORTEST, LENGTH)))
    if kind.name in {"tools", "structured"}:
        limit = None  # half a call or half a document would be worth nothing
    is_chat = kind.name != "text"
    if not is_chat and limit is None:
        limit = _AMPLE  # engines differ in how much of a completion they write unasked
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": prompt}]
    fields: dict[str, Any] = {"model": MODEL, "temperature": 0}
    fields |= {"messages": messages} if is_chat else {"prompt": prompt}
    fields |= _fields_of(kind)
    if limit is not None:
        fields[random.choice(("max_tokens", "max_completion_tokens")) if is_chat else "max_tokens"] = limit
    wants_usage = kind.streams and random.random() < 0.5
    if kind.streams:
        fields["stream"] = True
    if wants_usage:
        fields["stream_options"] = {"include_usage": True}
    key = key_of_messages(messages) if is_chat else prompt
    expected = _expected(kind, key, limit, with_usage=wants_usage or not kind.streams)
    body = json.dumps(fields, ensure_ascii=False).encode()
    return Ask(kind, "/v1/chat/completions" if is_chat else "/v1/completions", body, expected)


def _fields_of(kind: Kind) -> dict[str, Any]:
    if kind.name == "tools":
        return {"tools": [_TOOL], "tool_choice": "auto"}
    if kind.name == "structured":
        schema = {"type": "object", "properties": {"words": {"type": "string"}}}
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "story", "schema": schema}}}
    if kind.name == "choices":
        return {"n": 2}
    return {"logprobs": True} if kind.name == "logprobs" else {}


def _expected(kind: Kind, key: str, limit: int | None, *, with_usage: bool) -> Expected:
    form = {"tools": Form.CALL, "structured": Form.JSON}.get(kind.name, Form.TEXT)
    keys = (key, f"{key}#1") if kind.name == "choices" else (key,)
    said = [pieces(form, each)[:limit] for each in keys]
    finish = "stop" if limit is None or limit > LENGTH else "length"
    return Expected(
        form,
        tuple("".join(words) for words in said),
        "tool_calls" if kind.name == "tools" else finish,
        streams=kind.streams,
        is_chat=kind.name != "text",
        usage=(prompt_tokens(key), sum(len(words) for words in said)) if with_usage else None,
        logprobs=kind.name == "logprobs",
        steps=len(said[0]),
    )
