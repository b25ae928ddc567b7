"""Explanations of aliases: which models they lead to, and which servers take the next request."""

from __future__ import annotations

import json

import pytest

from app.services.core.choice.aliases import Alias, Target
from app.services.core.choice.explain import Explanation, explain
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.errors import ModelNotFound
from app.services.core.live.board import Board
from app.services.core.prompt.demand import Demand
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

NOW = 1000.0
ALIAS = Alias("fast", (Target("qwen", 1.0), Target("llama", 3.0)), (Target("mistral"), Target("gone")))


def server(name: str, *models: str, health: HealthStatus = HealthStatus.HEALTHY, **members: object) -> Server:
    entries = tuple(ModelEntry(model, f"up/{model}", 8192) for model in models)
    return Server(name, Endpoint("http", f"secret-{name}", 8000), entries, health=health, **members)  # type: ignore[arg-type]


def told(alias: Alias, *servers: Server, demand: Demand | None = None) -> Explanation:
    snapshot, board = build_snapshot(servers, (), [alias]), Board()
    board.keep(snapshot.servers)
    return explain(alias.name, snapshot, board, NOW, demand)


def test_shares_are_by_weight_over_the_servers_of_all_models() -> None:
    explanation = told(
        ALIAS, server("s1", "llama"), server("s2", "llama"), server("s3", "qwen"), server("s4", "mistral")
    )
    assert (explanation.model, explanation.verdict) == ("fast", "forward")
    shares = {each.server_id: each.share for each in explanation.servers}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["s3"] == pytest.approx(0.25, abs=0.04)
    assert shares["s1"] + shares["s2"] == pytest.approx(0.75, abs=0.04)
    assert shares["s4"] == 0.0
    spare = explanation.servers[-1]
    assert (spare.server_id, spare.model, spare.takes, spare.why) == (
        "s4",
        "mistral",
        False,
        "the alias leads to another model now",
    )
    assert [(each.model, each.fallback, each.weight, each.healthy_servers) for each in explanation.leads] == [
        ("llama", False, 3.0, 2),
        ("qwen", False, 1.0, 1),
        ("mistral", True, 1.0, 1),
        ("gone", True, 1.0, 0),
    ]
    assert [each.takes for each in explanation.leads] == [True, True, True, False]
    assert explanation.sentence().startswith("Alias 'fast' leads to llama (7")
    assert ", else to mistral. The next request goes to " in explanation.sentence()


def test_a_session_stays_with_its_model() -> None:
    snapshot, board = build_snapshot([server("s1", "llama"), server("s2", "qwen")], (), [ALIAS]), Board()
    for point, model in ((0.1, "llama"), (0.9, "qwen")):
        explanation = explain("fast", snapshot, board, NOW, draw=lambda point=point: point)
        assert [each.model for each in explanation.leads if each.share] == [model]


def test_a_server_with_two_of_the_models_is_told_of_for_each() -> None:
    explanation = told(ALIAS, server("both", "llama", "qwen"))
    assert {(each.server_id, each.model) for each in explanation.servers} == {("both", "llama"), ("both", "qwen")}
    assert all(each.share > 0.1 for each in explanation.servers)


def test_a_fallback_takes_over_and_what_bars_the_targets_is_said() -> None:
    down = server("s1", "llama", health=HealthStatus.UNHEALTHY)
    explanation = told(ALIAS, down, server("s2", "qwen", paused=True), server("s3", "mistral"))
    assert next((each.server_id, each.share) for each in explanation.servers) == ("s3", 1.0)
    words = {each.server_id: each.word for each in explanation.servers}
    assert words == {"s3": "", "s1": "not answering", "s2": "paused"}
    assert "leads to mistral (100%), else to llama or qwen." in explanation.sentence()


def test_a_request_that_no_target_takes_hears_why() -> None:
    alias = Alias("short", (Target("llama", max_context_tokens=100),))
    explanation = told(alias, server("s1", "llama"), demand=Demand(50, 90, 20))
    assert (explanation.verdict, explanation.why) == ("refuse", "")
    assert explanation.sentence().startswith("The next request is refused: Alias 'short' takes requests of up to 100")
    assert [(each.bounds, each.takes) for each in explanation.leads] == [("up to 100 tokens", False)]
    assert not any(each.takes for each in explanation.servers)
    assert told(alias, server("s1", "llama"), demand=Demand(50, 90, 10)).verdict == "forward"


def test_an_alias_that_leads_to_nothing_is_unknown() -> None:
    with pytest.raises(ModelNotFound, match="Alias 'fast' leads to"):
        told(ALIAS, server("s1", "other"))


def test_an_inner_name_is_explained_to_nobody() -> None:
    snapshot = build_snapshot([server("s1", "llama")], (), [ALIAS])
    with pytest.raises(ModelNotFound, match="not found"):
        explain("fast\nllama", snapshot, Board(), NOW)


def test_where_nobody_serves_it_the_wait_is_explained() -> None:
    explanation = told(ALIAS, server("s1", "llama", health=HealthStatus.UNHEALTHY))
    assert explanation.verdict == "await"
    assert explanation.sentence().startswith("Alias 'fast' leads to llama. The next request waits")


def test_it_goes_out_as_json_without_an_address() -> None:
    text = json.dumps(told(ALIAS, server("s1", "llama"), server("s2", "mistral")).as_dict())
    assert json.loads(text)["leads"][0]["model"] == "llama"
    assert "secret" not in text


def test_a_model_leads_to_itself_and_nothing_is_said_of_that() -> None:
    snapshot = build_snapshot([server("s1", "llama")])
    explanation = explain("llama", snapshot, Board(), NOW)
    assert explanation.leads == ()
    assert [each.model for each in explanation.servers] == ["llama"]
