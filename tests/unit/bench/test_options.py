"""Does the command line say what it takes, and mean what it says?"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import __main__ as program
from bench.gateways import GATEWAYS
from bench.goals import GOALS
from bench.options import parse, plan_of
from bench.samples import Sample
from bench.works import WORKS
from tests.unit.bench.examples import RESULTS, results

QUICK_SECONDS, WHOLE_SECONDS = 180, 20 * 60
STARTING_SECONDS = 30


def test_everything_is_measured_five_times_unless_told_otherwise() -> None:
    plan = plan_of(parse([]))
    assert plan.gateways == GATEWAYS
    assert plan.works == WORKS
    assert plan.rounds >= 5
    assert plan.total_seconds + STARTING_SECONDS < WHOLE_SECONDS


def test_quick_measures_what_the_goals_need() -> None:
    plan = plan_of(parse(["--quick"]))
    assert {work.name for work in plan.works} == {goal.work for goal in GOALS}
    assert {gateway.name for gateway in plan.gateways} >= {goal.rival for goal in GOALS if goal.rival}
    assert plan.total_seconds + STARTING_SECONDS < QUICK_SECONDS


def test_a_choice_is_kept_in_the_order_of_the_tables() -> None:
    plan = plan_of(parse(["--only", "envoy, ours", "--works", "tls,short", "--rounds", "3"]))
    assert [gateway.name for gateway in plan.gateways] == ["ours", "envoy"]
    assert [work.name for work in plan.works] == ["short", "tls"]
    assert plan.command == "scripts/bench --rounds 3 --only ours,envoy --works short,tls"
    again = plan_of(parse(plan.command.split()[1:]))
    assert again == plan


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "ours,haproxy"], "there is no 'haproxy'. Known: ours, "),
        (["--works", "short,nap"], "there is no 'nap'. Known: short, "),
        (["--rounds", "0"], "a whole number from 1 to 100"),
        (["--rounds", "many"], "a whole number from 1 to 100"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        parse(arguments)
    assert refusal.value.code == 2
    assert words in capsys.readouterr().err


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    return program.main()


def test_the_list_names_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--list") == 0
    listed = capsys.readouterr().out
    assert all(f" {named.name} " in listed for named in (*GATEWAYS, *WORKS))


def test_stored_results_are_told_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored, copy = tmp_path / "results.json", tmp_path / "copy.json"
    stored.write_bytes(msgspec.json.encode(RESULTS))
    assert run(monkeypatch, "--from", str(stored), "--json", "--output", str(copy)) == 0
    assert msgspec.json.decode(capsys.readouterr().out) == msgspec.json.decode(copy.read_bytes())
    assert run(monkeypatch, "--from", str(stored)) == 0
    assert "Goals" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (
            [Sample("ours", "short", 1, {"requests_per_second": 1.0}, wrong=1, first_wrong="differs")],
            "1 answers were wrong",
        ),
        ([Sample("ours", "short", 1, note="nothing came")], "Nothing could be measured"),
        ([], "Nothing could be measured"),
    ],
)
def test_wrong_answers_and_no_figures_fail(
    samples: list[Sample],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = tmp_path / "results.json"
    stored.write_bytes(msgspec.json.encode(results(samples)))
    assert run(monkeypatch, "--from", str(stored)) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"{}", b"no json"])
def test_results_that_can_not_be_read_fail_in_words(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = tmp_path / "results.json"
    if content is not None:
        stored.write_bytes(content)
    assert run(monkeypatch, "--from", str(stored)) == 1
    assert "The benchmark failed: " in capsys.readouterr().err
