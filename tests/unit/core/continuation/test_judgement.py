"""Of what the client has and what it asked for follows how an answer goes on, if it does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.continuation.asked import Asked
from app.services.core.continuation.delivered import NOTHING, Delivered
from app.services.core.continuation.judgement import Anew, Complete, Impossible, Judgement, Resume, judge, spent_tokens

CHAT = Asked(chat=True)
SHAPED = Asked(chat=True, obstacle="the request asks for structured output ('grammar')")
TEN = Asked(chat=True, limits=(("max_tokens", 10), ("max_completion_tokens", 12)))
THOUGHT = "Let me see. " * 10


@pytest.mark.parametrize(
    ("asked", "delivered", "tokens", "verdict"),
    [
        (CHAT, NOTHING, None, Anew()),
        (CHAT, Delivered(role=True), None, Anew()),
        (CHAT, Delivered(role=True, reasoning="hm", reasoning_member="reasoning"), None, Anew()),
        (SHAPED, Delivered(role=True, reasoning="hm"), None, Anew()),
        (SHAPED, NOTHING, None, Anew()),
        (TEN, Delivered(reasoning=THOUGHT, text_events=0), None, Anew()),
        (CHAT, Delivered(content="Hello", text_events=1), None, Resume()),
        (SHAPED, Delivered(content="Hello", text_events=1), None, Impossible(SHAPED.obstacle)),
        (TEN, Delivered(content="a b c", text_events=9), None, Resume()),
        (TEN, Delivered(content="a b c", text_events=10), None, Complete()),
        (TEN, Delivered(content="a b c", text_events=3, content_tokens=10), None, Complete()),
        (TEN, Delivered(content="a b c", text_events=11, content_tokens=3), None, Resume()),
        (TEN, Delivered(content="a b c", text_events=3), 10, Complete()),
        (TEN, Delivered(content="a b c", text_events=3), 11, Complete()),
        (TEN, Delivered(content="a b c", text_events=10, content_tokens=10), 9, Resume()),
        (TEN, Delivered(content="a", text_events=1, reasoning=THOUGHT), None, Resume()),
    ],
)
def test_verdicts(asked: Asked, delivered: Delivered, tokens: int | None, verdict: Judgement) -> None:
    assert judge(asked, delivered, tokens) == verdict


@pytest.mark.parametrize(
    ("delivered", "word"),
    [
        (Delivered(calls=True), "tool call"),
        (Delivered(calls=True, content="Hello"), "tool call"),
        (Delivered(foreign=True), "refusal"),
        (Delivered(foreign=True, content="Hello", overflow=True), "refusal"),
        (Delivered(overflow=True, content="Hello"), "longer"),
        (Delivered(overflow=True), "longer"),
    ],
)
def test_what_binds_ends_it_with_a_reason(delivered: Delivered, word: str) -> None:
    for asked in (CHAT, SHAPED, TEN):
        verdict = judge(asked, delivered, None)
        assert isinstance(verdict, Impossible)
        assert word in verdict.reason


def test_thoughts_count_against_the_limit_and_never_end_an_answer() -> None:
    delivered = Delivered(content="a b", text_events=2, reasoning=THOUGHT)
    assert spent_tokens(delivered, None) == 2 + len(THOUGHT) // 4
    assert spent_tokens(delivered, 5) == 5 + len(THOUGHT) // 4
    assert judge(TEN, delivered, None) == Resume()


def test_thoughts_of_any_characters_are_counted() -> None:
    assert spent_tokens(Delivered(reasoning="\U0001f600" * 4 + "\ud800"), None) == 4


@given(
    st.builds(
        Delivered,
        role=st.booleans(),
        content=st.text(max_size=5),
        reasoning=st.text(max_size=5),
        calls=st.booleans(),
        foreign=st.booleans(),
        text_events=st.integers(0, 20),
        content_tokens=st.none() | st.integers(0, 20),
        overflow=st.booleans(),
    ),
    st.sampled_from([CHAT, SHAPED, TEN]),
    st.none() | st.integers(0, 20),
)
def test_text_is_never_asked_for_twice_and_never_passed_by(
    delivered: Delivered, asked: Asked, tokens: int | None
) -> None:
    verdict = judge(asked, delivered, tokens)
    if isinstance(verdict, Anew):
        assert delivered == Delivered(
            role=delivered.role,
            reasoning=delivered.reasoning,
            text_events=delivered.text_events,
            content_tokens=delivered.content_tokens,
        )
    if isinstance(verdict, Resume | Complete):
        assert delivered.content
        assert not asked.obstacle
    if isinstance(verdict, Complete):
        assert (delivered.tokens if tokens is None else tokens) >= 10
