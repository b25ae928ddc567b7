"""Does a real model's answer come out the same when its server is killed in the midst and another one goes on?

A few prompts of ``python -m bench.identical``, which tries as many as one likes. The servers compute each token by
itself, so that an answer depends on nothing but the tokens before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.identical.cases import KINDS, make_cases
from bench.identical.engines import Engine, run_engines
from bench.identical.run import run_trials
from bench.identical.site import open_site
from bench.soak_children import Gateway, run_gateway

pytestmark = [pytest.mark.e2e, pytest.mark.real_model, pytest.mark.timeout(180)]

SEED = 3
MAX_TOKENS = 12


class Quiet:
    """Nobody watches."""

    def stage(self, text: str, count: int) -> None:
        """Something begins."""

    def step(self, words: str = "") -> None:
        """Something is done."""


@pytest.fixture
def engines(model_path: Path, tmp_path: Path) -> Iterator[list[Engine]]:
    with run_engines(2, model_path, tmp_path) as started:
        yield started


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    folder = tmp_path / "gateway"
    folder.mkdir()
    with run_gateway(folder, {}) as started:
        yield started


async def test_a_cut_answer_is_the_answer(engines: list[Engine], gateway: Gateway) -> None:
    one_of_each = {case.kind: case for case in make_cases(10, SEED, MAX_TOKENS)}
    assert set(one_of_each) == set(KINDS)
    async with open_site(gateway, engines) as site:
        trials = await run_trials(site, list(one_of_each.values()), SEED, Quiet())
    assert [trial.differences for trial in trials] == [[]] * len(trials)
    assert sum(trial.was_cut for trial in trials) >= len(trials) - 1  # a very short one may be over before
    assert sum(trial.continuations for trial in trials) >= len(trials) - 2
