"""What a server says once more: left out once, whatever the pieces it comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.continuation.repeats import Thoughts, White

PIECES = st.lists(st.text("ab ", max_size=5), max_size=8)
WHITE = st.text(" \n\t\u00a0\u2003", max_size=5)


@given(st.text("ab ", max_size=12), PIECES)
def test_thoughts_are_shown_from_where_they_are_new_and_as_long_as_they_fit(shown: str, pieces: list[str]) -> None:
    thoughts, said = Thoughts(shown, silent=False), "".join(pieces)
    new = [thoughts.new_in(piece) for piece in pieces]
    if said.startswith(shown):
        assert "".join(new) == said[len(shown) :]
    else:
        assert not any(new)


def test_thoughts_that_differ_are_not_shown_any_more() -> None:
    thoughts = Thoughts("let me see", silent=False)
    assert [thoughts.new_in(text) for text in ("let me", " think", " see", "let me see more")] == ["", "", "", ""]


def test_no_thoughts_are_shown_once_the_answer_has_begun() -> None:
    assert Thoughts("", silent=True).new_in("well") == ""
    assert Thoughts("", silent=False).new_in("well") == "well"


@given(st.text("ab", max_size=3), WHITE, WHITE, st.text("ab ", max_size=5), st.integers(1, 4))
def test_white_space_is_left_out_once(text: str, white: str, more: str, rest: str, size: int) -> None:
    scan, said = White(text + white), white + more + rest
    pieces = [said[start : start + size] for start in range(0, len(said), size)]
    assert "".join(map(scan.new_in, pieces)) == more + rest
    assert scan.came_again is bool(white)


@pytest.mark.parametrize(
    ("text", "pieces", "expected"),
    [
        ("a \n", [" ", "b"], "b"),
        ("a \n", ["\n", " b"], "\n b"),
        ("a ", ["b", " c"], "b c"),
        ("a", [" b"], " b"),
        ("a  ", [" ", "", " ", " b"], " b"),
        ("", ["\n"], "\n"),
    ],
)
def test_only_what_is_equal_is_left_out(text: str, pieces: list[str], expected: str) -> None:
    scan = White(text)
    assert "".join(map(scan.new_in, pieces)) == expected


def test_it_is_over_with_the_first_character_that_is_new() -> None:
    scan = White("a ")
    assert not scan.over
    assert (scan.new_in(" "), scan.over, scan.came_again) == ("", False, True)
    assert (scan.new_in("b"), scan.over) == ("b", True)
    assert White("a").over
