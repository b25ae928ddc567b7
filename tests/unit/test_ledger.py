"""Counters, histograms and gauges of what was served."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from app.services.core.board import Board
from app.services.core.outcome import Outcome
from app.services.core.snapshot import Snapshot, build_snapshot
from app.services.core.usage import Usage
from app.services.ledger import Ledger
from tests.fakes.house import server

OUTCOME = Outcome(
    request_id="r-1", client="", key_id="admin", path="/v1/chat/completions", model="m", server_id="s1", status=200,
    error_code=None, stream=False, attempts=1, duration_seconds=0.3, first_token_seconds=0.02, usage=Usage(7, 3),
)  # fmt: skip


class Lines:
    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def append(self, line: bytes) -> None:
        self.lines.append(line)


def make(snapshot: Snapshot | None = None) -> tuple[Ledger, Lines, Board]:
    lines, board = Lines(), Board()
    known = snapshot or build_snapshot([server("s1", "http://127.0.0.1:9")])
    return Ledger(lines, lambda: known, board, lambda outcome, _moment: outcome.request_id.encode()), lines, board


def samples(ledger: Ledger) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(ledger.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_requests_tokens_and_times_are_counted() -> None:
    ledger, lines, board = make()
    board.lane("s1").in_flight = 4
    ledger.finished(OUTCOME)
    ledger.finished(replace(OUTCOME, status=502, duration_seconds=700.0, first_token_seconds=None, attempts=3))
    told = samples(ledger)
    labels = (("model", "m"), ("server", "s1"))
    assert told["multiverse_requests_total", (*labels, ("status", "200"))] == 1
    assert told["multiverse_requests_total", (*labels, ("status", "502"))] == 1
    assert told["multiverse_tokens_total", (("kind", "prompt"), *labels)] == 14
    assert told["multiverse_attempts_total", ()] == 4
    assert told["multiverse_request_duration_seconds_bucket", (("le", "0.5"), ("model", "m"))] == 1
    assert told["multiverse_request_duration_seconds_bucket", (("le", "+Inf"), ("model", "m"))] == 2
    assert told["multiverse_request_duration_seconds_sum", (("model", "m"),)] == 700.3
    assert told["multiverse_first_token_seconds_count", (("model", "m"),)] == 1
    assert told["multiverse_in_flight", (("server", "s1"),)] == 4
    assert told["multiverse_server_healthy", (("server", "s1"),)] == 1
    assert lines.lines == [b"r-1", b"r-1"]


def test_names_that_no_server_has_share_one_label() -> None:
    ledger, _lines, _board = make()
    for number in range(100):
        ledger.finished(replace(OUTCOME, model=f"made-up-{number}", status=404, server_id=None))
    told = {name: value for (name, labels), value in samples(ledger).items() if ("status", "404") in labels}
    assert told == {"multiverse_requests_total": 100}
