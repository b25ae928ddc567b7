"""Stop strings across a seam: found wherever the texts are cut, and nothing waits that need not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.continuation.asked import Asked
from app.services.core.continuation.delivered import Delivered
from app.services.core.continuation.stops import MOST_STEPS, StopScan, ends_in_stop

WORDS = st.text("ab\U0001f600", max_size=12)
STOPS = st.lists(st.text("ab\U0001f600", min_size=1, max_size=5), max_size=3)


def across(stops: list[str], delivered: str, said: str) -> int | None:
    """Where in ``said`` the first stop string ends that begins in ``delivered``."""
    whole = delivered + said
    for end in range(1, len(said) + 1):
        here = len(delivered) + end
        if any(len(stop) > end and whole.endswith(stop, 0, here) for stop in stops):
            return end
    return None


def run(scan: StopScan, texts: list[str]) -> list[str]:
    return [*(scan.feed(text) for text in texts), scan.end()]


@given(STOPS, WORDS, st.lists(WORDS, max_size=6))
def test_ends_the_answer_where_the_first_match_across_the_seam_ends(
    stops: list[str], delivered: str, texts: list[str]
) -> None:
    end = across(stops, delivered, "".join(texts))
    scan = StopScan(stops, delivered)
    assert "".join(run(scan, texts)) == ("".join(texts) if end is None else "")
    assert scan.stopped is (end is not None)
    keeping = StopScan(stops, delivered, keeps_stop=True)
    assert "".join(run(keeping, texts)) == "".join(texts)[:end]
    assert keeping.stopped is (end is not None)


@given(STOPS, WORDS, st.lists(WORDS, max_size=6))
def test_holds_a_text_only_while_a_match_is_possible(stops: list[str], delivered: str, texts: list[str]) -> None:
    scan, said, out = StopScan(stops, delivered), "", ""
    for text in texts:
        said += text
        out += scan.feed(text)
        possible = any(
            stop.startswith(delivered[place:] + said) and len(delivered[place:] + said) < len(stop)
            for stop in stops
            for place in range(len(delivered))
        )
        if not scan.stopped:
            assert out == ("" if possible else said)
            assert scan.searching is possible


@pytest.mark.parametrize(
    ("stops", "delivered"),
    [
        ([], "a"),
        (["a"], "a"),
        (["ab"], ""),
        (["ab"], "ab"),
        (["abc"], "ab "),
        (["\n\nUser:"], "Hello."),
        (["x" * 100_000], "a"),
    ],
)
def test_nothing_ever_waits_where_no_match_began(stops: list[str], delivered: str) -> None:
    scan = StopScan(stops, delivered)
    assert not scan.searching
    assert scan.feed("b") == "b"


def test_of_several_the_one_that_ends_first_counts() -> None:
    scan = StopScan(["ell", "ello, w", "lo"], "hel", keeps_stop=True)
    assert (scan.feed("lo, world"), scan.stopped) == ("l", True)
    assert (scan.feed("more"), scan.end()) == ("", "")


def test_a_match_within_the_continued_text_alone_is_the_servers_own() -> None:
    scan = StopScan(["ab"], "xa")
    assert scan.feed("cab") == "cab"
    assert not scan.stopped


def test_no_stop_string_ends_before_the_least_number_of_tokens_is_out() -> None:
    early, late = (StopScan(["a--b"], "a-", unstoppable_texts=count) for count in (2, 1))
    assert [early.feed("-"), early.feed("b"), early.feed("c")] == ["", "", "-bc"]
    assert not early.stopped
    assert [late.feed("-"), late.feed("b")] == ["", ""]
    assert late.stopped


def test_a_stop_string_passed_over_may_be_the_beginning_of_another() -> None:
    scan = StopScan(["aa"], "a", unstoppable_texts=1)
    assert scan.feed("a") + scan.feed("b") == "ab"
    repeated = StopScan(["abab", "ab" * 5], "ab" * 3, unstoppable_texts=1)
    assert (repeated.feed("ab"), repeated.feed("ab"), repeated.stopped) == ("", "", True)


def test_a_later_beginning_takes_the_place_of_one_that_failed() -> None:
    scan = StopScan(["abacabad"], "abacaba")
    assert (scan.feed("bacaba"), scan.feed("d"), scan.stopped) == ("", "", True)


@pytest.mark.parametrize("keeps_stop", [False, True])
def test_halves_of_a_character_are_one_character(keeps_stop: bool) -> None:
    face = "\U0001f600"
    scan = StopScan([f"a{face}b"], "a", keeps_stop=keeps_stop)
    assert (scan.feed("\ud83d"), scan.feed("\ude00")) == (("", face) if keeps_stop else ("", ""))
    assert scan.feed("b") == ("b" if keeps_stop else "")
    assert scan.stopped


def test_half_a_character_whose_other_half_does_not_come_is_given_back() -> None:
    scan = StopScan(["ab"], "a")
    assert scan.feed("\ud83d") == ""
    assert scan.feed("x") == "\ud83dx"
    ended = StopScan(["ab"], "a")
    assert ended.feed("\ud83d") + ended.end() == "\ud83d"


def test_long_stop_strings_that_repeat_themselves_cost_little() -> None:
    stops = ["a" * 60_000 + str(number) for number in range(8)]
    begun = time.process_time()
    scan = StopScan(stops, "a" * 1_000_000)
    scan.feed("a" * 100)
    assert time.process_time() - begun < 1.5
    assert scan.searching


def test_a_stop_string_of_which_much_was_delivered_is_found() -> None:
    stop = "abcd" * (MOST_STEPS // 8)
    scan = StopScan([stop], "x" + stop[:-2])
    assert (scan.feed("cd"), scan.stopped) == ("", True)


@pytest.mark.parametrize(
    ("content", "keeps_stop", "min_tokens", "ends"),
    [
        ("so END", True, None, True),
        ("so END", False, None, False),
        ("so EN", True, None, False),
        ("so END", True, 3, False),
        ("so END", True, 2, True),
        ("", True, None, False),
    ],
)
def test_a_delivered_stop_string_ends_the_answer(
    content: str, keeps_stop: bool, min_tokens: int | None, ends: bool
) -> None:
    asked = Asked(chat=True, stops=("###", "END"), keeps_stop=keeps_stop, min_tokens=min_tokens)
    assert ends_in_stop(asked, Delivered(content=content, text_events=2)) is ends
    assert not ends_in_stop(Asked(chat=True, keeps_stop=True), Delivered(content="so"))
