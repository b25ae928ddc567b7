"""Is a model shown as those may know it who may ask for it, and as /v1/models counts it?"""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest

from app.routers.dashboard.model_cards import card_of, matching, models_topic, names_for, seen_by
from app.services.core.answer.answers import models_list
from app.services.core.choice.aliases import Alias, Target
from app.services.core.choice.classes import ModelClass
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.errors import ModelNotFound
from app.services.core.people.principal import Limits, Principal, Role, Trust
from app.services.core.signals import NO_SIGNALS, Signals
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server
from app.services.core.verification.findings import Subject, Verdict, VerificationFinding

USER = Principal("user", "user", Role.USER)
OWNER = Principal("owner", "owner", Role.OWNER)
OPERATOR = Principal("admin", "operator", Role.ADMIN)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def server(name: str, *models: str, context: int | None = None, **fields) -> Server:
    entries = tuple(ModelEntry(model, f"upstream-{model}", context) for model in models)
    return Server(
        name,
        Endpoint("http", f"{name}.example", 80),
        entries,
        **{"health": HealthStatus.HEALTHY, "engine": "vllm"} | fields,
    )


def gateway(measured=(), capabilities=None):
    """What cards ask of the gateway: findings and signals by server."""
    found = {}
    for server_id, model, subject, figure in measured:
        finding = VerificationFinding(subject, Verdict.OK, "", figure, NOON)
        models = found.setdefault(server_id, {})
        models[f"upstream-{model}"] = (*models.get(f"upstream-{model}", ()), finding)
    told = {
        server_id: Signals(capabilities={f"upstream-{model}": frozenset(can) for model, can in models.items()})
        for server_id, models in (capabilities or {}).items()
    }
    return SimpleNamespace(
        verifications=SimpleNamespace(of=lambda server_id: found.get(server_id, {})),
        said=SimpleNamespace(signals=lambda server_id: told.get(server_id, NO_SIGNALS)),
    )


SERVERS = (
    server("one", "big", context=8192),
    server("two", "big", "small", context=32_768),
    server("three", "big", health=HealthStatus.UNHEALTHY),
    server("four", "new", health=HealthStatus.UNKNOWN),
    server("mine", "hidden", owner="owner", share="me"),
)
CLASSES = (ModelClass("small-class", frozenset({"small", "klein"})),)
ALIASES = (Alias("fast", (Target("small", 3.0), Target("gone")), (Target("big"),)), Alias("nowhere", (Target("gone"),)))
SNAPSHOT = build_snapshot(SERVERS, CLASSES, ALIASES)


@pytest.mark.parametrize(
    "principal", [USER, OWNER, OPERATOR, Principal("k", "k", Role.USER, models=frozenset({"big"}))]
)
def test_names_and_counts_are_those_of_the_list_of_models(principal):
    seen = seen_by(principal, SNAPSHOT)
    listed = msgspec.json.decode(models_list(seen, principal.models))["data"]
    assert names_for(principal, seen) == [one["id"] for one in listed]
    rows = models_topic(lambda: SNAPSHOT)(principal)
    assert {name: (row["servers"], row["ready"]) for name, row in rows.items()} == {
        one["id"]: (one["servers"], one["healthy_servers"]) for one in listed
    }
    for one in listed:
        assert card_of(gateway(), seen, one["id"], {}).context_length == one["context_length"]


def test_what_is_not_shared_is_not_there():
    assert "hidden" not in names_for(USER, seen_by(USER, SNAPSHOT))
    assert "hidden" in names_for(OWNER, seen_by(OWNER, SNAPSHOT))
    trusting = Principal("k", "k", Role.USER, reach=Trust.TRUSTED)
    public = build_snapshot([server("pub", "m", trust=Trust.PUBLIC)])
    assert names_for(trusting, seen_by(trusting, public)) == []
    with pytest.raises(ModelNotFound):
        card_of(gateway(), seen_by(USER, SNAPSHOT), "hidden", {})


def test_a_state_is_told_in_words_too():
    rows = models_topic(lambda: SNAPSHOT)(USER)
    assert rows["big"] == {
        "ready": 2, "servers": 3, "state": "healthy", "badge": "Ready", "words": "2 of 3 servers ready",
    }  # fmt: skip
    assert (rows["new"]["state"], rows["new"]["words"]) == ("unknown", "0 of 1 server ready")
    down = models_topic(lambda: build_snapshot([server("x", "m", health=HealthStatus.UNHEALTHY)]))(USER)
    assert (down["m"]["state"], down["m"]["badge"]) == ("unhealthy", "No server ready")
    paused = models_topic(lambda: build_snapshot([server("x", "m", paused=True)]))(USER)
    assert paused["m"]["state"] == "unhealthy"


def test_what_moves_follows_the_registry():
    now = [SNAPSHOT]
    topic = models_topic(lambda: now[0])
    assert topic(USER)["big"]["ready"] == 2
    now[0] = build_snapshot(SERVERS[1:])
    assert topic(USER)["big"]["ready"] == 1
    assert "fast" not in topic(USER)


def test_an_alias_tells_what_it_stands_for_and_a_model_its_other_names():
    seen = seen_by(USER, SNAPSHOT)
    alias = card_of(gateway(), seen, "fast", {})
    assert alias.stands_for == ("small", "gone", "big")
    assert alias.row["servers"] == 3
    small = card_of(gateway(), seen, "small", {})
    assert small.also_called == ("klein", "small-class")
    assert small.stands_for == ()
    assert card_of(gateway(), seen, "klein", {}).also_called == ("small", "small-class")


def test_contexts_that_differ_are_told_as_a_range():
    seen = seen_by(USER, SNAPSHOT)
    big = card_of(gateway(), seen, "big", {})
    assert (big.least_context, big.context_length) == (8192, 32_768)
    small = card_of(gateway(), seen, "small", {})
    assert (small.least_context, small.context_length) == (None, 32_768)
    new = card_of(gateway(), seen, "new", {})
    assert (new.least_context, new.context_length) == (None, None)


def test_figures_are_gathered_over_the_servers_that_may_be_used():
    measured = [
        ("one", "big", Subject.SPEED, 20.0),
        ("two", "big", Subject.SPEED, 50.0),
        ("three", "big", Subject.SPEED, 30.0),
        ("one", "big", Subject.FIRST_TOKEN, 120.0),
        ("one", "big", Subject.CONTEXT, 8192.0),
        ("two", "small", Subject.SPEED, None),
        ("mine", "hidden", Subject.SPEED, 99.0),
    ]
    known, seen = gateway(measured), seen_by(USER, SNAPSHOT)
    big = card_of(known, seen, "big", {})
    assert big.speed is not None
    assert (big.speed.least, big.speed.middle, big.speed.most, big.speed.servers) == (20.0, 30.0, 50.0, 3)
    assert big.first_token is not None
    assert (big.first_token.middle, big.first_token.servers) == (120.0, 1)
    assert card_of(known, seen, "small", {}).speed is None


def test_what_engines_say_is_told():
    known = gateway(
        capabilities={"one": {"big": ["chat", "tools"]}, "two": {"big": ["vision"], "small": ["embeddings"]}}
    )
    seen = seen_by(USER, SNAPSHOT)
    big, small = card_of(known, seen, "big", {}), card_of(known, seen, "small", {})
    assert big.capabilities == ("chat", "tools", "vision")
    assert big.engines == ("vllm",)
    assert not big.embeds
    assert small.embeds


def test_limits_of_a_model_are_told():
    limits = {"big": Limits(requests_per_minute=10)}
    seen = seen_by(USER, SNAPSHOT)
    assert card_of(gateway(), seen, "big", limits).limits == limits["big"]
    assert card_of(gateway(), seen, "small", limits).limits is None


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        ("", ["big", "fast", "klein", "new", "small", "small-class"]),
        ("  ", ["big", "fast", "klein", "new", "small", "small-class"]),
        ("BIG", ["big", "fast"]),
        ("klein", ["klein", "small", "small-class"]),
        ("gone", ["fast"]),
        ("no such", []),
        ("<script>", []),
    ],
)
def test_a_search_finds_names_and_what_they_stand_for(sought, found):
    seen = seen_by(USER, SNAPSHOT)
    assert matching(names_for(USER, seen), seen, sought) == found
