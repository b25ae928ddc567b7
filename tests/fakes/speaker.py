"""A model server as a function: it speaks a text of its own, and goes on with it in one of many ways, or not.

No socket, no clock: what a trial asks is answered at once. ``respond`` serves real sockets as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.services.core.continuation.asking import Answered, Ask, Failed, Found, Trial, Unclear

__all__ = ["PLANETS", "THINKING", "Engine", "Speaker", "decide", "refusal"]

PLANETS = "Mercury is hot.\nVenus is bright.\nEarth is home.\nMars is red.\nJupiter is large.\nSaturn has rings."
THINKING = "chat_template_kwargs"
Reply = tuple[int, bytes]


def tokens_of(text: str) -> list[str]:
    """Cut a text as tokenizers do: white space begins a word, but newlines stand alone."""
    return re.findall(r"\n| ?[^\s]+| ", text)


@dataclass
class Engine:
    """What a trial must know of an engine."""

    name: str = "vllm"

    def count_request(self, model: str, text: str) -> tuple[str, bytes] | None:
        return None if self.name == "unknown" else ("/tokenize", json.dumps({"model": model, "prompt": text}).encode())

    def error_message(self, status: int, body: bytes) -> str:
        del status
        return str(json.loads(body)["error"]["message"])


@dataclass
class Speaker:
    """One server.

    Attributes:
        text: what it says to any chat; a function makes it of the question.
        flags: what it does with ``continue_final_message``: goes on, begins anew, refuses.
        trailing: what it does with a trailing message alone.
        completions: what it does with a prompt.
        renders: what ``/tokenize`` and ``/apply-template`` give: ids, text, or a refusal.
        thinks: thoughts before the text, unless they are turned off.
        trims: whether it drops white space at the end of a trailing message.
        faults: answers or failures that come first, in this order.
    """

    text: str | Callable[[str], str] = PLANETS
    flags: str = "goes on"
    trailing: str = "goes on"
    completions: str = "goes on"
    renders: str = "refuses"
    thinks: tuple[str, ...] = ()
    quiet_works: bool = True
    prefill_needs_quiet: bool = False
    trims: bool = False
    tokens_per_event: int = 1
    streams: bool = True
    faults: list[Reply | Failed] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def respond(self, path: str, raw: bytes) -> Reply | Failed:
        """Answer one request."""
        body = json.loads(raw)
        self.asked.append((path, body))
        if self.faults:
            return self.faults.pop(0)
        if path in {"/tokenize", "/apply-template"}:
            return self._rendered(body)
        if path == "/v1/completions":
            return self._completion(body)
        return self._chat(body)

    def _chat(self, body: dict[str, Any]) -> Reply:
        last = body["messages"][-1]
        question = next(message["content"] for message in body["messages"] if message["role"] == "user")
        quiet = self.quiet_works and not body.get(THINKING, {}).get("enable_thinking", True)
        if last["role"] != "assistant":
            return self._say(body, "", self._text(question), quiet=quiet)
        way = self.flags if body.get("continue_final_message") else self.trailing
        if way == "refuses":
            return refusal("the last message must not be the assistant's")
        if self.prefill_needs_quiet and not quiet:
            return refusal("Assistant response prefill is incompatible with enable_thinking.")
        said = last["content"].rstrip() if self.trims else last["content"]
        return self._say(body, said if way == "goes on" else "", self._text(question), quiet=quiet, way=way)

    def _completion(self, body: dict[str, Any]) -> Reply:
        if self.completions == "refuses":
            return refusal("no completions here", 404)
        prompt = body["prompt"]
        if isinstance(prompt, list):
            said, text = "".join(map(chr, prompt[1:])), self._text("")
        elif prompt.startswith("<rendered>"):
            said, text = prompt.removeprefix("<rendered>"), self._text("")
        else:
            whole = f"{prompt[:20]} and so on.\n{self._text('')}"
            beginning = next((end for end in range(len(prompt), 0, -1) if prompt.endswith(whole[:end])), 0)
            said, text = whole[:beginning], whole
            if beginning <= 20:
                said = ""
        return self._say(body, said if self.completions == "goes on" else "", text, quiet=True, way=self.completions)

    def _rendered(self, body: dict[str, Any]) -> Reply:
        if self.renders == "refuses":
            return refusal("no such route", 404)
        if "messages" not in body:
            return 200, json.dumps({"tokens": [ord(letter) for letter in body["prompt"]]}).encode()
        return 200, json.dumps({"tokens": [1]} if self.renders == "ids" else {"prompt": "<rendered>"}).encode()

    def _text(self, question: str) -> str:
        return self.text(question) if callable(self.text) else self.text

    def _say(self, body: dict[str, Any], said: str, text: str, *, quiet: bool, way: str = "") -> Reply:
        if said and not text.startswith(said):
            text = f"{said} whatever"
        tokens = tokens_of(text[len(said) :])
        most = body.get("max_tokens", 1000)
        thoughts = () if quiet else self.thinks[:most]
        tokens = tokens[: max(0, most - len(thoughts))] if way != "says nothing" else []
        finish = "length" if most <= len(thoughts) + len(tokens) else "stop"
        if not (self.streams and body.get("stream")):
            message = {"content": "".join(tokens), "reasoning_content": "".join(thoughts) or None}
            choice = {"message": message, "text": "".join(tokens), "finish_reason": finish}
            return 200, json.dumps({"choices": [choice]}).encode()
        deltas: list[dict[str, Any]] = [{"delta": {"role": "assistant", "content": ""}}]
        deltas += [{"delta": {"reasoning_content": thought}} for thought in thoughts]
        step = self.tokens_per_event
        pieces = ["".join(tokens[start : start + step]) for start in range(0, len(tokens), step)]
        deltas += [{"text": piece} if "prompt" in body else {"delta": {"content": piece}} for piece in pieces]
        return 200, events([*deltas, {"delta": {}, "finish_reason": finish}])


def events(choices: list[dict[str, Any]]) -> bytes:
    """Write a stream."""
    blocks = [json.dumps({"choices": [{"index": 0, **choice}]}) for choice in choices]
    return "".join(f"data: {block}\n\n" for block in [*blocks, "[DONE]"]).encode()


def refusal(message: str, status: int = 400) -> Reply:
    return status, json.dumps({"error": {"message": message}}).encode()


def decide(trial: Trial, speaker: Speaker) -> Found | Unclear:
    """Carry a trial through."""
    ask: Ask = next(trial)
    while True:
        reply = speaker.respond(ask.path, ask.body)
        try:
            ask = trial.send(reply if isinstance(reply, Failed) else Answered(*reply))
        except StopIteration as end:
            verdict: Found | Unclear = end.value
            return verdict
