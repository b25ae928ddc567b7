"""Spans as a collector receives them: by OTLP over HTTP, decoded by the protocol's own library."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from app.services.core.answer.usage import Usage
from app.services.core.reporting.outcome import Outcome

pytest.importorskip("opentelemetry.sdk", reason="the extra [otel] is not installed")
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from app.services.tracing import Collector, SpanExport
from tests.fakes.collector import Receiver

OUTCOME = Outcome(
    request_id="r-1", client="192.0.2.7", key_id="admin", path="/v1/chat/completions", model="m", server_id="s1",
    status=200, error_code=None, stream=True, attempts=2, duration_seconds=1.5, first_token_seconds=0.25,
    usage=Usage(7, 3), ended_at=1_800_000_000.25, events=4,
    trace=b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    parent=b"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
)  # fmt: skip


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def export_to(url: str, headers: str = "", engine: str = "vllm") -> SpanExport:
    return SpanExport(Collector(url, headers, "my-gateway"), lambda _server_id: engine)


def plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def test_a_request_arrives_as_a_span_of_its_clients_trace(receiver: Receiver) -> None:
    export = export_to(receiver.url, "authorization=Bearer%20abc,x-team=1")
    export.take([OUTCOME])
    export.close()
    [(path, headers, told)] = receiver.requests
    assert path == "/v1/traces"
    assert (headers["authorization"], headers["x-team"]) == ("Bearer abc", "1")
    resource = plain(told.resource_spans[0].resource.attributes)
    assert resource["service.name"] == "my-gateway"
    assert resource["service.version"]
    [span] = receiver.spans
    assert span.name == "chat m"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert span.span_id.hex() == "b7ad6b7169203331"
    assert span.parent_span_id.hex() == "00f067aa0ba902b7"
    assert span.start_time_unix_nano == 1_799_999_998_750_000_000
    assert span.end_time_unix_nano == 1_800_000_000_250_000_000
    assert span.status.code == Status.STATUS_CODE_UNSET
    attributes = plain(span.attributes)
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "vllm"
    assert attributes["gen_ai.usage.output_tokens"] == 3
    assert attributes["http.response.status_code"] == 200


def test_a_failure_is_an_error_and_a_trace_may_begin_here(receiver: Receiver) -> None:
    export = export_to(receiver.url, engine="")
    export.take([replace(OUTCOME, parent=b"", status=502, error_code="server_misbehaved")])
    export.close()
    [span] = receiver.spans
    assert span.parent_span_id == b""
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert plain(span.attributes)["error.type"] == "server_misbehaved"


def test_only_sampled_traces_are_sent(receiver: Receiver) -> None:
    export = export_to(receiver.url)
    export.take([replace(OUTCOME, trace=b""), replace(OUTCOME, trace=OUTCOME.trace[:-1] + b"0")])
    export.close()
    assert receiver.requests == []


def test_a_thousand_spans_arrive_once_each(receiver: Receiver) -> None:
    export = export_to(receiver.url)
    for start in range(0, 1000, 100):
        export.take(
            [replace(OUTCOME, trace=b"00-%032x-%016x-01" % (1, number)) for number in range(start + 1, start + 101)]
        )
    export.close()
    assert sorted(int(span.span_id.hex(), 16) for span in receiver.spans) == list(range(1, 1001))
    assert export.dropped_spans == 0


def test_a_span_that_can_not_be_made_ends_no_thread(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    export = export_to(receiver.url)
    export.take([replace(OUTCOME, trace=b"00-%b-%b-01" % (b"z" * 32, b"z" * 16))])
    export.take([OUTCOME])
    export.close()
    assert "Spans could not be made" in caplog.text
    assert len(receiver.spans) == 1


def test_a_collector_that_hangs_holds_up_neither_the_loop_nor_the_end(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.services.tracing._LONGEST_CLOSE_SECONDS", 0.2)
    receiver.hold.clear()
    export = export_to(receiver.url)
    started = time.monotonic()
    for _batch in range(200):
        export.take([OUTCOME] * 50)
    export.close()
    assert time.monotonic() - started < 5
    assert "not sent in time" in caplog.text


def test_the_end_waits_no_longer_than_it_says(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, waits = threading.Event(), []
    real_join = threading.Thread.join

    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        if thread.name == "last spans":
            waits.append(timeout)
        else:
            real_join(thread, timeout)

    def engine_of(_server_id: str) -> str:
        go_on.wait(20)
        return "vllm"

    monkeypatch.setattr(threading.Thread, "join", join)
    export = SpanExport(Collector(receiver.url, "", "my-gateway"), engine_of)
    export.take([OUTCOME])
    export.close()
    assert waits == [3.0, 0.5]
    go_on.set()


def test_what_comes_faster_than_spans_can_be_made_is_dropped_and_counted(receiver: Receiver) -> None:
    go_on = threading.Event()

    def engine_of(_server_id: str) -> str:
        go_on.wait(20)
        return "vllm"

    export = SpanExport(Collector(receiver.url, "", "my-gateway"), engine_of)
    for _batch in range(100):
        export.take([OUTCOME, OUTCOME])
    assert export.dropped_spans in {2 * (100 - 64), 2 * (100 - 65)}  # one more where the thread has taken its first
    go_on.set()
    export.close()
    assert len(receiver.spans) + export.dropped_spans == 200


def test_a_collector_that_is_not_there_costs_a_line_in_the_log(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.services.tracing._LONGEST_CLOSE_SECONDS", 0.2)
    receiver.close()
    export = export_to(receiver.url)
    export.take([OUTCOME])
    export.close()
    assert "spans" in caplog.text
