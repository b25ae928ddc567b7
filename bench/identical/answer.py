"""What does a streamed answer say in all, and in what do two of them differ? Read as a strict client would."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Answer", "Lines", "differences", "read_answer"]

_DONE: Final = b"[DONE]"
_DATA: Final = b"data:"
_AROUND_CHARACTERS: Final = 24


class Lines:
    """Cuts a body into the data of its events, as its pieces come. Events have one line of data each."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Take a piece; return the data of the events whose line is whole."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line[len(_DATA) :].strip() for line in lines if line.startswith(_DATA)]


@dataclass
class Answer:
    """All that a stream said.

    Attributes:
        text: of all events.
        finishes: every ``finish_reason``, in order; there should be one.
        roles: how many events named the role; llama.cpp leaves it out where the first token is no whole character,
            and the gateway makes up for that.
        dones: how many times ``[DONE]`` came.
        names: each ``id``, ``model`` and ``object`` that was told, without repeats. (``created`` is left out: llama.cpp
            tells the time of each event in completions.)
        figures: each ``usage``: tokens of the prompt, of the answer.
        faults: what no client should ever see, in words.
    """

    text: str = ""
    finishes: list[str] = field(default_factory=list)
    roles: int = 0
    dones: int = 0
    names: dict[str, list[str]] = field(default_factory=dict)
    figures: list[tuple[int, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_answer(data: Iterable[bytes], *, chat: bool) -> Answer:
    """Put an answer together from the data of its events."""
    answer = Answer()
    for line in data:
        if answer.dones:
            answer.faults.append(f"something came after [DONE]: {line[:80]!r}")
        if line == _DONE:
            answer.dones += 1
        else:
            _take(answer, line, chat=chat)
    if not answer.dones:
        answer.faults.append("it ended without [DONE]")
    answer.faults += [f"it has several {name}: {told}" for name, told in answer.names.items() if len(told) > 1]
    if len(answer.finishes) != 1:
        answer.faults.append(f"it has {len(answer.finishes)} finish reasons: {answer.finishes}")
    if answer.roles > 1:
        answer.faults.append(f"the role came {answer.roles} times")
    return answer


def _take(answer: Answer, line: bytes, *, chat: bool) -> None:
    try:
        event = json.loads(line)
    except ValueError:
        answer.faults.append(f"an event is no JSON: {line[:80]!r}")
        return
    if "error" in event:
        answer.faults.append(f"an error: {line[:300].decode(errors='replace')}")
        return
    for name in ("id", "model", "object"):
        told = answer.names.setdefault(name, [])
        if str(event.get(name)) not in told:
            told.append(str(event.get(name)))
    usage = event.get("usage")
    if usage:
        answer.figures.append((usage["prompt_tokens"], usage["completion_tokens"]))
    for choice in event.get("choices", []):
        _take_choice(answer, choice, chat=chat)


def _take_choice(answer: Answer, choice: dict[str, Any], *, chat: bool) -> None:
    said = choice.get("delta", {}) if chat else choice
    text = said.get("content" if chat else "text") or ""
    if text and answer.finishes:
        answer.faults.append(f"text came after the finish reason: {text!r}")
    answer.text += text
    answer.roles += "role" in said
    if choice.get("finish_reason"):
        answer.finishes.append(choice["finish_reason"])


def differences(first: Answer, second: Answer) -> list[str]:
    """Say in what the second answer is not as the first one, and what is wrong with it by itself."""
    found = list(second.faults)
    if first.text != second.text:
        found.insert(0, _first_difference(first.text, second.text))
    if first.finishes != second.finishes:
        found.append(f"it finished by {second.finishes}, not by {first.finishes}")
    if second.roles < first.roles:
        found.append("the role never came")
    counts = [[count for _prompt, count in answer.figures] for answer in (first, second)]
    if counts[0] != counts[1]:
        found.append(f"it counts {counts[1]} tokens, not {counts[0]}")
    kinds = ("object", "model")
    told = [({kind: answer.names.get(kind) for kind in kinds}) for answer in (first, second)]
    if told[0] != told[1]:
        found.append(f"it is named {told[1]}, not {told[0]}")
    return found


def _first_difference(first: str, second: str) -> str:
    alike = 0
    while alike < min(len(first), len(second)) and first[alike] == second[alike]:
        alike += 1
    before = first[max(0, alike - _AROUND_CHARACTERS) : alike]
    ends = [text[alike : alike + _AROUND_CHARACTERS] for text in (first, second)]
    return f"the text differs at character {alike}: behind {before!r} it says {ends[1]!r}, not {ends[0]!r}"
