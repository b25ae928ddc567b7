"""Outcomes wait for their batch and none is lost: counted, written and passed on once each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from app.services.core.answer.usage import Usage
from app.services.core.choice.aliases import Alias, Target
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.request_line import LineFormat
from app.services.core.reporting.use import UseTally
from app.services.ledger import BATCH_OUTCOMES, Ledger
from app.services.pulse import Lateness
from tests.fakes.flow import StillFlow
from tests.fakes.house import server

ROOT = Path(__file__).parents[2]
OUTCOME = Outcome(
    request_id="r-1", client="", key_id="admin", path="/v1/chat/completions", model="m", server_id="s1", status=200,
    error_code=None, stream=True, attempts=1, duration_seconds=0.3, first_token_seconds=0.02, usage=Usage(7, 3),
)  # fmt: skip


class Lines:
    def __init__(self) -> None:
        self.enabled = True
        self.dropped_lines = 5
        self.block = b""
        self.count = 0

    def extend(self, block: bytes, count: int) -> None:
        self.block += block
        self.count += count


class Spans:
    dropped_spans = 4

    def __init__(self) -> None:
        self.taken: list[Outcome] = []

    def take(self, outcomes: Sequence[Outcome]) -> None:
        self.taken += outcomes


def ids(outcomes: Sequence[Outcome]) -> bytes:
    return b"".join([b"%b\n" % outcome.request_id.encode() for outcome in outcomes])


def make(format_lines: LineFormat = ids) -> tuple[Ledger, Lines, StillFlow, Spans]:
    flow = StillFlow(build_snapshot([server("s1", "http://127.0.0.1:9")]))
    lines, spans = Lines(), Spans()
    return Ledger(lines, flow, format_lines, Lateness(), spans), lines, flow, spans


def samples(ledger: Ledger) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(ledger.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_request_waits_for_its_batch() -> None:
    ledger, lines, _flow, spans = make()
    ledger.finished(OUTCOME)
    assert (lines.count, spans.taken) == (0, [])
    ledger.fold()
    ledger.fold()
    assert (lines.block, lines.count, spans.taken) == (b"r-1\n", 1, [OUTCOME])


def test_no_more_than_a_batch_ever_waits() -> None:
    ledger, lines, _flow, spans = make()
    for number in range(BATCH_OUTCOMES * 3 + 1):
        ledger.finished(replace(OUTCOME, request_id=f"r-{number}"))
    assert lines.count == len(spans.taken) == BATCH_OUTCOMES * 3
    ledger.close()
    assert lines.block.split() == [b"r-%d" % number for number in range(BATCH_OUTCOMES * 3 + 1)]


def test_no_lines_are_made_where_none_are_wanted() -> None:
    def never(outcomes: Sequence[Outcome]) -> bytes:
        raise AssertionError(outcomes)

    ledger, lines, _flow, _spans = make(never)
    lines.enabled = False
    ledger.finished(OUTCOME)
    assert samples(ledger)["multiverse_attempts_total", ()] == 1


def test_a_bug_in_a_batch_is_told_and_reaches_no_request(caplog: pytest.LogCaptureFixture) -> None:
    def broken(outcomes: Sequence[Outcome]) -> bytes:
        raise ZeroDivisionError(len(outcomes))

    ledger, _lines, _flow, _spans = make(broken)
    for _number in range(BATCH_OUTCOMES):
        ledger.finished(OUTCOME)
    assert "not taken in whole" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert samples(ledger)["multiverse_attempts_total", ()] == BATCH_OUTCOMES


def test_figures_hold_what_has_just_ended() -> None:
    ledger, _lines, flow, _spans = make()
    lane = flow.board.lane("s1")
    lane.in_flight, lane.ejections = 4, 2
    lane.gaps[3], lane.gap_seconds_total = 10, 0.09
    flow.queued, flow.open_exchanges, flow.client_connections = 1, 5, 6
    flow.pool.open = [("s1", 2, 6)]
    ledger.finished(OUTCOME)
    ledger.finished(
        replace(OUTCOME, status=502, duration_seconds=700.0, first_token_seconds=None, attempts=3, events=9)
    )
    told = samples(ledger)
    labels = (("model", "m"), ("server", "s1"))
    assert told["multiverse_requests_total", (*labels, ("status", "200"))] == 1
    assert told["multiverse_requests_total", (*labels, ("status", "502"))] == 1
    assert told["multiverse_tokens_total", (("kind", "prompt"), *labels)] == 14
    assert told["multiverse_tokens_total", (("kind", "completion"), *labels)] == 6
    assert told["multiverse_events_total", labels] == 9
    assert told["multiverse_attempts_total", ()] == 4
    assert told["multiverse_retries_total", ()] == 2
    assert told["multiverse_request_duration_seconds_bucket", (("le", "0.5"), ("model", "m"))] == 1
    assert told["multiverse_request_duration_seconds_bucket", (("le", "+Inf"), ("model", "m"))] == 2
    assert told["multiverse_request_duration_seconds_sum", (("model", "m"),)] == 700.3
    assert told["multiverse_first_token_seconds_count", (("model", "m"),)] == 1
    assert told["multiverse_event_gap_seconds_bucket", (("le", "0.005"), ("server", "s1"))] == 0
    assert told["multiverse_event_gap_seconds_bucket", (("le", "0.01"), ("server", "s1"))] == 10
    assert told["multiverse_event_gap_seconds_sum", (("server", "s1"),)] == 0.09
    assert told["multiverse_ejections_total", (("server", "s1"),)] == 2
    assert told["multiverse_in_flight", (("server", "s1"),)] == 4
    assert told["multiverse_server_healthy", (("server", "s1"),)] == 1
    assert told["multiverse_server_connections", (("server", "s1"), ("state", "idle"))] == 2
    assert told["multiverse_server_connections", (("server", "s1"), ("state", "busy"))] == 4
    assert told["multiverse_queue_length", ()] == 1
    assert told["multiverse_open_requests", ()] == 5
    assert told["multiverse_client_connections", ()] == 6
    assert told["multiverse_log_lines_dropped_total", ()] == 5
    assert told["multiverse_spans_dropped_total", ()] == 4


def test_the_lag_of_the_loop_is_a_histogram() -> None:
    lateness = Lateness()
    lateness.turned(1.0, 1.3)
    told = samples(Ledger(Lines(), StillFlow(), ids, lateness))
    assert told["multiverse_event_loop_lag_seconds_bucket", (("le", "0.25"),)] == 0
    assert told["multiverse_event_loop_lag_seconds_bucket", (("le", "0.5"),)] == 1
    assert told["multiverse_event_loop_lag_seconds_sum", ()] == pytest.approx(0.3)
    assert told["multiverse_spans_dropped_total", ()] == 0


def test_use_is_added_up_with_the_names_and_owners_of_the_moment() -> None:
    tally = UseTally()
    routed = build_snapshot([server("s1", "http://127.0.0.1:9")], aliases=[Alias("fast", (Target("m"),))])
    ledger = Ledger(Lines(), StillFlow(routed), ids, Lateness(), use=tally)
    ledger.finished(OUTCOME)
    ledger.finished(replace(OUTCOME, model="", status=401))
    for refused in ("fast", "made up"):
        ledger.finished(replace(OUTCOME, model=refused, server_id=None, status=429))
    assert tally.is_empty
    ledger.fold()
    assert {key.model: use.requests for key, use in tally.take().items()} == {"m": 1, "fast": 1, "(unknown)": 1}
    assert samples(ledger)["multiverse_requests_total", (("model", "fast"), ("server", ""), ("status", "429"))] == 1


def test_what_waits_when_the_process_exits_is_written(tmp_path: Path) -> None:
    program = """
import logging, sys
from pathlib import Path
from app.services.core.reporting.request_line import text_lines
from app.services.core.reporting.use import UseTally
from app.services.ledger import Ledger
from app.services.pulse import Lateness
from app.utils.logger import BatchedLines, configure_logging
from tests.fakes.flow import StillFlow
from tests.unit.test_ledger import OUTCOME

configure_logging(file=Path(sys.argv[1]))
Ledger(BatchedLines(), StillFlow(), text_lines, Lateness()).finished(OUTCOME)
"""
    log = tmp_path / "gateway.log"
    subprocess.run([sys.executable, "-c", program, str(log)], cwd=ROOT, check=True, timeout=30, capture_output=True)
    assert log.read_text().count("request_id=r-1") == 1
