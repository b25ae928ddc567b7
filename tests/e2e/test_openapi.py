"""Does the gateway keep to its own OpenAPI document, whatever is sent to it?

Schemathesis makes requests from the document, good ones and bad ones, for every operation, and holds each answer
against it: no 500, no status and no body that is not described, bad data refused, good data not, keys asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.routers.api import create_api
from app.services.core.http.surfaces import INFERENCE_PATHS
from tests.fakes.gateway_process import ADMIN_KEY, GatewayProcess, open_gateway
from tests.fakes.model_server import FakeModelServer, serving

pytestmark = pytest.mark.e2e

load_all_checks()
DOCUMENT = create_api("0").openapi()
EXAMPLES = 15
FORM_IS_NOT_ALL = {
    ("POST", "/admin/register"): "the address may be private, a name given twice, a line broken",
    ("PUT", "/admin/register/{server_id}"): "the same",
    ("PATCH", "/admin/register/{server_id}"): "the same",
    ("POST", "/admin/servers/{server_id}/pause"): "a reason may break a line, until may have passed",
    ("POST", "/admin/servers/{server_id}/drain"): "the same",
    ("POST", "/admin/servers/{server_id}/block"): "the same",
    ("POST", "/admin/aliases"): "a fallback may be a target already, an alias lead to itself",
    ("PUT", "/admin/aliases/{name}"): "the same",
    ("POST", "/admin/model-classes"): "a class has two names at least",
    ("PUT", "/admin/model-classes/{name}"): "the same",
    ("POST", "/admin/model-classes/dismiss"): "the same",
    ("POST", "/admin/keys"): "a group may not be there, a line be broken, an end have passed",
    ("PATCH", "/admin/keys/{key_id}"): "the same",
    ("POST", "/admin/keys/import"): "the same, and a list is given in one of two ways",
    ("GET", "/admin/keys"): "a group may not be there",
    ("POST", "/admin/groups"): "a line may be broken",
    ("PATCH", "/admin/groups/{group_id}"): "the same",
    ("PUT", "/admin/model-limits/{name}"): "limits may limit nothing, a name may be none",
    ("GET", "/admin/usage"): "a time may not be in the calendar, or end before it begins",
    ("GET", "/admin/usage/contributions"): "the same",
    ("GET", "/admin/audit"): "the same",
    ("POST", "/v1/chat/completions"): "n is counted in integers; JSON Schema takes 2.0 for one",
    ("POST", "/v1/completions"): "the same",
}
"""Operations that may refuse what JSON Schema calls good, and why. All other checks hold for them too."""
api = schemathesis.openapi.from_dict(DOCUMENT)


@api.auth()
class AdminKey:
    """Sends the admin key where a key is asked for, so that Schemathesis can leave it out."""

    def get(self, _case: schemathesis.Case, _context: Any) -> str:
        return ADMIN_KEY

    def set(self, case: schemathesis.Case, data: str, _context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@dataclass
class Target:
    """A running gateway that always has one healthy server of the model ``m``."""

    gateway: GatewayProcess
    client: httpx2.Client
    server_url: str

    @property
    def url(self) -> str:
        return str(self.client.base_url)

    def server_id(self) -> str:
        """The server's id; it is registered anew, should an example have removed or moved it."""
        for server in self.client.get("/admin/servers").json()["servers"]:
            if server["endpoint_url"] == self.server_url and server["models"] == ["m"]:
                return str(server["registration_id"])
            self.client.delete(f"/admin/register/{server['registration_id']}")
        answer = self.client.post("/admin/register", json={"endpoint_url": self.server_url})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["registration_id"])

    def forget_servers(self) -> None:
        for server in self.client.get("/admin/servers").json()["servers"]:
            self.client.delete(f"/admin/register/{server['registration_id']}")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    # In a process of its own: Hypothesis watches the state of the random module in this one.
    opened = open_gateway(tmp_path_factory.mktemp("openapi") / "gateway", "door")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(FakeModelServer())) as (server,),
        portal.wrap_async_context_manager(opened) as gateway,
        httpx2.Client(base_url=gateway.url, headers={"authorization": f"Bearer {ADMIN_KEY}"}) as client,
    ):
        yield Target(gateway, client, server.url)
        assert "ERROR" not in gateway.output
        assert "Traceback" not in gateway.output


@api.parametrize()
@settings(max_examples=EXAMPLES)
def test_every_operation_keeps_to_the_document(case: schemathesis.Case, target: Target) -> None:
    if case.meta is not None and case.meta.generation.mode.is_positive:
        lead_to_what_exists(case, target)
    excluded = [positive_data_acceptance] if (case.method, case.path) in FORM_IS_NOT_ALL else []
    # A 503 is described, and right, for a server that lacks the model. What is never right is judged here.
    excluded.append(not_a_server_error)
    answer = case.call_and_validate(base_url=target.url, excluded_checks=excluded)
    assert answer.status_code < 500 or answer.json()["error"]["code"] == "server_unreachable", answer.text


def lead_to_what_exists(case: schemathesis.Case, target: Target) -> None:
    """Give half of the good requests a server and a model that are there; to the others all is unknown."""
    if len(repr(case.body) + repr(case.path_parameters)) % 2:
        return
    server_id = target.server_id()
    if "server_id" in case.path_parameters:
        case.path_parameters["server_id"] = server_id
    if "model" in case.path_parameters:
        case.path_parameters["model"] = "m"
    if case.path in INFERENCE_PATHS and isinstance(case.body, dict):
        case.body["model"] = "m"
    if "/admin/register" in case.path and isinstance(case.body, dict) and "endpoint_url" in case.body:
        case.body["endpoint_url"] = target.server_url
        if case.method == "POST":
            target.forget_servers()


def test_the_served_document_is_the_one_that_is_tested(target: Target) -> None:
    served = target.client.get("/openapi.json", headers={"authorization": ""}).json()
    expected = json.loads(json.dumps(DOCUMENT))
    assert served["paths"] == expected["paths"]
    assert served["components"] == expected["components"]
    assert {
        f"/v1/{name}" for name in ("models", "models/{model}", "chat/completions", "completions", "embeddings")
    } <= set(served["paths"])
