"""One choice of an event: whether it says anything, ends the text, and how a completion's looks as a chat's."""

from __future__ import annotations

import json

import pytest

from app.services.core.continuation.choices import as_chat, ends_text, is_first, speaks
from app.services.core.continuation.members import Members, joined, members_in


def choice(text: str) -> Members:
    members = members_in(text.encode())
    assert members is not None
    return members


@pytest.mark.parametrize(
    "text",
    [
        '{"delta":{"role":"assistant"}}',
        '{"delta":{"content":" "}}',
        '{"delta":{"reasoning":"x","content":null}}',
        '{"delta":{"tool_calls":[{}]}}',
        '{"delta":{},"finish_reason":"stop"}',
        '{"text":"\\n"}',
        '{"index":1,"logprobs":{"content":[]}}',
        '{"delta":{"something":0}}',
    ],
)
def test_what_says_something(text: str) -> None:
    assert speaks(choice(text))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"index":3,"delta":null}',
        '{"index":0,"delta":{},"logprobs":null,"finish_reason":null}',
        '{"delta":{"content":"","reasoning_content":null,"tool_calls":[ ]},"stop_reason":null}',
        '{"text":"","finish_reason":""}',
    ],
)
def test_what_says_nothing(text: str) -> None:
    assert not speaks(choice(text))


@pytest.mark.parametrize(
    ("members", "delta", "ends"),
    [
        ('{"finish_reason":"length"}', "{}", True),
        ("{}", '{"tool_calls":[{"index":0}]}', True),
        ("{}", '{"function_call":{"name":"f"}}', True),
        ('{"finish_reason":null}', '{"content":"x","tool_calls":[]}', False),
    ],
)
def test_a_reason_or_a_call_ends_the_text(members: str, delta: str, ends: bool) -> None:
    assert ends_text(choice(members), choice(delta)) is ends


@pytest.mark.parametrize(("text", "first"), [("{}", True), ('{"index":null}', True), ('{"index":1}', False)])
def test_the_first_choice(text: str, first: bool) -> None:
    assert is_first(choice(text)) is first


def test_a_completions_choice_as_a_chats() -> None:
    completion = choice('{"index":0,"text":"x","logprobs":null,"finish_reason":null,"stop_reason":null}')
    rest = {"logprobs": None, "finish_reason": None, "stop_reason": None}
    assert json.loads(bytes(joined(as_chat(completion, with_role=False)))) == {
        "index": 0,
        "delta": {"content": "x"},
        **rest,
    }
    with_role = json.loads(bytes(joined(as_chat(completion, with_role=True))))
    assert with_role["delta"] == {"role": "assistant", "content": "x"}
    last = as_chat(choice('{"text":"","finish_reason":"stop"}'), with_role=False)
    assert bytes(joined(last)) == b'{"index":0,"delta":{},"finish_reason":"stop"}'
