"""Are the requests the same for the same seed, and of all kinds, and cuts within the answer?"""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from bench.identical.cases import CHAT, KINDS, MOST_FEW_TOKENS, TEXT, make_cases, stop_in, with_stop
from bench.identical.run import choose_cut


def test_a_seed_gives_the_same_requests_and_another_one_others() -> None:
    assert make_cases(30, 1, 48) == make_cases(30, 1, 48)
    assert make_cases(30, 1, 48) != make_cases(30, 2, 48)
    assert make_cases(60, 1, 48)[:30] == make_cases(30, 1, 48)


def test_ten_requests_are_of_every_kind() -> None:
    cases = make_cases(10, 1, 48)
    assert {case.kind for case in cases} == set(KINDS)
    assert [case.number for case in cases] == list(range(1, 11))
    for case in cases:
        assert case.path == (CHAT if "messages" in case.body else TEXT)
        assert (case.body["temperature"], case.body["stream"]) == (0, True)
        few = case.kind.endswith("few tokens")
        assert (case.body["max_tokens"] <= MOST_FEW_TOKENS) == few
        assert ("messages" in case.body and case.body["messages"][-1]["role"] == "assistant") == case.kind.endswith(
            "begun"
        )


@given(st.text(), st.integers())
def test_a_stop_string_is_of_the_answer(text: str, seed: int) -> None:
    stop = stop_in(text, Random(seed))
    assert stop in text
    assert bool(stop) == (len(text) >= MOST_FEW_TOKENS)


def test_a_stop_string_is_put_into_its_request_alone() -> None:
    case = make_cases(1, 1, 48)[0]
    assert with_stop(case, "") is case
    assert with_stop(case, "lo w").body["stop"][0] == "lo w"
    assert "stop" not in case.body


@given(st.lists(st.floats(0, 10), min_size=1, max_size=20), st.integers())
def test_a_cut_is_between_the_first_event_and_the_last_but_one(gaps: list[float], seed: int) -> None:
    times = [sum(gaps[:count]) for count in range(len(gaps) + 1)]
    events = len(gaps)
    cut = choose_cut(times, events, Random(seed))
    assert 1 <= cut.events <= max(1, events - 1)
    assert 0 <= cut.delay_seconds <= times[cut.events] - times[cut.events - 1]
