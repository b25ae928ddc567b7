"""Does a whole benchmark of this gateway give right figures, and end without leaving anything behind?"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.gateways import GATEWAYS
from bench.samples import Sample
from bench.session import Plan, run_session
from bench.sites import Launch
from bench.works import WORKS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform == "win32", reason="processes are paused and ended in groups"),
]


class Notes:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.samples: list[Sample] = []

    def stage(self, text: str, seconds: float = 0.0) -> None:
        self.stages.append(text)

    def measured(self, sample: Sample) -> None:
        self.samples.append(sample)


def test_rounds_go_over_all_gateways_and_one_that_does_not_start_is_missing(tmp_path: Path) -> None:
    ours = GATEWAYS[0]
    broken = replace(
        ours, name="broken", title="one that ends", configure=lambda _site: Launch(("python", "-c", "1 / 0"))
    )
    works = tuple(
        replace(work, quick_seconds=0.2, ramp_seconds=0.05, connections=4, rate=work.rate / 10)
        for work in WORKS
        if work.name in {"short", "short-rate", "tls"}
    )
    notes, before = Notes(), os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    plan = Plan((ours, broken), works, rounds=2, quick=True, peers_folder=tmp_path)
    results = run_session(plan, notes)
    assert results.wrong == 0, [sample.first_wrong for sample in results.samples]
    assert "ZeroDivisionError" in results.missing["broken"]
    order = [(sample.work, sample.round, sample.gateway) for sample in notes.samples]
    assert order == [
        ("short", 1, "direct"),
        ("short", 1, "ours"),
        ("short", 2, "ours"),
        ("short", 2, "direct"),
        ("tls", 1, "ours"),
        ("tls", 2, "ours"),
        ("short-rate", 1, "direct"),
        ("short-rate", 1, "ours"),
        ("short-rate", 2, "ours"),
        ("short-rate", 2, "direct"),
    ]
    for sample in results.samples:
        assert sample.answers > 0
        if sample.gateway == "ours" and sys.platform == "linux":
            assert sample.figures["cpu_us_per_request"] > 0
        if sample.gateway == "ours" and sample.work == "short-rate":
            assert "added_p99_ms" in sample.figures
    if before is not None:
        assert os.sched_getaffinity(0) == before
