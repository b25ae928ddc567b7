"""Is a stream read as it is, and every difference between two of them told?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.identical.answer import Lines, differences, read_answer

DONE = b"[DONE]"


def said(text: str | None = None, finish: str | None = None, **fields: Any) -> bytes:
    delta = {"role": "assistant"} if text is None and finish is None else {"content": text} if text else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    whole = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return json.dumps({**whole, **fields}).encode()


def figures(count: int) -> bytes:
    return said("", None, choices=[], usage={"prompt_tokens": 3, "completion_tokens": count, "total_tokens": 3 + count})


GOOD = [said(), said("Hi"), said(" 🦊"), said(finish="stop"), figures(2), DONE]


@given(st.lists(st.text().filter(str.strip), min_size=1, max_size=5), st.integers(1, 7))
def test_lines_come_whole_however_the_body_is_cut(texts: list[str], size: int) -> None:
    data = [json.dumps(text, ensure_ascii=False).encode() for text in texts]
    body = b": ping\n" + b"".join(b"data: %b\r\n\r\n" % line for line in data)
    lines = Lines()
    found = [line for start in range(0, len(body), size) for line in lines.feed(body[start : start + size])]
    assert found == data


def test_a_good_answer() -> None:
    answer = read_answer(GOOD, chat=True)
    assert (answer.text, answer.finishes, answer.roles, answer.dones) == ("Hi 🦊", ["stop"], 1, 1)
    assert (answer.figures, answer.faults) == ([(3, 2)], [])
    assert differences(answer, answer) == []


def test_a_good_completion() -> None:
    events = [
        said(choices=[{"index": 0, "text": text, "finish_reason": end}]) for text, end in (("a", None), ("", "length"))
    ]
    answer = read_answer([*events, DONE], chat=False)
    assert (answer.text, answer.finishes, answer.roles, answer.faults) == ("a", ["length"], 0, [])


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (
            [said(), said("Hi"), said(" 🦁"), said(finish="stop"), figures(2), DONE],
            "character 3: behind 'Hi ' it says '🦁', not '🦊'",
        ),
        ([said(), said("Hi"), said(finish="stop"), figures(2), DONE], "differs at character 2"),
        ([said(), said("Hi"), said(" 🦊"), said(finish="length"), figures(2), DONE], "finished by ['length']"),
        ([said(), said("Hi"), said(" 🦊"), said(finish="stop"), figures(3), DONE], "counts [3] tokens, not [2]"),
        ([said(), said("Hi"), said(" 🦊"), said(finish="stop"), DONE], "counts [] tokens, not [2]"),
        ([said("Hi"), said(" 🦊"), said(finish="stop"), figures(2), DONE], "the role never came"),
        ([said(), *GOOD], "the role came 2 times"),
        ([*GOOD, DONE], "after [DONE]"),
        (GOOD[:-1], "without [DONE]"),
        ([said(id="c2"), *GOOD[1:]], "several id"),
        ([said(model="n"), *GOOD[1:]], "several model"),
        ([*GOOD[:4], said("!"), *GOOD[4:]], "text came after the finish reason"),
        ([*GOOD[:4], said(finish="stop"), *GOOD[4:]], "2 finish reasons"),
        ([*GOOD[:3], *GOOD[4:]], "0 finish reasons"),
        ([GOOD[0], b'{"error":{"message":"no"}}', *GOOD[1:]], "an error"),
        ([GOOD[0], b'{"id":', *GOOD[1:]], "no JSON"),
    ],
)
def test_what_differs_is_told(events: list[bytes], words: str) -> None:
    found = differences(read_answer(GOOD, chat=True), read_answer(events, chat=True))
    assert words in "; ".join(found)


def test_a_role_that_the_engine_left_out_may_be_made_up_for() -> None:
    without = read_answer(GOOD[1:], chat=True)
    assert differences(without, read_answer(GOOD, chat=True)) == []
