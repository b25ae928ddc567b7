"""Contexts: what fits surely, what may, what can't, and what is said then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.choice.snapshot import build_snapshot
from app.services.core.errors import render
from app.services.core.prompt.contexts import CUTTERS, Room, context_of, largest_context, room, room_at, too_long
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
        (asks(3000, 700), Room.SURE),
        (asks(3000, 900), Room.UNSURE),
        (asks(100, 10**9), Room.UNSURE),
        (asks(3700), Room.UNSURE),
        (asks(4096), Room.UNSURE),
        (asks(4915), Room.UNSURE),
        (asks(4916), Room.NONE),
        (asks(4200, least=4097), Room.NONE),
        (asks(10**9), Room.NONE),
    ],
)
def test_an_engine_that_refuses_is_asked_up_to_a_fifth_beyond_its_context(demand: Demand, expected: Room) -> None:
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

    assert {Ollama.name, LmStudio.name} == CUTTERS


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
