"""Is an owner told what is wrong with a server, and what to do about just that?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from app.services.core.errors import EndpointRefused, ServerUnreachable
from app.services.core.types import CheckFailure, Endpoint, Inspection
from app.services.registry.examination import examine
from app.services.registry.specification import ServerSpec

ENDPOINT = Endpoint("https", "gpu.example", 8000)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Finding:
    """An inspector that finds one thing."""

    def __init__(self, inspection: Inspection) -> None:
        self._inspection = inspection

    async def inspect(self, _endpoint: Endpoint, _api_key: str | None, _expected: Sequence[str]) -> Inspection:
        return self._inspection


async def told(failure: CheckFailure, reason: str) -> str:
    with pytest.raises(ServerUnreachable) as caught:
        await examine(Finding(Inspection(failure, reason)), ENDPOINT, ServerSpec(ENDPOINT.url), NOON)
    assert caught.value.message.startswith(f"The server at {ENDPOINT.url} ")
    return caught.value.message


@pytest.mark.parametrize(
    ("failure", "reason", "advice"),
    [
        (CheckFailure.UNREACHABLE, "connection refused", "Check that it is running and that the gateway can reach it"),
        (CheckFailure.NOT_READY, "answered 503: server busy", "Wait until it is ready"),
        (CheckFailure.LOADING, "loading the model", "is loading the model. Nothing is wrong with it: try again soon."),
        (CheckFailure.CREDENTIALS, "answered 401: no", "Give the key that it asks for as api_key"),
        (CheckFailure.BAD_ANSWER, "answered with HTML", "GET /v1/models must list its models"),
        (CheckFailure.TLS, "TLS: certificate has expired", "Check its certificate, or set UPSTREAM_CA_FILE"),
        (CheckFailure.MODEL_MISSING, "lists no model at all", "load one"),
    ],
)
async def test_the_advice_fits_what_is_wrong(failure: CheckFailure, reason: str, advice: str) -> None:
    message = await told(failure, reason)
    assert advice in message
    assert ("Check that it is running" in message) is (failure is CheckFailure.UNREACHABLE)


async def test_a_reason_that_names_its_own_fix_gets_no_other() -> None:
    message = await told(CheckFailure.TLS, "TLS: the server does not speak TLS on this port; register it with http://")
    assert message.endswith("register it with http://.")
    assert (await told(CheckFailure.NOT_MADE, "the gateway is out of file descriptors")).endswith("descriptors.")


@pytest.mark.parametrize(("code", "shown"), [("address_not_public", "address_not_public"), (None, "endpoint_refused")])
async def test_a_refused_address_is_told_by_the_rule_that_refused_it(code: str | None, shown: str) -> None:
    inspection = Inspection(CheckFailure.REFUSED_ADDRESS, "10.0.0.5 is private", code=code)
    with pytest.raises(EndpointRefused, match=r"10\.0\.0\.5 is private\.") as caught:
        await examine(Finding(inspection), ENDPOINT, ServerSpec(ENDPOINT.url), NOON)
    assert (caught.value.code, caught.value.param) == (shown, "endpoint_url")
