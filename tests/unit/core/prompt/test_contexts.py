"""Contexts: what fits surely, what may, what can't, and what is said then."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.choice.snapshot import build_snapshot
from app.services.core.errors import render
from app.services.core.prompt.contexts import (
    CUTTERS,
    Room,
    context_of,
    holds_answer,
    largest_context,
    may_fit,
    outgrown,
    room,
    room_at,
    too_long,
)
from app.services.core.prompt.demand import Demand, Home
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server


def server(
    name: str,
    context: int | None,
    *,
    model: str = "llama",
    engine: str = "vllm",
    health: HealthStatus = HealthStatus.HEALTHY,
    in_effect: int | None = None,
    paused: bool = False,
) -> Server:
    return Server(
        id=name,
        endpoint=Endpoint("http", f"secret-{name}", 8000),
        models=(ModelEntry(model, f"up/{model}", context),),
        engine=engine,
        health=health,
        contexts={} if in_effect is None else {f"up/{model}": in_effect},
        paused=paused,
    )


def asks(prompt: int, answer: int = 0, least: int | None = None) -> Demand:
    return Demand(prompt // 2 if least is None else least, prompt, answer)


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        (asks(3600), Room.SURE),
        (asks(3000, 900), Room.SURE),
        (asks(100, 10**9), Room.SURE),
        (asks(3700), Room.UNSURE),
        (asks(4096), Room.UNSURE),
        (asks(4915), Room.UNSURE),
        (asks(4916), Room.UNLIKELY),
        (asks(8192), Room.UNLIKELY),
        (asks(8194), Room.NONE),
        (asks(4200, least=4097), Room.NONE),
        (asks(10**9), Room.NONE),
    ],
)
def test_an_engine_that_refuses_has_no_room_only_for_what_is_surely_too_long(demand: Demand, expected: Room) -> None:
    assert room(4096, demand) is expected


@pytest.mark.parametrize(
    ("demand", "expected"), [(asks(3600), Room.SURE), (asks(4096), Room.UNSURE), (asks(4097), Room.NONE)]
)
def test_an_engine_that_cuts_is_asked_for_no_more_than_it_holds(demand: Demand, expected: Room) -> None:
    assert room(4096, demand, cuts=True) is expected


@pytest.mark.parametrize("unknown", [None, 0, -1])
@pytest.mark.parametrize("cuts", [False, True])
def test_an_unknown_context_is_neither_sure_nor_refused(unknown: int | None, cuts: bool) -> None:
    assert room(unknown, asks(10**9), cuts=cuts) is Room.UNSURE


def test_a_demand_without_figures_fits_everywhere() -> None:
    demand = Demand(homes=(Home("one", 0, "session"),))
    assert {room(length, demand) for length in (None, 1, 4096)} == {Room.SURE}


@given(st.integers(1, 10**7), st.integers(0, 10**7), st.integers(0, 10**7), st.integers(1, 10**7), st.booleans())
def test_a_larger_context_never_has_less_room(small: int, prompt: int, answer: int, more: int, cuts: bool) -> None:
    demand = Demand(prompt // 2, prompt, answer)
    assert room(small + more, demand, cuts=cuts) <= room(small, demand, cuts=cuts)
    assert room(small, demand) <= room(small, demand, cuts=True)


def test_the_context_in_effect_goes_before_the_registered_one() -> None:
    (candidate,) = build_snapshot([server("one", 131_072, engine="ollama", in_effect=4096)]).routes["llama"].ready
    assert context_of(candidate) == 4096
    assert room_at(candidate, asks(4200)) is Room.NONE
    (candidate,) = build_snapshot([server("one", 131_072)]).routes["llama"].ready
    assert context_of(candidate) == 131_072
    assert room_at(candidate, asks(4200)) is Room.SURE
    (candidate,) = build_snapshot([server("one", None)]).routes["llama"].ready
    assert context_of(candidate) is None


def test_engines_are_named_as_the_registry_names_them() -> None:
    from app.services.engines.lmstudio import LmStudio  # noqa: PLC0415 - an adapter's name is all that is asked for
    from app.services.engines.ollama import Ollama  # noqa: PLC0415

    assert {Ollama.name, LmStudio.name} == set(CUTTERS)


def test_what_others_send_refuses_nobody() -> None:
    english = Demand(3000, 10_582, low_tokens=6400)
    assert room(8192, english) is Room.UNLIKELY
    assert room(8192, english, cuts=True) is Room.UNLIKELY
    assert room(6000, english, cuts=True) is Room.NONE


def test_an_answer_that_may_be_longer_is_no_matter_of_room() -> None:
    demand = asks(3000, 900)
    assert room(4096, demand) is Room.SURE
    assert not holds_answer(4096, demand)
    assert holds_answer(3000 + 375 + 900, demand)
    assert not holds_answer(None, demand)


def loading(
    engine: str = "ollama", *, declared: int | None = None, last: int | None = None, loaded: bool | None = False
) -> Server:
    names = None if loaded is None else frozenset({"up/llama"} if loaded else {"other"})
    return replace(server("cold", declared, engine=engine, in_effect=last), loaded=names)


@pytest.mark.parametrize(
    ("laid", "context"),
    [
        (loading(), 4096),
        (loading("lmstudio"), 4096),
        (loading(declared=32_768), 4096),
        (loading(declared=2048), 2048),
        (loading(last=16_384), 16_384),
        (loading(last=16_384, declared=8192), 8192),
        (loading(last=16_384, declared=32_768), 16_384),
        (loading(loaded=True, last=16_384, declared=8192), 8192),
        (loading(loaded=True, declared=8192), 8192),
        (loading(loaded=True), None),
        (loading(loaded=None), None),
        (loading(loaded=None, declared=8192), 8192),
        (loading("llama.cpp"), None),
        (loading("llama.cpp", declared=8192), 8192),
        (loading("llama.cpp", declared=8192, last=16_384), 16_384),
    ],
)
def test_which_context_a_prompt_meets(laid: Server, context: int | None) -> None:
    (candidate,) = build_snapshot([laid]).routes["llama"].ready
    assert context_of(candidate) == context


@pytest.mark.parametrize(
    ("laid", "expected"),
    [
        (loading(), Room.NONE),
        (loading(declared=32_768), Room.UNLIKELY),
        (loading(declared=8192), Room.NONE),
        (loading(last=4096, declared=32_768), Room.NONE),
        (loading(loaded=True, last=4096, declared=32_768), Room.NONE),
        (loading(last=32_768), Room.SURE),
    ],
)
def test_a_prompt_beyond_the_default_goes_to_a_cold_model_only_on_its_owners_word(laid: Server, expected: Room) -> None:
    (candidate,) = build_snapshot([laid]).routes["llama"].ready
    assert room_at(candidate, asks(20_000)) is expected


def test_a_refusal_rules_out_what_is_no_larger() -> None:
    known = outgrown(asks(3383), 4096)
    assert (known.least_tokens, known.prompt_tokens, known.refused_at) == (4097, 4097, 4096)
    assert room(4096, known) is room(4096, known, cuts=True) is Room.NONE
    assert room(4097, known) is Room.UNSURE
    assert room(8192, known) is room(8192, known, cuts=True) is Room.SURE
    assert room(None, known) is Room.UNSURE


def test_a_refusal_for_the_answer_says_less_of_the_prompt() -> None:
    known = outgrown(asks(100, 4096), 4096)
    assert (known.least_tokens, known.prompt_tokens) == (50, 100)
    assert room(4096, known) is Room.NONE
    assert room(4096, known, cuts=True) is Room.SURE
    assert outgrown(None, 4096, 4000).least_tokens == 97


def test_a_refusal_by_a_context_that_nobody_knows_says_nothing() -> None:
    assert outgrown(None, None) == Demand()
    assert outgrown(asks(3383), None) == asks(3383)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.lists(st.integers(1, 10**6), max_size=4), st.booleans())
def test_refusals_never_make_room(prompt: int, answer: int, refused: list[int], cuts: bool) -> None:
    demand = Demand(prompt // 2, prompt, answer)
    for length in refused:
        after = outgrown(demand, length)
        assert demand == Demand() or room(length, after, cuts=cuts) >= room(length, demand, cuts=cuts)
        assert room(length, after) is Room.NONE or not after.prompt_tokens
        demand = after


def test_another_server_may_fit_if_it_is_larger_or_unknown() -> None:
    route = build_snapshot([server("one", 4096), server("two", 4096), server("cut", 4096, engine="ollama")]).routes[
        "llama"
    ]
    refused = route.by_id["one"]
    assert not may_fit(route, outgrown(asks(3383), 4096), refused)
    for other in (server("up", 8192), server("down", 8192, health=HealthStatus.UNHEALTHY), server("silent", None)):
        route = build_snapshot([server("one", 4096), other]).routes["llama"]
        assert may_fit(route, outgrown(asks(3383), 4096), refused)


def test_the_largest_context_is_that_of_a_server_that_may_serve() -> None:
    servers = [
        server("paused", 100_000, paused=True),
        server("down", 32_000, health=HealthStatus.UNHEALTHY),
        server("up", 8000),
        server("silent", None),
    ]
    assert largest_context(build_snapshot(servers).routes["llama"]) == 32_000


def test_the_refusal_has_figures_and_names_a_model_that_would_do_and_no_server() -> None:
    servers = [
        server("small", 4096),
        server("large", 8192),
        server("huge", 262_144, model="qwen-1m"),
        server("right", 32_768, model="qwen"),
        server("off", 16_384, model="away", health=HealthStatus.UNHEALTHY),
        server("held", 16_384, model="held", paused=True),
        server("short", 4096, model="held"),
    ]
    snapshot = build_snapshot(servers)
    error = too_long(snapshot.routes["llama"], asks(12_000), snapshot)
    assert error.message == (
        "The prompt has about 12,000 tokens, and the largest context of model 'llama' here is 8,192. "
        "Shorten it, or use model 'qwen' (32,768 tokens)."
    )
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert b"secret" not in render(error)


def test_the_refusal_names_no_other_model_where_none_would_do() -> None:
    snapshot = build_snapshot([server("small", 4096), server("less", 4000, model="qwen")])
    error = too_long(snapshot.routes["llama"], Demand(9000, 9000, member="prompt"), snapshot)
    assert error.message.endswith("is 4,096. Shorten it.")
    assert error.param == "prompt"
