"""A chat as raw text: what an engine is asked to render, what it answers, and the completion made of both."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.continuation.delivered import Delivered
from app.services.core.continuation.reading import read_asked
from app.services.core.continuation.rendering import Rendered, render_request, rendered_body, rendered_in
from app.services.core.continuation.request import CHATS, NotContinuable
from app.services.core.http.surfaces import COMPLETIONS

MESSAGES = [{"role": "user", "content": "Say \u20ac."}]
CHAT = {"model": "m", "messages": MESSAGES, "stream": True, "temperature": 0, "tools": [], "logprobs": False}
HELLO = Delivered(role=True, content="Hello,", text_events=2)
PROMPT = "<|user|>Say \u20ac.<|assistant|>"


def encoded(members: dict[str, Any]) -> bytes:
    return json.dumps(members).encode()


def made(members: dict[str, Any], rendered: Rendered, *, ids: tuple[int, ...] | None = None) -> dict[str, Any]:
    body = encoded(members)
    path, completion = rendered_body(body, read_asked(body, CHATS), HELLO, rendered, None, text_ids=ids)
    assert path == COMPLETIONS
    found: dict[str, Any] = json.loads(completion)
    return found


@pytest.mark.parametrize(
    ("engine", "path"), [("llama.cpp", "/apply-template"), ("vllm", "/tokenize"), ("sglang", "/tokenize")]
)
def test_the_engine_renders_what_its_template_sees(engine: str, path: str) -> None:
    members = {**CHAT, "chat_template_kwargs": {"x": 1}}
    request = render_request(encoded(members), engine, "theirs", thinking_off=False)
    assert request is not None
    assert request[0] == path
    assert json.loads(request[1]) == {
        "model": "theirs",
        "messages": MESSAGES,
        "add_generation_prompt": True,
        "chat_template_kwargs": {"x": 1},
    }
    request = render_request(encoded(members), engine, "theirs", thinking_off=True)
    assert request is not None
    assert json.loads(request[1])["chat_template_kwargs"] == {"x": 1, "enable_thinking": False}


@pytest.mark.parametrize("engine", ["unknown", "ollama", "tgi", "mlx-lm", ""])
def test_other_engines_render_nothing(engine: str) -> None:
    assert render_request(encoded(CHAT), engine, "m", thinking_off=False) is None


@pytest.mark.parametrize(
    ("answer", "rendered"),
    [
        (b'{"prompt":"<s>Hi"}', Rendered("<s>Hi")),
        (b'{"tokens":[1,2,3]}', Rendered((1, 2, 3))),
        (b'{"count":3,"max_model_len":4096,"tokens":[1,2,3]}', Rendered((1, 2, 3), 4096)),
        (b'{"count":1,"max_model_len":1000000000000000019884624838656,"tokens":[1]}', Rendered((1,))),
        (b'{"count":1,"max_model_len":-1,"tokens":[]}', Rendered(())),
        (b'{"error":{"message":"no"}}', None),
        (b'{"tokens":["a"]}', None),
        (b'{"tokens":[[1],[2]]}', None),
        (b'{"prompt":5}', None),
        (b"[1,2]", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_what_engines_answer(answer: bytes, rendered: Rendered | None) -> None:
    assert rendered_in(answer) == rendered


def test_text_goes_behind_the_rendered_prompt() -> None:
    assert made({**CHAT, "max_tokens": 10, "min_tokens": 3, "stop": "x"}, Rendered(PROMPT)) == {
        "model": "m",
        "stream": True,
        "temperature": 0,
        "stop": "x",
        "min_tokens": 1,
        "max_tokens": 8,
        "prompt": PROMPT + "Hello,",
    }
    assert "max_tokens" not in made(CHAT, Rendered(PROMPT))
    assert made({**CHAT, "max_completion_tokens": 5}, Rendered(PROMPT))["max_tokens"] == 3
    assert made({**CHAT, "max_tokens": 9, "max_completion_tokens": 5}, Rendered(PROMPT))["max_tokens"] == 3


def test_ids_go_behind_ids() -> None:
    found = made({**CHAT, "max_tokens": 10}, Rendered((1, 2, 3), 4096), ids=(7, 8))
    assert found["prompt"] == [1, 2, 3, 7, 8]
    assert found["max_tokens"] == 8


def test_without_a_limit_ids_may_fill_the_context() -> None:
    assert made(CHAT, Rendered((1, 2, 3), 100), ids=(7, 8))["max_tokens"] == 95
    assert made(CHAT, Rendered((1, 2, 3), 4), ids=(7, 8))["max_tokens"] == 1
    with pytest.raises(NotContinuable, match="how long"):
        made(CHAT, Rendered((1, 2, 3)), ids=(7, 8))


def test_ids_of_the_text_are_needed() -> None:
    with pytest.raises(NotContinuable, match="missing"):
        made(CHAT, Rendered((1, 2, 3), 100))


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","messages":[],"messages":[],"stop":"a","stop":"b"}',
        b'{"messages":[],"stop":"a","stop":"b","chat_template_kwargs":{"enable_thinking":1,"enable_thinking":1}}',
    ],
)
def test_what_stands_twice_is_refused(body: bytes) -> None:
    with pytest.raises(NotContinuable, match="twice"):
        render_request(body, "vllm", "m", thinking_off=True)
    with pytest.raises(NotContinuable, match="twice"):
        rendered_body(body, read_asked(body, CHATS), HELLO, Rendered(PROMPT), None)


def test_half_a_character_cannot_be_sent() -> None:
    body = encoded(CHAT)
    with pytest.raises(NotContinuable, match="surrogates"):
        rendered_body(body, read_asked(body, CHATS), Delivered(content="\ud800"), Rendered(PROMPT), None)


@given(
    st.text(max_size=20),
    st.dictionaries(
        st.sampled_from(["temperature", "top_p", "seed", "messages_", "tool_choice", "user", "n", "functions"]),
        st.none() | st.integers() | st.text(max_size=5),
    ),
)
def test_only_what_means_the_same_is_copied(prompt: str, members: dict[str, Any]) -> None:
    found = made({**CHAT, **members}, Rendered(prompt))
    assert found.pop("prompt") == prompt + "Hello,"
    copied = {name: value for name, value in members.items() if name in ("temperature", "top_p", "seed", "user")}
    assert found == {"model": "m", "stream": True, "temperature": 0} | copied
