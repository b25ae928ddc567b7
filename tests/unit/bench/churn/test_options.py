"""Is the command line taken as it is meant, and refused where it makes no sense?"""

from __future__ import annotations

import pytest

from bench.churn.options import parse, plan_of
from bench.churn.peers import CONTENDERS


def test_everything_is_tried_by_default_and_little_when_it_must_be_quick() -> None:
    plan = plan_of(parse([]))
    assert [each.gateway.name for each in plan.contenders] == [each.gateway.name for each in CONTENDERS]
    assert len(plan.faults) == 11
    assert len(plan.kinds) == 7
    quick = plan_of(parse(["--quick"]))
    assert len(quick.contenders) == 4
    assert [fault.name for fault in quick.faults] == ["kill", "stop", "reset"]
    assert quick.total_seconds < 10 * 60 < plan.total_seconds < 120 * 60


def test_what_is_named_is_tried_and_can_be_repeated() -> None:
    words = "--gateway envoy,ours --fault kill --kinds plain --seconds 2.5 --rate 9 --seed 4"
    plan = plan_of(parse(words.split()))
    assert (
        plan.command == "scripts/churn --gateway ours,envoy --fault kill --kinds plain --seconds 2.5 --rate 9 --seed 4"
    )
    assert plan_of(parse(plan.command.split()[1:])) == plan


def test_a_gateway_that_can_not_hold_the_rate_gets_fewer_requests() -> None:
    plan = plan_of(parse(["--gateway", "ours,litellm", "--rate", "40"]))
    assert [plan.load_of(each).rate for each in plan.contenders] == [40, 8]


@pytest.mark.parametrize(
    "words",
    [
        "--gateway none",
        "--fault fire",
        "--kinds x",
        "--seconds 0",
        "--seconds nan",
        "--rate many",
        "--rate 1e9",
        "--seed x",
    ],
)
def test_nonsense_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(words.split())
    assert words.partition(" ")[0] in capsys.readouterr().err
