"""What is it worth on real servers? Second turns on the llama.cpp server that had the first, and on another one.

One request at a time, so that nothing but the cache makes a difference. Through a gateway it is seen whether a
conversation stays where it began, without any header that says so.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import httpx2

from app.demo.bundled import MODEL_NAME
from app.demo.children import start_model_servers, stop_all
from bench.soak_children import ChildFailed, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.soak_children import Gateway

__all__ = ["Measured", "make_messages", "measure_real"]

_START_SECONDS: Final = 120.0
_ANSWER_TOKENS: Final = 24
_SETTINGS: Final = {"SSE_KEEPALIVE_SECONDS": "120"}
"""An answer's head must not be sent before its server is known: it says which one it was."""
_WORDS: Final = 1400
"""So many of these make about 1,500 tokens."""
_VOCABULARY: Final = (
    "the",
    "river",
    "ran",
    "past",
    "old",
    "stone",
    "houses",
    "where",
    "people",
    "sold",
    "bread",
    "and",
    "fruit",
    "while",
    "children",
    "played",
    "near",
    "water",
    "under",
    "tall",
    "trees",
    "during",
    "long",
    "warm",
    "days",
    "before",
    "winter",
    "came",
    "with",
    "snow",
    "ice",
    "wind",
    "dark",
    "nights",
    "cold",
    "rain",
    "quiet",
    "mornings",
)

_Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One conversation. Times are seconds to the first token.

    Attributes:
        prompt_tokens: of the second turn.
        first_turn_seconds: of the first turn, on the server that it began on.
        same_server_seconds: of the second turn, there.
        other_server_seconds: of the same second turn on the other server.
        stayed: whether a conversation through the gateway went to one server twice; None where none was sent.
        gateway_seconds: of the second turn through the gateway.
    """

    prompt_tokens: int
    first_turn_seconds: float
    same_server_seconds: float
    other_server_seconds: float
    stayed: bool | None = None
    gateway_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    first_token_seconds: float
    prompt_tokens: int
    server_id: str


def measure_real(model_path: Path, conversations: int, seed: int, *, through_gateway: bool) -> list[Measured]:
    """Measure so many conversations, one after the other.

    Raises:
        ChildFailed: a server or the gateway did not start, or an answer was refused.
    """
    random = Random(seed)
    with tempfile.TemporaryDirectory(prefix="stickiness-") as folder, _servers(model_path, Path(folder)) as urls:
        gateway_folder = Path(folder) / "gateway"
        gateway_folder.mkdir()
        with run_gateway(gateway_folder, _SETTINGS) if through_gateway else nullcontext() as gateway:
            if gateway is not None:
                _register(gateway, urls)
            found = []
            for number in range(conversations):
                same, other = urls if number % 2 == 0 else urls[::-1]
                measured = _directly(same, other, make_messages(random))
                if gateway is not None:
                    measured = _through(gateway, make_messages(random), measured)
                found.append(measured)
            return found


def make_messages(random: Random) -> _Messages:
    """Make the first turn of a conversation, of about 1,500 tokens."""
    text = " ".join(random.choices(_VOCABULARY, k=_WORDS))
    return [{"role": "user", "content": f"Read this text. {text}. Tell me what it is about."}]


@contextmanager
def _servers(model_path: Path, folder: Path) -> Iterator[list[str]]:
    servers = start_model_servers(2, model_path, MODEL_NAME, folder)
    try:
        yield [server.wait_ready(_START_SECONDS).url for server in servers]
    finally:
        stop_all(servers)


def _register(gateway: Gateway, urls: list[str]) -> None:
    with _client(gateway) as client:
        for url in urls:
            answer = client.post("/admin/register", json={"endpoint_url": url})
            if answer.status_code != 201:
                raise ChildFailed(f"a server could not be registered: {answer.text}")


def _client(gateway: Gateway) -> httpx2.Client:
    key = {"authorization": f"Bearer {gateway.key}"}
    return httpx2.Client(base_url=f"http://127.0.0.1:{gateway.port}", headers=key, timeout=_START_SECONDS)


def _directly(same: str, other: str, messages: _Messages) -> Measured:
    with (
        httpx2.Client(base_url=same, timeout=_START_SECONDS) as home,
        httpx2.Client(base_url=other, timeout=_START_SECONDS) as elsewhere,
    ):
        first = _ask(home, messages)
        following = _next_turn(messages, first.text)
        second = _ask(home, following)
        third = _ask(elsewhere, following)
    return Measured(
        second.prompt_tokens, first.first_token_seconds, second.first_token_seconds, third.first_token_seconds
    )


def _through(gateway: Gateway, messages: _Messages, measured: Measured) -> Measured:
    with _client(gateway) as client:
        first = _ask(client, messages)
        second = _ask(client, _next_turn(messages, first.text))
    if not first.server_id or not second.server_id:
        raise ChildFailed("an answer's head does not tell its server: its first token took too long")
    stayed = first.server_id == second.server_id
    return replace(measured, stayed=stayed, gateway_seconds=second.first_token_seconds)


def _next_turn(messages: _Messages, answer: str) -> _Messages:
    return [*messages, {"role": "assistant", "content": answer}, {"role": "user", "content": "Say that more shortly."}]


def _ask(client: httpx2.Client, messages: _Messages) -> _Answer:
    body = {
        "messages": messages,
        "model": MODEL_NAME,
        "max_tokens": _ANSWER_TOKENS,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began, first, prompt_tokens, texts = time.perf_counter(), 0.0, 0, []
    alone = {"connection": "close"}  # llama.cpp closes idle connections when it likes
    with client.stream("POST", "/v1/chat/completions", json=body, headers=alone) as answer:
        if answer.status_code != 200:
            raise ChildFailed(f"a turn was answered with {answer.status_code}: {answer.read()[:500]!r}")
        for line in answer.iter_lines():
            event = _event(line)
            prompt_tokens = (event.get("usage") or {}).get("prompt_tokens", prompt_tokens)
            for choice in event.get("choices", ()):
                text = choice["delta"].get("content")
                if text:
                    first = first or time.perf_counter() - began
                    texts.append(text)
        server_id = answer.headers.get("x-gateway-server-id", "")
    if not first:
        raise ChildFailed("a turn was answered without a token")
    return _Answer("".join(texts), first, prompt_tokens, server_id)


def _event(line: str) -> dict[str, Any]:
    """Read the data of a line of a stream; empty where it has none."""
    if not line.startswith("data: {"):
        return {}
    event: dict[str, Any] = json.loads(line.removeprefix("data: "))
    return event
