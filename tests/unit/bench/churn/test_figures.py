"""Do counts add up, and are times those of the fault that they belong to?"""

from __future__ import annotations

import pytest

from bench.churn.faults import Hit
from bench.churn.figures import examples_of, felt_of, gaps_of, share_of, slowest_of, spread, tallies_of
from bench.churn.judge import Fate, Seam
from bench.churn.kinds import PROMISED
from tests.unit.bench.churn.examples import RESULTS, attempt, fared

WHOLE, GAP = 1.2, 0.02


def test_first_and_last_attempts_are_counted_apart() -> None:
    refused = attempt(Fate.REFUSED, status=503)
    tallies = tallies_of(
        [
            fared(attempt()),
            fared(attempt(Fate.CUT)),
            fared(refused, attempt()),
            fared(refused, refused),
            fared(attempt(Fate.REFUSED, status=404), kind="plain"),
        ]
    )
    stream, plain = tallies
    assert (stream.kind, stream.asked) == ("stream", 4)
    assert stream.first == {"exact": 1, "cut": 1, "refused": 2}
    assert stream.last == {"exact": 2, "cut": 1, "refused": 1}
    assert (stream.first_5xx, stream.last_5xx) == (2, 1)
    assert (plain.first, plain.first_5xx) == ({"refused": 1}, 0)


def test_every_request_is_in_one_column() -> None:
    for trial in RESULTS.trials:
        for retried in (False, True):
            share = share_of([trial], PROMISED, retried=retried)
            rest = share.cut + share.corrupted + share.failed_5xx + share.other
            assert share.exact + rest == share.asked
    envoy = share_of([trial for trial in RESULTS.trials if trial.gateway == "envoy"], PROMISED, retried=False)
    assert (envoy.exact, envoy.cut, envoy.told, envoy.percent) == (150, 50, 10, 75.0)
    assert envoy.bounds_percent[0] < 75 < envoy.bounds_percent[1]


def test_only_kinds_that_come_token_by_token_have_gaps() -> None:
    seam = Seam("a", "b", 0.32)
    hit = attempt(seams=(seam, Seam("b", "c", 0.01)))
    assert gaps_of([fared(hit), fared(hit, kind="tools"), fared(attempt())], GAP) == pytest.approx([0.3, 0.0])


def test_a_fault_is_felt_by_those_that_come_after_it_and_wait_or_fail() -> None:
    hits = [Hit(0, 10, 14), Hit(1, 20, 24), Hit(2, 20, 24)]
    late, lost = attempt(first_seconds=0.9), attempt(Fate.REFUSED, status=503, first_seconds=None)
    requests = [
        fared(late, due_seconds=9.0),  # before
        fared(late, due_seconds=10.5),
        fared(lost, due_seconds=12.0),
        fared(attempt(Fate.CUT), due_seconds=13.0),  # got its first token in time, and was hit by another fault
        fared(attempt(seconds=3.0), due_seconds=12.5, kind="plain"),
        fared(attempt(seconds=3.0), due_seconds=19.5, kind="plain"),  # crosses the next
        fared(lost, due_seconds=19.9),  # likewise
        fared(lost, due_seconds=15.0, kind="tools"),  # held, so its first token tells nothing
    ]
    assert felt_of(requests, hits, WHOLE, GAP) == pytest.approx([2.5, 0.0])
    assert felt_of(requests, [], WHOLE, GAP) == []


def test_times_are_summed_up() -> None:
    assert spread([]) is None
    told = spread([number / 1000 for number in range(1, 101)])
    assert told is not None
    assert (told.count, told.p50_ms, told.p99_ms, told.most_ms) == (100, 51.0, 100.0, 100.0)


def test_the_longest_seams_are_told_first() -> None:
    slow, quick = attempt(seams=(Seam("a", "b", 3.0),), seconds=4.2), attempt(seams=(Seam("c", "d", 0.1),))
    told = slowest_of([fared(quick), fared(slow, due_seconds=7.5)])
    assert told[0] == "3.00 s from a to b: stream, due at 7.50 s, over after 4.20 s"
    assert len(told) == 2


def test_examples_are_the_most_frequent_first() -> None:
    cut, told = attempt(Fate.CUT), attempt(Fate.TOLD, reason="broke off")
    examples = examples_of([fared(told), fared(cut), fared(told), fared(attempt())])
    assert examples == ["2 x stream: told, 200, broke off", "1 x stream: cut, 200, why"]
