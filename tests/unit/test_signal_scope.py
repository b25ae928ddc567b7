"""What of an engine's word is put under the registered names, and what does routing follow of it?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.signals import NO_SIGNALS, Signals
from app.services.core.types import DiscoveredModel
from app.services.engines.identify import UNKNOWN
from app.services.engines.llamacpp import LlamaCpp
from app.services.engines.lmstudio import LmStudio
from app.services.engines.ollama import Ollama
from app.services.engines.vllm import Vllm
from app.services.registry.records import NO_FACTS, EngineFacts
from app.services.signal_scope import concerning, facts_of, is_final

names = st.text("abc:/-", min_size=1, max_size=6)


def test_figures_stay_as_they_are() -> None:
    told = Signals(running=3, waiting=2, places=4, cache_used=0.5)
    assert concerning(told, ["a"], Vllm()) == told
    assert concerning(NO_SIGNALS, ["a"], Vllm()) is NO_SIGNALS


def test_what_is_told_of_other_models_is_left_out_but_for_the_room_that_they_take() -> None:
    told = Signals(
        loaded=frozenset({"a", "stranger"}),
        contexts={"a": 4096, "stranger": 8192},
        capabilities={"a": frozenset({"chat"}), "stranger": frozenset({"vision"})},
        templates={"a": "mark", "stranger": "another"},
    )
    heard = concerning(told, ["a", "b"], Vllm())
    assert heard.loaded == {"a", "stranger"}
    assert heard.contexts == {"a": 4096}
    assert heard.capabilities == {"a": {"chat"}}
    assert heard.templates == {"a": "mark"}


def test_a_name_without_a_tag_is_the_latest_where_the_engine_takes_it_so() -> None:
    told = Signals(loaded=frozenset({"mistral:latest", "qwen:7b"}), contexts={"mistral:latest": 4096, "qwen:7b": 8192})
    heard = concerning(told, ["mistral", "qwen"], Ollama())
    assert heard.loaded == {"mistral", "qwen:7b"}
    assert heard.contexts == {"mistral": 4096}
    assert concerning(told, ["mistral"], LlamaCpp()).contexts == {}
    both = concerning(told, ["mistral", "mistral:latest"], Ollama())
    assert both.loaded == {"mistral", "mistral:latest", "qwen:7b"}
    assert both.contexts == {"mistral": 4096, "mistral:latest": 4096}


@given(st.frozensets(names, max_size=8), st.lists(names, max_size=8, unique=True))
def test_a_registered_model_is_in_memory_when_the_engine_says_so(loaded: frozenset[str], expected: list[str]) -> None:
    heard = concerning(Signals(running=0, loaded=loaded), expected, Vllm())
    assert heard.loaded == loaded


def test_no_more_models_are_kept_than_a_server_may_have() -> None:
    loaded = frozenset(f"m{number}" for number in range(5000)) | {"\x00", "x" * 300}
    heard = concerning(Signals(loaded=loaded), ["m4999"], Ollama())
    assert heard.loaded is not None
    assert len(heard.loaded) == 1000
    assert "m4999" in heard.loaded
    assert heard.loaded.isdisjoint({"\x00", "x" * 300})


def test_a_listed_context_is_in_effect_where_the_model_stays_in_memory() -> None:
    listed = (DiscoveredModel("a", 4096), DiscoveredModel("b", 512), DiscoveredModel("c"))
    assert facts_of(NO_SIGNALS, listed, ["a", "c"], Vllm()) == EngineFacts(contexts={"a": 4096})
    told = Signals(places=4, contexts={"a": 2048})
    assert facts_of(told, listed, ["a"], Vllm()) == EngineFacts(places=4, contexts={"a": 2048})


@pytest.mark.parametrize("engine", [Ollama(), LmStudio()], ids=lambda engine: engine.name)
def test_a_model_out_of_memory_has_no_context_in_effect(engine) -> None:
    listed = (DiscoveredModel("a", 131072), DiscoveredModel("b", 131072))
    told = Signals(loaded=frozenset({"b"}), contexts={"b": 4096})
    facts = facts_of(told, listed, ["a", "b"], engine)
    assert facts == EngineFacts(loaded=frozenset({"b"}), swaps_models=True, contexts={"b": 4096})
    assert facts_of(NO_SIGNALS, listed, ["a"], engine) == EngineFacts(swaps_models=True)


def test_the_context_that_a_model_had_counts_while_it_is_out_of_memory() -> None:
    told = Signals(loaded=frozenset({"b"}), contexts={"b": 4096})
    facts = facts_of(told, (), ["a", "b"], Ollama(), {"a": 32768, "b": 8192, "gone": 512})
    assert facts.contexts == {"a": 32768, "b": 4096}


def test_an_engine_that_keeps_its_model_has_no_other_context_than_it_tells() -> None:
    assert facts_of(NO_SIGNALS, (DiscoveredModel("a", 4096),), ["a"], Vllm(), {"a": 512}).contexts == {"a": 4096}
    assert facts_of(NO_SIGNALS, (), ["a"], Vllm(), {"a": 512}).contexts == {}


def test_a_llama_cpp_that_tells_what_is_in_its_memory_loads_what_is_not() -> None:
    listed = (DiscoveredModel("a", 4096),)
    assert facts_of(NO_SIGNALS, listed, ["a"], LlamaCpp()) == EngineFacts(contexts={"a": 4096})
    router = facts_of(Signals(loaded=frozenset()), listed, ["a"], LlamaCpp())
    assert router == EngineFacts(loaded=frozenset(), swaps_models=True)


def test_what_an_unknown_engine_lists_is_a_claim() -> None:
    assert facts_of(NO_SIGNALS, (DiscoveredModel("a", 131072),), ["a"], UNKNOWN) == NO_FACTS


@pytest.mark.parametrize(
    ("status", "final"),
    [
        (301, True),
        (307, True),
        (400, True),
        (401, True),
        (403, True),
        (404, True),
        (405, True),
        (410, True),
        (501, True),
        (505, True),
        (200, False),
        (204, False),
        (408, False),
        (425, False),
        (429, False),
        (500, False),
        (502, False),
        (503, False),
        (504, False),
    ],
)
def test_which_refusals_hold_the_next_time_too(status: int, final: bool) -> None:
    assert is_final(status) is final
