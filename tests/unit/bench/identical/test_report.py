"""Do table and figures say what was found?"""

from __future__ import annotations

import io

from rich.console import Console

from bench.identical.answer import Answer
from bench.identical.cases import make_cases
from bench.identical.report import percentile, print_report, summary
from bench.identical.run import Cut, Trial

CASES = make_cases(3, 1, 48)


def trial(number: int, gap: float, *differences: str, was_cut: bool = True, again: str = "") -> Trial:
    case = CASES[number - 1]
    told = [again] if again else []
    return Trial(case, Answer("text"), 9, Cut(number, 0.0), was_cut, int(was_cut), gap, list(differences), told)


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0, 2.0], 0.99) == 2.0


def test_what_is_counted() -> None:
    found = summary([trial(1, 0.1), trial(2, 0.3, "it ended"), trial(3, 9.0, was_cut=False)])
    assert (found["prompts"], found["identical"], found["cut"], found["continued"]) == (3, 2, 2, 2)
    assert (found["gap_p50_ms"], found["gap_max_ms"]) == (300.0, 300.0)
    assert found["trials"][1]["differences"] == ["it ended"]


def test_what_differs_is_shown() -> None:
    written = io.StringIO()
    trials = [trial(1, 0.1), trial(2, 0.3, "the text [differs]", again="so does this"), trial(3, 0.0, was_cut=False)]
    print_report(trials, Console(file=written, width=160))
    shown = written.getvalue()
    assert "2 of 3" in shown
    assert "cut after event 2 of 9: the text [differs]" in shown
    assert "so does this" in shown
    assert "Over before the server was killed: 3" in shown
