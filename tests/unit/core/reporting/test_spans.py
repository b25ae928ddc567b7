"""How a request is told as a span."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from app.services.core.answer.usage import Usage
from app.services.core.http.surfaces import INFERENCE_PATHS
from app.services.core.reporting.outcome import CLIENT_LEFT, Outcome
from app.services.core.reporting.spans import OPERATIONS, span_facts

OUTCOME = Outcome(
    request_id="r-1", client="192.0.2.7", key_id="admin", path="/v1/chat/completions", model="m", server_id="s1",
    status=200, error_code=None, stream=True, attempts=2, duration_seconds=1.5, first_token_seconds=0.25,
    usage=Usage(7, 3), ended_at=1_800_000_000.25, events=4,
    trace=b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    parent=b"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
)  # fmt: skip


def test_a_stream_is_told_in_full() -> None:
    facts = span_facts(OUTCOME, "vllm")
    assert facts.name == "chat m"
    assert (facts.trace_id, facts.span_id) == (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)
    assert facts.parent_id == 0x00F067AA0BA902B7
    assert (facts.ended_at - facts.started_at, facts.ended_at) == (1_500_000_000, 1_800_000_000_250_000_000)
    assert not facts.failed
    assert facts.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "multiverse.usage.estimated": False,
        "multiverse.events": 4,
        "multiverse.attempts": 2,
        "multiverse.key.id": "admin",
        "multiverse.request.id": "r-1",
        "multiverse.server.id": "s1",
    }


def test_a_refused_request_says_why_and_counts_no_tokens() -> None:
    facts = span_facts(replace(OUTCOME, status=404, error_code="model_not_found", server_id=None, parent=b""), "")
    assert facts.name == "chat", "a name that a client made up names no span"
    assert facts.parent_id == 0
    assert facts.attributes["error.type"] == "model_not_found"
    assert facts.attributes["gen_ai.provider.name"] == "openai"
    assert not [name for name in facts.attributes if "usage" in name or "server" in name]
    assert not facts.failed, "4xx is the client's failure, not this server's"


@pytest.mark.parametrize(("status", "failed"), [(200, False), (429, False), (CLIENT_LEFT, False), (502, True)])
def test_what_fails_is_the_gateways_own(status: int, failed: bool) -> None:
    facts = span_facts(replace(OUTCOME, status=status), "unknown")
    assert facts.failed is failed
    assert facts.attributes.get("error.type") == (str(status) if status >= 400 else None)


def test_every_surface_has_an_operation() -> None:
    assert set(OPERATIONS) == INFERENCE_PATHS
    assert span_facts(replace(OUTCOME, path="/v1/models", model=""), "").name == "POST /v1/models"


def test_the_names_are_those_of_the_conventions() -> None:
    conventions = pytest.importorskip("opentelemetry.semconv._incubating.attributes")
    del conventions
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, http_attributes  # noqa: PLC0415
    from opentelemetry.semconv.attributes import error_attributes  # noqa: PLC0415

    known = {
        value
        for module in (gen_ai_attributes, http_attributes, error_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    named = set(span_facts(replace(OUTCOME, status=500), "vllm").attributes)
    assert {name for name in named if not name.startswith("multiverse.")} <= known
    operations = {value.value for value in gen_ai_attributes.GenAiOperationNameValues}
    assert set(OPERATIONS.values()) <= operations
