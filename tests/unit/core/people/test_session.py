"""Does a cookie open its own session alone, and does nothing that is kept or shown lead back to it?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.people.session import (
    TOKEN_BYTES,
    Lifetime,
    cookie_of,
    csrf_fits,
    csrf_of,
    everywhere_id,
    seal,
    session_id,
    token_of,
    unseal,
)

START = datetime(2030, 1, 1, tzinfo=UTC)
HALF_DAY = Lifetime(timedelta(hours=12))
tokens = st.binary(min_size=TOKEN_BYTES, max_size=TOKEN_BYTES)


@given(tokens)
def test_a_token_is_read_back_from_its_cookie(token: bytes) -> None:
    cookie = cookie_of(token)
    assert token_of(cookie) == token
    assert len(cookie) == 43
    assert cookie.isascii()


@given(st.one_of(st.text(), tokens.map(cookie_of).map(lambda cookie: f"{cookie}=")))
def test_any_other_text_is_no_token(text: str) -> None:
    token = token_of(text)
    assert token is None or cookie_of(token) == text


def test_a_token_has_one_spelling() -> None:
    cookie = cookie_of(bytes(TOKEN_BYTES))
    assert cookie == "A" * 43
    assert token_of("A" * 42 + "B") is None  # base64 would ignore the last bits
    assert token_of(cookie + "\n") is None


@given(tokens, tokens, tokens)
def test_only_the_token_brings_the_digest_back(token: bytes, other: bytes, digest: bytes) -> None:
    sealed = seal(token, digest)
    assert unseal(token, sealed) == digest
    assert (unseal(other, sealed) == digest) is (other == token)
    assert len(sealed) == 32


def test_a_digest_of_another_size_is_not_cut() -> None:
    with pytest.raises(ValueError, match="zip"):
        seal(bytes(TOKEN_BYTES), bytes(31))


@given(tokens, tokens)
def test_what_is_made_of_two_tokens_differs(token: bytes, other: bytes) -> None:
    for made in (session_id, csrf_of, cookie_of):
        assert (made(token) == made(other)) is (token == other)
    assert len({session_id(token), token, token_of(csrf_of(token)), seal(token, bytes(32))}) == 4


@given(tokens, st.text())
def test_a_change_carries_its_own_token_or_none(token: bytes, text: str) -> None:
    own = csrf_of(token)
    assert csrf_fits(own, own)
    assert csrf_fits(own, text) is (text == own)
    assert not csrf_fits(own, "\ud800")


def test_marks_of_two_keys_differ() -> None:
    assert everywhere_id("one") != everywhere_id("two")
    assert len(everywhere_id("")) == 32


def test_a_session_ends_when_it_is_not_used_and_some_day_all_the_same() -> None:
    hour, lifetime = timedelta(hours=1), HALF_DAY
    assert lifetime.end(START, START) == START + 12 * hour
    assert lifetime.end(START, START + 70 * hour) == START + 82 * hour
    assert lifetime.end(START, START + 80 * hour) == START + 84 * hour


@pytest.mark.parametrize(
    ("idle_hours", "minutes", "worth"),
    [(12, 59, False), (12, 60, True), (720, 59, False), (720, 60, True), (1, 4, False), (1, 5, True)],
)
def test_a_new_end_is_written_from_time_to_time(idle_hours: float, minutes: int, worth: bool) -> None:
    lifetime = Lifetime(timedelta(hours=idle_hours))
    assert lifetime.is_worth_saving(START, START + timedelta(minutes=minutes)) is worth
