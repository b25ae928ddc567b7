"""Token rates: what is learnt from counts, and what can't be made to be learnt."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.prompt.token_rates import (
    DEFAULT_RATE,
    HIGHEST_RATE,
    LOWEST_RATE,
    TokenRates,
    least_tokens,
)

TEXT_BYTES = 12_000


def taught(rate: float, times: int = 40, *, spread: float = 0.1) -> TokenRates:
    rates, dice = TokenRates(), random.Random(7)
    for _ in range(times):
        rates.note("llama", TEXT_BYTES, round(TEXT_BYTES / (rate * dice.uniform(1 - spread, 1 + spread))))
    return rates


def test_a_model_that_was_never_counted_has_four_bytes_a_token() -> None:
    rates = TokenRates()
    assert rates.rate("llama") == DEFAULT_RATE
    assert rates.tokens("llama", 4000) == 1000
    assert rates.tokens("llama", 4001) == 1001
    assert rates.tokens("llama", 0) == 0


@pytest.mark.parametrize("rate", [2.3, 3.1, 4.4, 6.5])
def test_the_rate_of_a_model_is_learnt_to_within_five_percent(rate: float) -> None:
    assert taught(rate).rate("llama") == pytest.approx(rate, rel=0.05)


def test_models_are_learnt_apart() -> None:
    rates = taught(3.0)
    assert rates.rate("qwen") == DEFAULT_RATE


def test_one_count_moves_little_whatever_it_says() -> None:
    rates = taught(4.0)
    before = rates.rate("llama")
    rates.note("llama", TEXT_BYTES, TEXT_BYTES // 2)
    assert rates.rate("llama") == pytest.approx(before, rel=0.005)


@pytest.mark.parametrize("lie", [1.5, 7.9])
def test_a_server_that_lies_in_a_third_of_the_counts_moves_the_rate_by_less_than_a_tenth(lie: float) -> None:
    rates = taught(4.0)
    for turn in range(900):
        rates.note("llama", TEXT_BYTES, round(TEXT_BYTES / (lie if turn % 3 == 0 else 4.0)))
    assert rates.rate("llama") == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize(
    ("prompt_bytes", "prompt_tokens"),
    [(1000, 500), (2000, 100), (40_000, 2050), (TEXT_BYTES, TEXT_BYTES), (TEXT_BYTES, 0), (TEXT_BYTES, -5), (0, 0)],
)
def test_what_can_be_no_count_of_this_text_is_not_learnt(prompt_bytes: int, prompt_tokens: int) -> None:
    rates = TokenRates()
    rates.note("llama", prompt_bytes, prompt_tokens)
    assert len(rates) == 0


def test_the_model_that_was_counted_longest_ago_is_forgotten_first() -> None:
    rates = TokenRates(most_models=2)
    for model in ("a", "b", "a", "c"):
        rates.note(model, TEXT_BYTES, TEXT_BYTES // 3)
    assert len(rates) == 2
    assert rates.rate("b") == DEFAULT_RATE
    assert rates.rate("a") < DEFAULT_RATE
    assert rates.rate("c") < DEFAULT_RATE


def test_once_enough_is_known_few_counts_are_wanted() -> None:
    rates = TokenRates()
    assert all(rates.wants("llama") for _ in range(100))
    rates = taught(4.0)
    assert sum(rates.wants("llama") for _ in range(160)) == 10
    assert rates.wants("qwen")


def test_the_rate_of_light_texts_is_the_default_before_anything_is_known() -> None:
    assert TokenRates().low_tokens("llama", 4001) == 1001


def test_much_of_one_heavy_kind_moves_the_lightest_little() -> None:
    rates = taught(4.2)
    light = rates.low_tokens("llama", 25_000)
    for _ in range(60):
        rates.note("llama", TEXT_BYTES, TEXT_BYTES // 2)
    assert rates.low_tokens("llama", 25_000) < light * 1.07
    assert rates.tokens("llama", 25_000) > light * 1.2


def test_light_texts_are_learnt_soon_and_lies_lift_them_by_a_quarter_at_most() -> None:
    rates = taught(5.0, 60)
    assert rates.low_tokens("llama", 5000) <= 1000
    for _ in range(900):
        rates.note("qwen", TEXT_BYTES, TEXT_BYTES // 4)
        rates.note("qwen", TEXT_BYTES, round(TEXT_BYTES / 7.9))
    assert rates.low_tokens("qwen", 10_000) >= 10_000 / (1.25 * rates.rate("qwen")) - 1


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(-10, 10**9)), max_size=60))
def test_the_lightest_never_have_more_tokens_than_the_mean(counts: list[tuple[int, int]]) -> None:
    rates = TokenRates()
    for prompt_bytes, prompt_tokens in counts:
        rates.note("llama", prompt_bytes, prompt_tokens)
    assert least_tokens(10_000) <= rates.low_tokens("llama", 10_000) <= rates.tokens("llama", 10_000)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(-10, 10**9)), max_size=60))
def test_the_rate_stays_within_its_bounds(counts: list[tuple[int, int]]) -> None:
    rates = TokenRates()
    for prompt_bytes, prompt_tokens in counts:
        rates.note("llama", prompt_bytes, prompt_tokens)
    assert LOWEST_RATE <= rates.rate("llama") <= HIGHEST_RATE
    assert rates.tokens("llama", 1000) >= least_tokens(1000) == 125
