"""Does the benchmark of the choice measure what it says, and take only options that make sense?"""

from __future__ import annotations

import json

import pytest

from app.services.core.choice.plan import Forward, plan
from bench import score


@pytest.mark.parametrize("size", [2, 10, 40])
@pytest.mark.parametrize("case", score.CASES, ids=lambda case: case.name)
def test_every_case_is_what_its_name_says(case: score.Case, size: int) -> None:
    snapshot, board, demand, tried = score._pool(case.name, size)
    verdict = plan("llama", snapshot, board, tried, score.NOW, lambda: 0.3, demand=demand)
    assert isinstance(verdict, Forward) is (case.name != "all ejected")
    if isinstance(verdict, Forward):
        expected = {"homes": "prefix", "context": "roomy", "rare context": "roomy", "warm and cold": "loaded"}
        assert verdict.why == expected.get(case.name, "drawn")


def test_figures_come_as_a_table_and_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(score, "_SECONDS", 0.0)
    assert score.main(["--sizes", "2,3", "--rounds", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["microseconds"]
    assert list(figures) == [case.name for case in score.CASES]
    assert all(list(row) == ["2", "3"] and min(row.values()) >= 0.0 for row in figures.values())
    assert score.main(["--sizes", "2", "--rounds", "1"]) == 0
    shown = capsys.readouterr().out
    assert "2 servers" in shown
    assert "crowded home" in shown
    assert "At most 3 at 10 servers, 10 at 1000 servers" in shown


@pytest.mark.parametrize("options", [["--sizes", "x"], ["--sizes", "1"], ["--rounds", "0"], ["--against", "/nowhere"]])
def test_options_that_make_no_sense_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_of:
        score.main(options)
    assert exit_of.value.code == 2
    assert "usage" in capsys.readouterr().err
