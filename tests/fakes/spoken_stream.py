"""What does an engine stream, byte by byte, if it is asked for an answer or to go on with one? Pure: nothing is served.

Engines are as they are: each looks for stop strings in its own text only, and holds parts of them back as vLLM does, as
llama.cpp does, or not at all. A token is one character here, so that a limit means the same to all.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from random import Random
from typing import Any

from app.services.core.answer.sse import DONE, events_of
from app.services.core.continuation.asked import Asked

__all__ = [
    "HOLDING",
    "NAIVE",
    "PARTIAL",
    "PROMPT_TOKENS",
    "Answer",
    "Engine",
    "figures",
    "groups_of",
    "leg_of",
    "reads_of",
    "said_by_one",
    "stop_in",
]

PROMPT_TOKENS = 7
HOLDING, PARTIAL, NAIVE = "as vLLM", "as llama.cpp", "not at all"


@dataclass(frozen=True)
class Engine:
    """One make of server."""

    number: int = 1
    holds: str = HOLDING
    chat: bool = True
    ascii_only: bool = False
    newline: str = "\n"
    comments: bool = False
    role_everywhere: bool = False
    halves: bool = False
    counts_on: bool = False
    ends_with_text: bool = False
    trims: bool = False
    reasoning_member: str = "reasoning_content"

    def event(self, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> bytes:
        payload: dict[str, Any] = {
            "id": f"answer-{self.number}",
            "object": "chat.completion.chunk" if self.chat else "text_completion",
            "created": 1700000000 + self.number,
            "model": f"upstream-{self.number}",
            "choices": choices,
        }
        payload |= {} if usage is None else {"usage": usage}
        text = json.dumps(payload, ensure_ascii=self.ascii_only or self.halves)
        return f"data: {text}{self.newline}{self.newline}".encode()

    def says(self, delta: dict[str, str], usage: dict[str, int] | None, reason: str | None = None) -> bytes:
        if self.role_everywhere:
            delta = {"role": "assistant", **delta}
        said = {"delta": delta} if self.chat else {"text": delta.get("content", ""), "logprobs": None}
        return self.event([{"index": 0, **said, "finish_reason": reason}], usage if self.counts_on else None)

    def text(self, text: str, usage: dict[str, int]) -> list[bytes]:
        """The events that bear a text: one; or two with half a character each, where an engine thinks in UTF-16."""
        wide = next((place for place, character in enumerate(text) if ord(character) > 0xFFFF), None)
        if not self.halves or wide is None:
            return [self.says({"content": text}, usage)]
        octets, middle = text.encode("utf-16-le"), 2 * len(text[:wide]) + 2
        parts = (octets[:middle], octets[middle:])
        return [self.says({"content": part.decode("utf-16-le", "surrogatepass")}, usage) for part in parts]


@dataclass(frozen=True)
class Answer:
    """What the model would say, and what was asked of it."""

    text: str
    reasoning: str = ""
    stops: tuple[str, ...] = ()
    keeps_stop: bool = False
    most_tokens: int | None = None
    chat: bool = True

    @property
    def asked(self) -> Asked:
        limits = () if self.most_tokens is None else (("max_tokens", self.most_tokens),)
        return Asked(self.chat, stops=self.stops, keeps_stop=self.keeps_stop, limits=limits, wants_usage=True)


def figures(sent: int, made: int) -> dict[str, int]:
    """The usage that an engine counts."""
    prompt = PROMPT_TOKENS + sent
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def stop_in(text: str, stops: tuple[str, ...]) -> tuple[int, int] | None:
    """Where the stop string begins and ends that ends first; of several the first in the list."""
    for end in range(1, len(text) + 1):
        for stop in stops:
            if text.endswith(stop, 0, end):
                return end - len(stop), end
    return None


def said_by_one(answer: Answer) -> tuple[str, str, int]:
    """The text, the reason why it ended and how many tokens were made, if nothing breaks."""
    text = answer.text[: answer.most_tokens]
    found = stop_in(text, answer.stops)
    if found is not None:
        return text[: found[answer.keeps_stop]], "stop", found[1]
    has_end = answer.most_tokens is None or len(text) < answer.most_tokens  # the token that ends it is one too
    return text, "stop" if has_end else "length", len(text)


def leg_of(engine: Engine, answer: Answer, sent: str, random: Random) -> bytes:
    """The whole stream of a server that was sent ``sent`` of the text and goes on behind it."""
    limit = None if answer.most_tokens is None else answer.most_tokens - len(sent)
    own = Answer(answer.text[len(sent) :], "", answer.stops, answer.keeps_stop, limit)
    text, reason, made = said_by_one(own)
    opening = {"role": "assistant", "content": ""} if engine.chat else {}
    events = [engine.says(opening, figures(len(sent), 0))] if engine.chat or engine.halves else []
    thoughts = groups_of(answer.reasoning, random)
    events += [engine.says({engine.reasoning_member: part}, figures(len(sent), 0)) for part in thoughts]
    shown = read = 0
    for part in groups_of(own.text[:made], random):
        read += len(part)
        if read == made and reason == "stop" and stop_in(own.text[:made], answer.stops) is not None:
            break
        end = read - _held_back(engine, answer, own.text[:read])
        if end > shown:
            events += engine.text(own.text[shown:end], figures(len(sent), read))
            shown = end
    rest = text[shown:]
    if rest and not engine.ends_with_text:
        events += engine.text(rest, figures(len(sent), made))
        rest = ""
    events.append(engine.says({"content": rest} if rest else {}, figures(len(sent), made), reason))
    events.append(engine.event([], figures(len(sent), made)))
    if engine.comments:
        events = [piece for event in events for piece in (b": ping\n", event)]
    return b"".join(events) + DONE


def _held_back(engine: Engine, answer: Answer, text: str) -> int:
    """How many characters at the end of its own text an engine keeps back while it goes on."""
    if answer.keeps_stop or not answer.stops or engine.holds == NAIVE:
        return 0
    if engine.holds == HOLDING:
        return max(map(len, answer.stops)) - 1
    longest = (len(part) for stop in answer.stops for part in itertools.accumulate(stop[:-1]) if text.endswith(part))
    return max(longest, default=0)


def groups_of(text: str, random: Random) -> list[str]:
    """How a text may come: some tokens at a time."""
    parts = []
    while text:
        size = random.choice((1, 1, 1, 2, 3, 7))
        parts.append(text[:size])
        text = text[size:]
    return parts


def reads_of(engine: Engine, stream: bytes, random: Random) -> list[bytes]:
    """The stream as it may come from a socket."""
    first = len(events_of(stream)[0]) if engine.halves and stream else 0
    cuts = [random.randrange(len(stream) + 1) for _ in range(random.choice((0, 3, 30)))]
    edges = sorted({0, first, len(stream), *(cut for cut in cuts if cut >= first)})
    return [stream[start:stop] for start, stop in itertools.pairwise(edges)]
