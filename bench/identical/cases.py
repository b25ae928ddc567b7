"""What is asked? Requests whose answers hold what is hard to go on behind: emoji, other scripts, code, white space.

The same seed gives the same requests. All are streams at temperature 0, so that a second answer can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any, Final

from app.demo.bundled import MODEL_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CHAT", "KINDS", "TEXT", "Case", "make_cases", "stop_in", "with_stop"]

CHAT: Final = "/v1/chat/completions"
TEXT: Final = "/v1/completions"
MOST_FEW_TOKENS: Final = 8

KINDS: Final = ("chat", "chat, stop", "chat, few tokens", "chat, begun", "text", "text, stop", "text, few tokens")
"""``stop``: ends at a stop string taken from the answer; ``begun``: the client itself wrote the answer's beginning."""
_TURNS: Final = (0, 4, 1, 0, 5, 2, 0, 4, 6, 3)
"""In which order the kinds come, by their place in ``KINDS``."""

_QUESTIONS: Final = (
    "Why is the sky blue?",
    "Tell me a story about a {animal} and a {thing}.",
    "Repeat this line five times: {emoji} {word} {emoji}",
    "Write a row of emoji about a {animal}. Begin with {emoji}.",
    "Repeat after me, three times: {foreign}",
    "Write these words again, each on a line of its own: {accents}",
    "Write a Python function that takes a {animal} and returns a {thing}.",
    "Make a Markdown table with three rows about a {thing}: name, price, colour.",
    "List five things that a {animal} does, numbered, with a blank line between them.",
    "Write a JSON object, indented by four spaces, that describes a {thing}.",
)
_BEGINNINGS: Final = (
    "Once upon a time a {animal} found a {thing}, and",
    "{emoji} {emoji} {emoji} {word} {emoji} {emoji} {emoji} {word} {emoji} {emoji}",
    "{foreign}\n{foreign}\n",
    "Words: {accents}, {accents},",
    "def find_{animal}({thing}, count):\n    ",
    '{{\n    "{animal}": [\n        {{"{thing}": 1}},\n        {{"{thing}": 2}},\n',
    "| {animal} | {thing} |\n|---|---|\n| 1 | {emoji} |\n| 2 | {emoji} |\n",
    "<ul>\n  <li>{animal}</li>\n  <li>{thing}</li>\n",
    "\tone\t{word}\n\ttwo\t{word}\n",
)
_ANIMALS: Final = ("cat", "heron", "whale", "beetle", "fox", "penguin", "horse")
_THINGS: Final = ("lamp", "boat", "clock", "kite", "garden", "bridge", "piano")
_EMOJI: Final = ("😀", "🎉", "🌍", "🚀", "❤️", "👩‍🚀", "🇫🇷", "🍜", "👍🏽")
_WORDS: Final = ("hello", "naïve", "yes", "Straße", "well-known", "don't")
_FOREIGN: Final = (
    "今日は天気がいいですね。",
    "我喜欢在公园里散步。",
    "Привет, как дела?",
    "안녕하세요 여러분",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "ខ្ញុំស្រលាញ់អ្នក",
)
_ACCENTS: Final = ("forêt, été, hôtel", "Zürich, Łódź, São Paulo", "mañana, corazón, niño", "Øst, Ærø, Malmö")
_SYSTEM: Final = "You are a helpful assistant. Answer in short sentences."
_BEGUN: Final = ("Sure! Here", "Well, the {thing}", "{emoji} ", "1. A {animal}", "```\n")
_HISTORY: Final = [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello! 👋\n\nHow are you?"}]


@dataclass(frozen=True, slots=True)
class Case:
    """One request.

    Attributes:
        number: from 1 on.
        kind: one of ``KINDS``.
        body: as it is sent; for a kind with a stop string this one is put in once an answer was seen (``with_stop``).
    """

    number: int
    kind: str
    body: dict[str, Any]

    @property
    def path(self) -> str:
        """The route that it is sent to."""
        return CHAT if self.kind.startswith("chat") else TEXT

    @property
    def wants_stop(self) -> bool:
        """Whether a stop string is to be taken from its answer."""
        return self.kind.endswith("stop")


def make_cases(count: int, seed: int, max_tokens: int) -> list[Case]:
    """Draw so many requests, whose answers have ``max_tokens`` tokens at most."""
    random = Random(seed)
    return [_case(number, KINDS[_TURNS[number % len(_TURNS)]], random, max_tokens) for number in range(1, count + 1)]


def stop_in(text: str, random: Random) -> str:
    """Choose a stop string in the later part of an answer, as a client may ask for one; empty if it is too short."""
    if len(text) < MOST_FEW_TOKENS:
        return ""
    start = random.randrange(len(text) // 3, len(text) - 3)
    return text[start : start + random.randint(2, 9)]


def with_stop(case: Case, stop: str) -> Case:
    """Make it end at a stop string; as it is where that is empty."""
    return replace(case, body={**case.body, "stop": [stop, "\u2603 never said"]}) if stop else case


def _case(number: int, kind: str, random: Random, max_tokens: int) -> Case:
    few = kind.endswith("few tokens")
    body: dict[str, Any] = {
        "model": MODEL_NAME,
        "temperature": 0,
        "max_tokens": random.randint(2, MOST_FEW_TOKENS) if few else max_tokens,
        "stream": True,
    }
    if random.random() < 0.75:
        body["stream_options"] = {"include_usage": True}
    if kind.startswith("chat"):
        body["messages"] = _messages(kind, random)
    else:
        body["prompt"] = _filled(_BEGINNINGS, random)
    return Case(number, kind, body)


def _messages(kind: str, random: Random) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": _SYSTEM}] if random.random() < 0.3 else []
    messages += _HISTORY if random.random() < 0.2 else []
    messages.append({"role": "user", "content": _filled(_QUESTIONS, random)})
    if kind.endswith("begun"):
        messages.append({"role": "assistant", "content": _filled(_BEGUN, random)})
    return messages


def _filled(templates: Sequence[str], random: Random) -> str:
    return random.choice(templates).format(
        animal=random.choice(_ANIMALS),
        thing=random.choice(_THINGS),
        emoji=random.choice(_EMOJI),
        word=random.choice(_WORDS),
        foreign=random.choice(_FOREIGN),
        accents=random.choice(_ACCENTS),
    )
