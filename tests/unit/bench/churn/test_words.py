"""Is the text the request's own, and is a begun answer told from a question?"""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.churn.words import LENGTH, Form, count_tokens, key_of_messages, pieces, split_prompt


@given(st.text(), st.text())
@settings(max_examples=50)
def test_each_request_has_a_text_of_its_own(one: str, other: str) -> None:
    assert len(pieces(Form.TEXT, one)) == LENGTH
    assert (pieces(Form.TEXT, one) == pieces(Form.TEXT, other)) == (one == other)


@given(st.text())
@settings(max_examples=50)
def test_json_and_arguments_are_json(key: str) -> None:
    for form in (Form.JSON, Form.CALL):
        words = pieces(form, key)
        assert len(words) == LENGTH
        assert json.loads("".join(words))["words"] == "".join(pieces(Form.TEXT, key)[1:-1])


@given(st.text(max_size=40), st.integers(min_value=0))
@settings(max_examples=100)
def test_a_prompt_with_a_begun_answer_is_parted_between_them(prompt: str, place: int) -> None:
    text = "".join(pieces(Form.TEXT, prompt))
    cut = 3 + place % (len(text) - 2)
    assert split_prompt(prompt + text[:cut]) == (prompt, text[:cut])


def test_what_only_looks_like_an_answer_is_a_question() -> None:
    assert split_prompt("Write 007 and then 00 again") == ("Write 007 and then 00 again", "")


def test_tokens_are_counted_at_every_cut_between_them() -> None:
    words = pieces(Form.TEXT, "a question")
    for place in range(1, LENGTH + 1):
        assert count_tokens("".join(words[:place])) == place
    assert count_tokens("three words here") == 3


def test_parts_of_a_message_count_as_their_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]
    told = [{"role": "user", "content": parts}, {"role": "user", "content": None}]
    assert key_of_messages(told) == "user: ab\nuser: "
