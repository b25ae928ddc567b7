"""Which models does a server serve, and what does a change make of a description?"""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.network.addresses import parse_endpoint
from app.services.core.types import DiscoveredModel, Inspection, ModelEntry
from app.services.registry.records import ServerRecord
from app.services.registry.specification import (
    MAX_MODELS,
    Chosen,
    Lacking,
    ServerChange,
    ServerSpec,
    adopted,
    applied,
    choose_models,
    needs_check,
    spec_of,
)
from tests.fakes.registry import START

URL = "http://10.0.0.5:8000"


def found(*names: str, expected: tuple[str, ...] = ()) -> Inspection:
    models = tuple(DiscoveredModel(name) for name in names)
    return Inspection(None, "", models, missing_models=frozenset(expected) - set(names))


def spec(*models: ModelEntry, **other) -> ServerSpec:
    return ServerSpec(URL, models=models or None, **other)


def record(*models: ModelEntry, **other) -> ServerRecord:
    return ServerRecord("id", parse_endpoint(URL), models, START, START, **other)


def test_without_names_every_listed_model_is_taken_in_its_order():
    verdict = choose_models(spec(), found("b", "a"))
    assert verdict == Chosen((ModelEntry("b", "b"), ModelEntry("a", "a")))


def test_a_server_that_lists_nothing_has_nothing_to_take():
    assert isinstance(choose_models(spec(), found()), Lacking)


def test_a_name_is_mapped_to_what_the_server_calls_it():
    wanted = ModelEntry("llama", "meta-llama/Llama-3.1-8B")
    verdict = choose_models(spec(wanted), found("meta-llama/Llama-3.1-8B", "other"))
    assert verdict == Chosen((wanted,))


def test_a_missing_model_is_told_with_those_that_exist_and_the_fix():
    verdict = choose_models(spec(ModelEntry("c", "c")), found("a", "b", expected=("c",)))
    assert verdict == Lacking(
        "lists models a, b but not c. Load it there, or say what the server calls it: "
        '"models": [{"name": "c", "upstream_name": "a"}]'
    )


def test_a_server_without_models_lacks_every_model():
    verdict = choose_models(spec(ModelEntry("c", "c")), found(expected=("c",)))
    assert verdict == Lacking("lists no models, so not c either: load the model, then try again")


def test_no_name_is_guessed_even_when_there_is_one_model():
    assert isinstance(choose_models(spec(ModelEntry("c", "c")), found("a", expected=("c",))), Lacking)


def test_long_lists_are_cut():
    names = [f"model-{number}" for number in range(50)]
    verdict = choose_models(spec(ModelEntry("c", "c")), found(*names, expected=("c",)))
    assert isinstance(verdict, Lacking)
    assert "model-19 and 30 more" in verdict.reason


def test_the_servers_context_length_comes_before_the_owners():
    wanted = spec(ModelEntry("a", "a"), ModelEntry("b", "b"), capabilities={"context_length": 8192})
    listed = Inspection(None, "", (DiscoveredModel("a", 4096), DiscoveredModel("b")))
    verdict = choose_models(wanted, listed)
    assert verdict == Chosen((ModelEntry("a", "a", 4096), ModelEntry("b", "b", 8192)))


@pytest.mark.parametrize("length", [0, -1, 2**31])
def test_a_context_length_that_cannot_be_is_dropped(length):
    verdict = choose_models(spec(), Inspection(None, "", (DiscoveredModel("a", length),)))
    assert verdict == Chosen((ModelEntry("a", "a"),))


@given(st.lists(st.text(max_size=300)))
def test_whatever_a_server_lists_only_names_that_can_be_asked_for_are_taken(names):
    verdict = choose_models(spec(), Inspection(None, "", tuple(map(DiscoveredModel, names))))
    if isinstance(verdict, Lacking):
        assert not any(name.isalnum() and len(name) <= 256 for name in names)
        return
    taken = [model.name for model in verdict.models]
    assert len(set(taken)) == len(taken)
    for name in taken:
        name.encode()
        assert 0 < len(name) <= 256
        assert not set(name) & {"\n", "\r", "\0", "\x1b", "\u2028"}


def test_a_list_without_end_is_cut():
    verdict = choose_models(spec(), found(*(str(number) for number in range(MAX_MODELS + 5))))
    assert isinstance(verdict, Chosen)
    assert len(verdict.models) == MAX_MODELS


def test_a_description_read_back_is_the_same():
    kept = record(ModelEntry("a", "b"), api_key="key", priority=3, weight=2.5, max_concurrency=4, share="me")
    read = spec_of(kept)
    assert (read.endpoint_url, read.api_key, read.models) == (URL, "key", (ModelEntry("a", "b"),))
    assert (read.priority, read.weight, read.max_concurrency, read.share) == (3, 2.5, 4, "me")
    assert spec_of(record(ModelEntry("a", "a"), discovers_models=True)).models is None


def test_a_change_touches_only_what_it_names():
    before = spec(ModelEntry("a", "a"), api_key="key", max_concurrency=4, priority=3)
    assert applied(before, ServerChange()) == before
    after = applied(before, ServerChange(api_key=None, max_concurrency=None, weight=2.0))
    assert after == dataclasses.replace(before, api_key=None, max_concurrency=None, weight=2.0)


@pytest.mark.parametrize(
    ("change", "checked"),
    [
        (ServerChange(), False),
        (ServerChange(priority=9, weight=2.0, max_concurrency=1, share="me", metadata={"owner": "x"}), False),
        (ServerChange(capabilities={"streaming": True}), False),
        (ServerChange(capabilities={"context_length": 1}), True),
        (ServerChange(endpoint_url="http://10.0.0.6"), True),
        (ServerChange(api_key="new"), True),
        (ServerChange(models=None), True),
        (ServerChange(models=(ModelEntry("a", "b"),)), True),
    ],
)
def test_only_what_can_make_a_server_unfit_is_checked(change, checked):
    before = spec(ModelEntry("a", "a"), api_key="key")
    assert needs_check(before, applied(before, change)) is checked


def test_a_discovering_server_follows_its_list():
    before = record(ModelEntry("a", "a", 100), discovers_models=True)
    after = adopted(before, [DiscoveredModel("b", 200), DiscoveredModel("a")], "vllm")
    assert after.models == (ModelEntry("b", "b", 200), ModelEntry("a", "a", 100))
    assert after.engine == "vllm"


def test_a_server_registered_for_its_models_keeps_them():
    before = record(ModelEntry("a", "upstream-a"))
    after = adopted(before, [DiscoveredModel("upstream-a", 4096), DiscoveredModel("b")])
    assert after.models == (ModelEntry("a", "upstream-a", 4096),)


@pytest.mark.parametrize("models", [[], [DiscoveredModel("")], [DiscoveredModel("a")]])
def test_no_news_is_the_same_record(models):
    before = record(ModelEntry("a", "a"), discovers_models=True, engine="vllm")
    assert adopted(before, models) is before
