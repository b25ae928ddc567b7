"""Do the figures of a running gateway hold what its requests did?"""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.model_server import FakeModelServer, serving

UNTRIED = {"continuation_enabled": False, "verification_enabled": False}
"""Nothing runs on a server but what these tests ask."""


async def figures(gateway: GatewayInProcess) -> dict[str, float]:
    """The figures without their labels but ``state``; of histograms the counts."""
    text = (await gateway.client.get("/metrics")).text
    told: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_sum")):
                name = " ".join([sample.name, *filter(None, [sample.labels.get("state")])])
                told[name] = told.get(name, 0) + sample.value
    return told


async def test_a_stream_and_an_answer_show_in_the_figures(tmp_path: Path) -> None:
    async with serving(FakeModelServer()) as (fake,), open_in_process(tmp_path, **UNTRIED) as gateway:
        assert (await gateway.register(fake.url)).status_code == 201
        assert (await gateway.chat()).status_code == 200
        assert (await gateway.chat(stream=True)).status_code == 200
        assert (await gateway.chat("nobody's")).status_code == 404
        told = await figures(gateway)
    assert told["multiverse_requests_total"] == 3
    assert told["multiverse_attempts_total"] == 2
    assert told["multiverse_retries_total"] == 0
    assert told["multiverse_tokens_total"] == 20
    assert told["multiverse_events_total"] >= 4
    assert told["multiverse_request_duration_seconds_count"] == 3
    assert told["multiverse_first_token_seconds_count"] == 1, "an answer that comes whole has no first token"
    assert told["multiverse_in_flight"] == told["multiverse_open_requests"] == told["multiverse_queue_length"] == 0
    assert told["multiverse_ejections_total"] == 0
    assert told["multiverse_server_connections idle"] == 1
    assert told["multiverse_server_connections busy"] == 0
    assert told["multiverse_client_connections"] == 1
    assert told["multiverse_log_lines_dropped_total"] == told["multiverse_spans_dropped_total"] == 0


async def test_a_server_that_breaks_is_counted_as_ejected_and_its_requests_as_retried(tmp_path: Path) -> None:
    async with (
        serving(FakeModelServer(), FakeModelServer()) as (good, bad),
        open_in_process(tmp_path, **UNTRIED) as gateway,
    ):
        for fake in (good, bad):
            assert (await gateway.register(fake.url)).status_code == 201
        await bad.stop()
        answers = await asyncio.gather(*[gateway.chat() for _request in range(20)])  # so many go to both
        assert {answer.status_code for answer in answers} == {200}
        told = await figures(gateway)
    assert told["multiverse_requests_total"] == 20
    assert told["multiverse_ejections_total"] >= 1
    assert told["multiverse_retries_total"] == told["multiverse_attempts_total"] - 20 >= 1
