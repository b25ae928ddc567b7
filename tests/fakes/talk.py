"""What is asked of talkers, and what is the answer? Each token follows from the question and its place alone."""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["CHAT", "COMPLETIONS", "TOPIC", "answer_to", "ask_body", "pieces_of", "question_and_beginning"]

TOPIC = "Tell me of number"
SYLLABLES = ("ka", "lo", "mi", "né", "жд", "ta", "漢", "ze", "\N{GRINNING FACE}", "wu", '"q"', "\\n")
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SHORTEST_PREFIX = 3


def pieces_of(question: str, count: int) -> list[str]:
    """The first tokens of the answer to a question."""
    pieces = []
    for number in range(count):
        octets = hashlib.sha256(f"{question}\0{number}".encode()).digest()
        syllables = (SYLLABLES[octet % len(SYLLABLES)] for octet in octets[1 : 2 + octets[0] % 3])
        pieces.append(f"{' ' if number else ''}{number}{''.join(syllables)}")
    return pieces


def answer_to(question: str, count: int) -> str:
    """The whole answer of so many tokens."""
    return "".join(pieces_of(question, count))


def ask_body(number: int = 1, *, path: str = CHAT, stream: bool = True, **fields: Any) -> dict[str, Any]:
    """A client's request that asks a question of its own; the answer is ``answer_to(f"{TOPIC} {number}", ...)``."""
    question = f"{TOPIC} {number}"
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": question}]} if path == CHAT else {}
    if path == COMPLETIONS:
        asked = {"prompt": question}
    return {"model": "m", **asked, "stream": stream, **fields}


def question_and_beginning(wanted: Any, *, chat: bool) -> tuple[str, str]:
    """What was asked, and how the answer began already."""
    if not chat:
        return _split_prompt(str(wanted["prompt"]))
    messages = list(wanted["messages"])
    begun = str(messages.pop()["content"]) if messages[-1]["role"] == "assistant" else ""
    return str(messages[-1]["content"]), begun


def _split_prompt(prompt: str) -> tuple[str, str]:
    """The shortest question whose answer begins with the rest of the prompt; else the prompt is the question."""
    for place in range(1, len(prompt) - SHORTEST_PREFIX + 1):
        rest = prompt[place:]
        if rest.startswith("0") and answer_to(prompt[:place], len(rest)).startswith(rest):
            return prompt[:place], rest
    return prompt, ""
