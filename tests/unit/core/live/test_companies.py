"""Which models fit into a server's memory together?"""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from app.services.core.live.companies import Companies

NAMES = st.frozensets(st.sampled_from("abcde"))


def of(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


def companies(*known: str) -> Companies:
    found = Companies()
    for together in known:
        found.learn(of(together))
    return found


def test_without_knowledge_all_must_leave() -> None:
    assert companies().leaving(of("ab"), "c") == of("ab")
    assert companies().leaving(of(""), "c") == of("")


def test_those_that_were_seen_together_stay() -> None:
    assert companies("ab").leaving(of("a"), "b") == of("")
    assert companies("abc").leaving(of("a"), "c") == of("")
    assert companies("ae", "be").leaving(of("ae"), "b") == of("a")


def test_pairs_that_fit_make_no_three() -> None:
    assert companies("ab", "bc", "ac").leaving(of("ab"), "c") in (of("a"), of("b"))


def test_one_that_is_missing_does_not_fit_beside_those_that_are_there() -> None:
    known = companies("ab", "ac", "bc")
    known.unlearn("a", of("b"))
    assert known.leaving(of("b"), "a") == of("b")
    assert known.leaving(of("c"), "a") == of("")
    assert known.leaving(of("c"), "b") == of("")


def test_only_so_many_are_kept_the_newest() -> None:
    known = Companies()
    for number in range(40):
        known.learn(frozenset((f"x{number}", f"y{number}")))
    assert known.leaving(of(("y39",)), "x39") == of("")
    assert known.leaving(of(("y0",)), "x0") == of(("y0",))


@given(st.lists(NAMES, max_size=16), NAMES, st.sampled_from("abcde"))
def test_who_stays_was_seen_with_the_newcomer(known: list[frozenset[str]], company: frozenset[str], name: str) -> None:
    found = Companies()
    for together in known:
        found.learn(together)
    staying = company - found.leaving(company, name)
    assert not staying or any(staying | {name} <= together for together in known)


@given(st.lists(NAMES, max_size=16))
def test_all_that_was_seen_fits(known: list[frozenset[str]]) -> None:
    found = Companies()
    for together in known:
        found.learn(together)
    for together in known:
        for name in together:
            assert not found.leaving(together, name) or len(together) == 1
