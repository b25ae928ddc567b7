"""Is a person told what a test of a connection found, and who can do what about it?"""

from __future__ import annotations

import pytest

from app.routers.dashboard.register_words import told
from app.services.core.checks.health import CheckRecord, HealthState
from app.services.core.continuation.ability import Ability, Rung
from app.services.core.errors import EndpointRefused, ServerUnreachable
from app.services.core.network.addresses import parse_endpoint
from app.services.core.types import CheckFailure, DiscoveredModel, ModelEntry
from app.services.registry.examination import Examined
from app.services.registry.trial import Failed, Passed
from tests.fakes.registry import START

URL = "http://10.0.0.5:8000"


def passed(**fields) -> Passed:
    check = CheckRecord(START, ok=True, latency_ms=12.5)
    examined = Examined((ModelEntry("house", "big", 8192),), "llama.cpp", check, HealthState(), "b7531")
    listed = (DiscoveredModel("big", 8192), DiscoveredModel("small"))
    return Passed(parse_endpoint(URL), examined, listed, **fields)


def failed(failure, code=None, message="It failed.") -> Failed:
    kind = EndpointRefused if failure is CheckFailure.REFUSED_ADDRESS else ServerUnreachable
    return Failed(kind(message, code=code), failure)


def test_what_works_is_told_with_its_figures():
    shown = told(passed(ability=Ability(chat=Rung.FLAGS, thinking_off=True)), is_operator=False)
    assert shown.works
    assert shown.engine == "llama.cpp b7531"
    assert shown.latency_ms == 12.5
    assert shown.names == ("house",)
    assert [model.name for model in shown.listed] == ["big", "small"]
    assert shown.continuing[0] == "Yes"
    assert "thinking is turned off" in shown.continuing[1]


@pytest.mark.parametrize(
    ("ability", "word", "words"),
    [
        (None, "Not tried", "CONTINUATION_ENABLED"),
        (Ability(reason="It is silent."), "Not known yet", "It is silent."),
        (Ability(chat=Rung.NONE, reason="it begins anew"), "No", "it begins anew"),
        (Ability(chat=Rung.TEXT), "Yes", "finished on this one"),
    ],
)
def test_whether_answers_go_on_is_told_in_a_word_and_why(ability, word, words):
    shown = told(passed(ability=ability), is_operator=False)
    assert shown.continuing[0] == word
    assert words in shown.continuing[1]


def test_who_can_open_a_network_is_told():
    found = failed(CheckFailure.REFUSED_ADDRESS, "address_not_public")
    assert "Only the gateway's operator" in told(found, is_operator=False).advice
    assert told(found, is_operator=True).advice.startswith("You can change this")
    for is_operator in (True, False):
        assert "ALLOWED_SERVER_NETWORKS" in told(found, is_operator=is_operator).advice
    assert "nobody can" in told(failed(CheckFailure.REFUSED_ADDRESS, "address_forbidden"), is_operator=True).advice
    assert told(failed(CheckFailure.REFUSED_ADDRESS, "address_is_gateway"), is_operator=True).advice == ""


def test_a_long_list_is_cut_and_its_length_told():
    many = Failed(ServerUnreachable("No."), CheckFailure.MODEL_MISSING, "vllm", (DiscoveredModel("x"),) * 60)
    shown = told(many, is_operator=False)
    assert (len(shown.listed), shown.more, shown.engine, shown.works) == (50, 10, "vllm", False)
