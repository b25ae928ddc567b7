"""Does a trace go through the gateway, and does the gateway take part in it where it is asked to?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.main import create_app
from app.utils.config import SettingsInvalid, load_settings
from app.utils.logger import configure_logging
from tests.fakes.gateway_in_process import ADMIN_KEY, SHELLS, open_in_process
from tests.fakes.house import House, server
from tests.fakes.model_server import FakeModelServer, serving

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
BODY = {"model": "m", "messages": [{"role": "user", "content": "a prompt that is nobody's business"}]}


async def test_a_trace_is_passed_on_as_it_came(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        headers = {"traceparent": PARENT, "tracestate": "rojo=1, congo=2"}
        for _time in range(2):
            await house.client.post("/v1/chat/completions", json=BODY, headers=headers)
        for seen in fake.inference:
            assert seen.headers["traceparent"] == PARENT
            assert seen.headers["tracestate"] == "rojo=1,congo=2"
    for count in (1, 2):
        outcome = await house.told.outcome(count)
        assert (outcome.trace, outcome.parent) == (PARENT.encode(), PARENT.encode())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"tracestate": "rojo=1"},
        {"traceparent": PARENT.upper(), "tracestate": "rojo=1"},
        [("traceparent", PARENT), ("traceparent", PARENT)],
    ],
)
async def test_what_is_no_trace_goes_no_further(house: House, headers: dict[str, str] | list[tuple[str, str]]) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        answer = await house.client.post("/v1/chat/completions", json=BODY, headers=headers)
        assert answer.status_code == 200
        assert not {"traceparent", "tracestate"} & set(fake.inference[0].headers)
    assert (await house.told.outcome()).trace == b""


@pytest.fixture
def _log_of_its_own() -> Iterator[None]:
    """The gateway sets up the log of the whole process, with a file in a folder that goes away."""
    yield
    configure_logging()


async def test_the_gateway_is_a_span_between_client_and_server(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra [otel] is not installed")
    from tests.fakes.collector import Receiver  # noqa: PLC0415 - it takes the extra

    receiver = Receiver()
    settings = {"otel_enabled": True, "otel_exporter_otlp_endpoint": receiver.url, "log_format": "json"}
    async with serving(FakeModelServer()) as (fake,):
        async with open_in_process(tmp_path, **settings) as gateway:
            assert (await gateway.register(fake.url)).status_code == 201
            for port in gateway.ports.values():
                async with httpx2.AsyncClient(headers={"authorization": f"Bearer {ADMIN_KEY}"}) as client:
                    for headers in ({"traceparent": PARENT}, {"traceparent": PARENT}, {}, {}):
                        url = f"http://127.0.0.1:{port}/v1/chat/completions"
                        assert (await client.post(url, json=BODY, headers=headers)).status_code == 200
        told = [seen.headers["traceparent"].split("-") for seen in fake.inference]
    receiver.close()
    spans = {span.span_id.hex(): span for span in receiver.spans}
    assert len(spans) == len(told) == 4 * len(SHELLS)
    for _version, trace_id, span_id, flags in told:
        assert flags == "01"
        assert spans[span_id].trace_id.hex() == trace_id
        assert spans[span_id].parent_span_id.hex() == ("b7ad6b7169203331" if trace_id == TRACE_ID else "")
    assert sum(trace_id == TRACE_ID for _version, trace_id, _span_id, _flags in told) == 2 * len(SHELLS)
    assert len({trace_id for _version, trace_id, _span_id, _flags in told}) == 1 + 2 * len(SHELLS)
    lines = [json.loads(line) for line in (tmp_path / "gateway.log").read_text().splitlines()]
    logged = [line["trace_id"] for line in lines if line["event"] == "request finished" and line["status"] == 200]
    assert logged == [trace_id for _version, trace_id, _span_id, _flags in told]
    assert "nobody's business" not in str(receiver.requests)


@pytest.mark.usefixtures("_log_of_its_own")
def test_traces_without_their_library_stop_the_start_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "app.services.tracing", None)
    settings = load_settings(otel_enabled=True, log_file=tmp_path / "gateway.log", gateway_data_dir=tmp_path)
    with pytest.raises(SettingsInvalid, match=r"pip install 'multiverse-inference-gateway\[otel\]'"):
        create_app(settings)
