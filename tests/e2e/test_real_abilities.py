"""Is a real llama.cpp server found to go on with its own words, on every way that it has?"""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from app.demo.bundled import MODEL_NAME
from app.services.core.continuation.ability import Ability, Rung
from app.services.core.continuation.asking import Answered, Found, Miss, Subject, Trial, Unclear
from app.services.core.continuation.canary import chat_trial, text_trial
from app.services.engines.identify import engine_named
from tests.fakes.gateway_process import GatewayProcess, until

pytestmark = [pytest.mark.e2e, pytest.mark.real_model]

SUBJECT = Subject(MODEL_NAME, engine_named("llama.cpp"))
GIVEN_UP = Miss(2, "left out by this test")
HEADERS = {"content-type": "application/json", "connection": "close"}  # llama.cpp may close one that idles meanwhile
FLAGS, TRAILING = "with continue_final_message", "with a trailing message alone"


async def decide(trial: Trial, url: str) -> Found | Unclear:
    """Carry a trial through against a server."""
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:
        ask = next(trial)
        while True:
            answer = await client.post(ask.path, content=ask.body, headers=HEADERS)
            try:
                ask = trial.send(Answered(answer.status_code, answer.content))
            except StopIteration as end:
                verdict: Found | Unclear = end.value
                return verdict


@pytest.mark.parametrize(
    ("left_out", "rung"),
    [({}, Rung.FLAGS), ({FLAGS: GIVEN_UP}, Rung.TRAILING), ({FLAGS: GIVEN_UP, TRAILING: GIVEN_UP}, Rung.TEXT)],
)
async def test_chats_go_on_in_three_ways(model_servers: tuple[Any, Any], left_out: dict[str, Miss], rung: Rung) -> None:
    verdict = await decide(chat_trial(SUBJECT, left_out), model_servers[0].url)
    assert isinstance(verdict, Found), verdict
    assert (verdict.ability.chat, verdict.ability.thinking_off, verdict.ability.reason) == (rung, False, "")


async def test_completions_go_on(model_servers: tuple[Any, Any]) -> None:
    verdict = await decide(text_trial(SUBJECT, {}), model_servers[0].url)
    assert verdict == Found(Ability(text=Rung.TEXT))


async def test_the_gateway_finds_it_out_by_itself(real_gateway: GatewayProcess) -> None:
    async with real_gateway.client() as client:

        async def judged() -> list[dict[str, Any]]:
            servers = (await client.get("/admin/servers")).json()["servers"]
            found = [model["continuation"] for server in servers for model in server["model_details"]]
            return found if all("unjudged" not in (one["chat"], one["text"]) for one in found) else []

        found = await until(judged, "both servers are judged", seconds=30)
    assert len(found) == 2
    for one in found:
        assert (one["chat"], one["text"], one["reason"]) == ("continue_final_message", "completions", "")
        assert one["version"]
        assert one["probed_at"]
