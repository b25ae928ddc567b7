"""Are medians, ranges, ratios and goals what the rounds say?"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.goals import GOALS, Goal, judge_goals
from bench.samples import Sample
from bench.summary import Figure, columns_of, rows_of, summarise
from bench.works import WORKS
from tests.unit.bench.examples import RESULTS, results


def test_a_row_has_the_median_and_the_ratio_to_ours() -> None:
    direct, ours, envoy, litellm = rows_of(RESULTS, "short")
    assert ours.figures["cpu_us_per_request"] == Figure(22.0, 20.0, 24.0, 5)
    assert (ours.ratio, envoy.ratio) == (1.0, 1.5)
    assert (direct.ratio, direct.note) == (None, "the load's core was full")
    assert (litellm.figures, litellm.note) == ({}, "missing, see above")


def test_a_round_with_a_wrong_answer_counts_for_nothing() -> None:
    wrong = Sample("ours", "short", 4, {"cpu_us_per_request": 1.0}, wrong=2, first_wrong="a body differs")
    row = rows_of(results([*RESULTS.samples, wrong]), "short")[1]
    assert row.figures["cpu_us_per_request"].least == 20.0
    assert (row.wrong, row.note) == (2, "WRONG: a body differs")
    assert results([wrong]).wrong == 2


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=9))
def test_a_median_lies_between_the_least_and_the_most(values: list[float]) -> None:
    figure = summarise([Sample("ours", "short", 1, {"value": value}) for value in values])["value"]
    assert figure.least == min(values) <= figure.median <= figure.most == max(values)


def test_goals_are_judged_by_the_same_run() -> None:
    words = {(verdict.goal.work, verdict.goal.rival): verdict.word for verdict in judge_goals(RESULTS)}
    assert words["short", "envoy"] == "met"
    assert words["short", "vllm-router"] == "not measured"
    assert words["open-streams", None] == "met"
    rough = {verdict.goal.work for verdict in judge_goals(RESULTS) if verdict.is_rough}
    assert rough == {"open-streams"}  # of one round
    slow = [msgspec.structs.replace(sample, gateway="ours") for sample in RESULTS.samples if sample.gateway == "envoy"]
    fast = [msgspec.structs.replace(sample, gateway="envoy") for sample in RESULTS.samples if sample.gateway == "ours"]
    words = {(verdict.goal.work, verdict.goal.rival): verdict.word for verdict in judge_goals(results(slow + fast))}
    assert words["short", "envoy"] == "missed"


def test_a_cost_of_requests_is_judged_where_all_are_alike_and_where_none_are() -> None:
    judged = {work: {(goal.rival, goal.most) for goal in GOALS if goal.work == work} for work in ("short", "distinct")}
    assert judged["short"] == judged["distinct"] != set()


@pytest.mark.parametrize(
    ("gateway_busy", "load_busy", "note"),
    [(0.7, 0.5, "neither core was full"), (0.98, 0.5, ""), (0.7, 0.96, "")],
)
def test_it_is_said_where_requests_end_though_no_core_is_full(gateway_busy: float, load_busy: float, note: str) -> None:
    figures = {"cpu_us_per_request": 40.0, "gateway_busy": gateway_busy, "load_busy": load_busy}
    (row,) = rows_of(results([Sample("ours", "short", 1, figures)]), "short")
    assert row.note.startswith(note)
    assert bool(row.note) == bool(note)


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: f"{goal.work}-{goal.rival}")
def test_a_goal_names_a_figure_that_its_work_has(goal: Goal) -> None:
    assert goal.figure in {column.name for column in columns_of(goal.work)}


def test_every_work_has_a_table_with_its_key_figure() -> None:
    for work in WORKS:
        assert work.kind.value in {column.name for column in columns_of(work.name)}
