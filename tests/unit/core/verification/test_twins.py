"""Is the odd one found out, and no other?"""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.services.core.verification.findings import Verdict
from app.services.core.verification.likeness import MAX_CHARACTERS, Sample, are_alike, likeness, unsound
from app.services.core.verification.rota import Key
from app.services.core.verification.samples import Samples
from app.services.core.verification.twins import MOST_COMPARED, panel, votes
from tests.fakes.claimant import LIGHTHOUSE

OTHERWISE = "Bananas grow in warm countries, where farmers cut them green and ship them in cooled holds to far ports."
LATE = " ".join(LIGHTHOUSE.split()[:10]) + " gulls sleep below while rain drums on tin roofs and nobody walks here"


def words(text: str) -> tuple[str, ...]:
    return Sample.of("chat", text).words


SENTENCES = st.lists(st.sampled_from(["sea", "light", "dark", "fog", "wave", "rock", "gull"]), max_size=30).map(tuple)


def test_answers_that_part_late_are_alike():
    assert are_alike(words(LIGHTHOUSE), words(LATE), 0.0)


def test_answers_that_part_early_and_say_other_things_are_not():
    assert not are_alike(words(LIGHTHOUSE), words(OTHERWISE), likeness(words(LIGHTHOUSE), words(OTHERWISE)))


def test_an_early_parting_with_the_same_words_after_it_is_tolerated():
    other = LIGHTHOUSE.replace("The old", "An ancient")
    ratio = likeness(words(LIGHTHOUSE), words(other))
    assert ratio > 0.8
    assert are_alike(words(LIGHTHOUSE), words(other), ratio)


@given(SENTENCES, SENTENCES)
def test_likeness_is_the_same_either_way_and_between_nothing_and_all(one, other):
    ratio = likeness(one, other)
    assert 0.0 <= ratio <= 1.0
    assert ratio == likeness(other, one)
    assert likeness(one, one) == 1.0
    assert are_alike(one, other, ratio) == are_alike(other, one, ratio)


@given(st.text(max_size=3000))
def test_a_sample_is_bounded_whatever_was_said(text):
    assert sum(map(len, Sample.of("chat", text).words)) <= 2 * MAX_CHARACTERS


@pytest.mark.parametrize("text", ["", "  \n", "\ufffd\ufffd\ufffdab", "!" * 40, "no " * 20, "\x00\x01\x02"])
def test_what_is_no_answer(text):
    assert unsound(text).startswith("its answer ")


@pytest.mark.parametrize("text", [LIGHTHOUSE, "Ja.", "灯塔在夜里发光。", "No, no.", "1. Light\n2. Dark"])
def test_what_is_one(text):
    assert unsound(text) == ""


def test_with_three_the_odd_one_is_marked_and_the_others_are_not():
    judged = votes({"a": words(LIGHTHOUSE), "b": words(LATE), "c": words(OTHERWISE)})
    assert {name: one.verdict for name, one in judged.items()} == {
        "a": Verdict.OK,
        "b": Verdict.OK,
        "c": Verdict.MISMATCH,
    }
    assert judged["c"].measured is not None
    assert judged["c"].measured < 0.5


def test_with_two_that_differ_both_are_unclear_and_each_names_the_other():
    judged = votes({"a": words(LIGHTHOUSE), "b": words(OTHERWISE)})
    assert {one.verdict for one in judged.values()} == {Verdict.UNCLEAR}
    assert " b," in judged["a"].detail
    assert " a," in judged["b"].detail


def test_a_draw_decides_nothing():
    heard = {"a": words(LIGHTHOUSE), "b": words(LIGHTHOUSE), "c": words(OTHERWISE), "d": words(OTHERWISE)}
    assert {one.verdict for one in votes(heard).values()} == {Verdict.UNCLEAR}


def test_one_alone_is_unclear():
    assert votes({"a": words(LIGHTHOUSE)})["a"].verdict is Verdict.UNCLEAR


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=2), SENTENCES, min_size=1, max_size=8), st.randoms())
def test_votes_depend_on_no_order_and_never_outvote_a_majority(heard, random):
    judged = votes(heard)
    items = list(heard.items())
    random.shuffle(items)
    assert votes(dict(items)) == judged
    mismatches = sum(one.verdict is Verdict.MISMATCH for one in judged.values())
    assert 2 * mismatches < len(heard)
    assert mismatches == 0 or len(heard) >= 3


@given(SENTENCES, st.integers(2, 8))
def test_those_that_say_the_same_are_all_right(said, count):
    judged = votes({str(number): said for number in range(count)})
    assert {one.verdict for one in judged.values()} == {Verdict.OK}


@given(st.sets(st.text("abc", min_size=1, max_size=3), max_size=30), st.text("abc", min_size=1, max_size=3))
def test_a_panel_is_small_and_holds_the_one_that_it_is_for(others, own):
    chosen = panel(own, others)
    assert chosen[0] == own
    assert len(chosen) == len(set(chosen)) <= MOST_COMPARED
    assert set(chosen) <= others | {own}


KEYS: list[Key] = [("a", "m"), ("b", "m"), ("c", "M")]


def test_samples_are_compared_with_those_of_one_kind_and_one_way():
    samples = Samples(str.casefold)
    samples.put(("a", "m"), Sample.of("chat", LIGHTHOUSE))
    samples.put(("b", "m"), Sample.of("chat", LIGHTHOUSE))
    samples.put(("c", "M"), Sample.of("chat", OTHERWISE))
    samples.put(("d", "m"), Sample.of("completion", OTHERWISE))
    samples.put(("e", "other"), Sample.of("chat", OTHERWISE))
    samples.put(("f", "m"), None)
    judged = dict(samples.compare(("a", "m")))
    assert set(judged) == set(KEYS)
    assert judged["c", "M"].verdict is Verdict.MISMATCH
    assert list(samples.compare(("f", "m"))) == []
    assert list(samples.compare(("none", "m"))) == []


def test_whom_nobody_has_heard_yet():
    samples = Samples(str.casefold)
    samples.put(("a", "m"), None)
    assert not samples.is_unheard_twin(("b", "m"), ("a", "m"))
    assert samples.is_unheard_twin(("a", "m"), ("b", "M"))
    assert not samples.is_unheard_twin(("a", "m"), ("a", "m"))
    assert not samples.is_unheard_twin(("a", "m"), ("b", "other"))


def test_samples_go_with_their_servers_and_models():
    samples = Samples(str.casefold)
    for key in KEYS:
        samples.put(key, Sample.of("chat", LIGHTHOUSE))
    samples.retain({"a": {"m"}, "b": set(), "c": {"M"}})
    assert [key in samples for key in KEYS] == [True, False, True]
    samples.forget("a")
    assert len(samples) == 1


@given(st.lists(SENTENCES, min_size=2, max_size=2))
def test_an_unlike_pair_is_never_marked_as_one_that_disagrees_with_a_majority(pair):
    assume(pair[0] != pair[1])
    judged = votes({"a": pair[0], "b": pair[1]})
    assert Verdict.MISMATCH not in {one.verdict for one in judged.values()}
