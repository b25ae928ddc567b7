"""How do requests become OpenTelemetry spans? A thread of its own makes them; the SDK sends them by OTLP over HTTP.

The extra ``[otel]``, imported only where tracing is on. The event loop hands over batches of outcomes and never waits:
what comes faster than it can be sent is dropped and counted. The SDK's own variables (``OTEL_BSP_*``,
``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_EXPORTER_OTLP_TIMEOUT`` ...) hold as they do elsewhere.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.re import parse_env_headers

from app import __version__
from app.services.core.http.trace_context import is_sampled
from app.services.core.reporting.spans import SpanFacts, span_facts
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.services.core.reporting.outcome import Outcome

__all__ = ["Collector", "SpanExport"]

logger = get_logger(__name__)

_BATCHES_WAITING = 64
_LONGEST_CLOSE_SECONDS: Final = 3.0
_GIVE_UP_SECONDS: Final = 0.5
"""How long an export that was told to stop may take to do so."""
_NO_PARENT: Final = Context()


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go: the base URL of OTLP over HTTP, headers as ``name=value,name=value``, and the service's name."""

    endpoint: str
    headers: str = field(repr=False)
    service_name: str


class _GivenIds(IdGenerator):
    """Gives the next span the ids that the trace context told the model server."""

    def __init__(self) -> None:
        self.trace_id = self.span_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class SpanExport:
    """Takes outcomes and sends those of sampled traces as spans.

    Args:
        collector: where to.
        engine_of: names the engine of a server by its id; called in the thread.
    """

    def __init__(self, collector: Collector, engine_of: Callable[[str], str]) -> None:
        self._engine_of = engine_of
        self._ids = _GivenIds()
        headers = dict(parse_env_headers(collector.headers, liberal=True)) or None
        self._exporter = OTLPSpanExporter(endpoint=f"{collector.endpoint.rstrip('/')}/v1/traces", headers=headers)
        resource = Resource.create({"service.name": collector.service_name, "service.version": __version__})
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False, id_generator=self._ids
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("multiverse-inference-gateway", __version__)
        self._batches: queue.Queue[Sequence[Outcome] | None] = queue.Queue(_BATCHES_WAITING)
        self.dropped_spans = 0
        """Spans lost since the start because too many waited."""
        self._thread = threading.Thread(target=self._work, name="spans", daemon=True)
        self._thread.start()

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Take a batch; never blocks."""
        traced = [outcome for outcome in outcomes if outcome.trace and is_sampled(outcome.trace)]
        if not traced:
            return
        try:
            self._batches.put_nowait(traced)
        except queue.Full:
            self.dropped_spans += len(traced)

    def close(self) -> None:
        """Send what is left: blocks for three seconds at most, and half a second to give up. The rest is lost."""
        closing = threading.Thread(target=self._shut, name="last spans", daemon=True)
        closing.start()
        closing.join(_LONGEST_CLOSE_SECONDS)
        if closing.is_alive():
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # it would try again for a minute
            closing.join(_GIVE_UP_SECONDS)
            logger.warning("The last spans were not sent in time", deadline_seconds=_LONGEST_CLOSE_SECONDS)

    def _shut(self) -> None:
        self._batches.put(None)
        self._thread.join()
        self._provider.shutdown()

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                for outcome in batch:
                    self._emit(span_facts(outcome, self._engine_of(outcome.server_id or "")))
            except Exception:  # a bug here must not end the thread
                logger.exception("Spans could not be made", requests=len(batch))

    def _emit(self, facts: SpanFacts) -> None:
        self._ids.trace_id, self._ids.span_id = facts.trace_id, facts.span_id
        span = self._tracer.start_span(
            facts.name,
            context=_parent(facts) if facts.parent_id else _NO_PARENT,
            kind=SpanKind.SERVER,
            attributes=facts.attributes,
            start_time=facts.started_at,
        )
        if facts.failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(facts.ended_at)


def _parent(facts: SpanFacts) -> Context:
    remote = SpanContext(facts.trace_id, facts.parent_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(remote), _NO_PARENT)
