"""Where does an alias lead: by weight, by bounds, and to whom when nobody serves what was drawn?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.choice.aliases import (
    Alias,
    AliasRoutes,
    Target,
    inner_name,
    lead,
    leads_nowhere,
    model_of,
)
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.errors import ModelNotFound, RequestInvalid
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

READY, DOWN = HealthStatus.HEALTHY, HealthStatus.UNHEALTHY
MODELS = tuple("abcdef")


def server(model: str, health: HealthStatus = READY) -> Server:
    return Server(f"of-{model}", Endpoint("http", model, 8000), (ModelEntry(model, model, 8192),), health=health)


def routes(alias: Alias, *servers: Server) -> AliasRoutes:
    return build_snapshot(servers, (), [alias]).aliases[alias.name]


def at(point: float) -> Callable[[], float]:
    return lambda: point


def never() -> float:
    raise AssertionError


def led(alias: AliasRoutes, point: float = 0.0, need_tokens: int = 0) -> list[str]:
    """The models in the order in which they are tried."""
    return [model_of(name) for name in lead(alias, need_tokens, at(point))]


ALL = [server(model) for model in MODELS]


def test_an_inner_name_is_no_name_that_anybody_can_ask_for() -> None:
    assert inner_name("fast", "org/llama") == "fast\norg/llama"
    assert model_of("fast\norg/llama") == "org/llama"
    assert model_of("org/llama") == "org/llama"


def test_weights_are_kept_over_many_draws() -> None:
    alias = routes(Alias("fast", (Target("a", 1.0), Target("b", 3.0), Target("c", 6.0))), *ALL)
    draw = random.Random(7).random
    first = Counter(model_of(lead(alias, 0, draw)[0]) for _draw in range(20_000))
    assert {model: round(first[model] / 20_000, 1) for model in "abc"} == {"a": 0.1, "b": 0.3, "c": 0.6}


def test_after_the_one_that_is_drawn_come_the_heavier_then_the_fallbacks_in_their_order() -> None:
    alias = Alias("fast", (Target("a", 1.0), Target("b", 3.0), Target("c", 2.0)), (Target("e"), Target("d")))
    known = routes(alias, *ALL)
    assert led(known, 0.0) == ["b", "c", "a", "e", "d"]
    assert led(known, 0.6) == ["c", "b", "a", "e", "d"]
    assert led(known, 0.99) == ["a", "b", "c", "e", "d"]


def test_who_has_no_server_that_is_well_comes_last() -> None:
    alias = Alias("fast", (Target("a", 9.0), Target("b", 1.0)), (Target("c"), Target("d")))
    known = routes(alias, server("a", DOWN), server("b"), server("c", DOWN), server("d"))
    assert led(known) == ["b", "d", "a", "c"]
    known = routes(alias, server("a", DOWN), server("b", DOWN), server("c"), server("d"))
    assert led(known, 0.0) == ["c", "d", "a", "b"]
    assert led(known, 0.95) == ["c", "d", "b", "a"]


def test_while_one_is_away_its_share_goes_to_the_others_by_weight_and_theirs_stays_where_it_was() -> None:
    alias = Alias("fast", (Target("a", 5.0), Target("b", 3.0), Target("c", 2.0)))
    whole, cut = routes(alias, *ALL), routes(alias, server("a", DOWN), server("b"), server("c"))
    points = [(step + 0.5) / 1000 for step in range(1000)]
    before, after = [[led(known, point)[0] for point in points] for known in (whole, cut)]
    assert Counter(before) == {"a": 500, "b": 300, "c": 200}
    assert Counter(after) == {"b": 600, "c": 400}
    assert all(now == then for then, now in zip(before, after, strict=True) if then != "a")


def test_a_model_that_nobody_has_is_left_out() -> None:
    alias = Alias("fast", (Target("a"), Target("gone", 99.0)), (Target("lost"), Target("b")))
    assert led(routes(alias, *ALL), 0.5) == ["a", "b"]
    assert lead(routes(alias), 0, at(0.0)) == ()


def test_one_target_asks_for_no_random_number() -> None:
    alias = Alias("fast", (Target("a"), Target("b", max_context_tokens=10)), (Target("c"),))
    assert lead(routes(alias, *ALL), 11, never) == ("fast\na", "fast\nc")


def test_a_fallback_that_is_a_target_too_is_tried_once() -> None:
    alias = Alias("fast", (Target("a", max_context_tokens=100), Target("b")), (Target("a"), Target("b"), Target("c")))
    assert led(routes(alias, *ALL), 0.0, 50) == ["a", "b", "c"]
    assert led(routes(alias, *ALL), 0.0, 500) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("need", "taken"), [(0, "ac"), (1, "ac"), (99, "ac"), (100, "abc"), (150, "abc"), (200, "abc"), (201, "bc")]
)
def test_bounds_include_their_ends(need: int, taken: str) -> None:
    targets = Target("a", max_context_tokens=200), Target("b", min_context_tokens=100), Target("c")
    assert set(led(routes(Alias("fast", targets), *ALL), need_tokens=need)) == set(taken)


def test_what_the_request_sees_decides_and_not_what_there_is() -> None:
    alias = Alias("fast", (Target("a", 9.0), Target("b", 1.0), Target("c", 1.0)))
    known = routes(alias, *ALL)
    seen = build_snapshot([server("b"), server("c", DOWN)]).routes
    assert lead(known, 0, at(0.0), seen) == ("fast\nb", "fast\nc")


# -- what is said when it leads nowhere

BOUNDED = Alias(
    "fast", (Target("a", max_context_tokens=8000), Target("b", 1.0, 16000, 32000)), (Target("c", 1.0, 16000, 32000),)
)


def test_a_request_that_is_too_long_hears_what_the_alias_takes() -> None:
    error = leads_nowhere(BOUNDED, build_snapshot(ALL), 40_000)
    assert isinstance(error, RequestInvalid)
    assert (error.status, error.code) == (400, "context_length_exceeded")
    assert error.message == (
        "Alias 'fast' takes requests of up to 8,000 tokens or 16,000 to 32,000 tokens, prompt and answer together, and "
        "this one has about 40,000. Shorten it, ask for a shorter answer (max_tokens), or ask for a model by its own "
        "name: a, b or c."
    )


def test_a_request_between_the_bounds_is_not_told_to_be_shorter() -> None:
    error = leads_nowhere(BOUNDED, build_snapshot(ALL), 9000)
    assert (error.code, error.param) == ("context_length_unsupported", "model")
    assert "about 9,000. Ask for a model by its own name" in error.message
    least = leads_nowhere(Alias("long", (Target("a", min_context_tokens=500),)), build_snapshot(ALL), 10)
    assert "takes requests of 500 tokens and more," in least.message


@pytest.mark.parametrize("need", [None, 20_000])
def test_models_that_nobody_has_are_named_with_what_there_is(need: int | None) -> None:
    error = leads_nowhere(BOUNDED, build_snapshot([server("x")]), need)
    assert isinstance(error, ModelNotFound)
    leads = "a, b or c" if need is None else "b or c"
    assert error.message == f"Alias 'fast' leads to {leads}, which no registered server has. Available: x."


def test_of_many_models_the_first_are_named() -> None:
    alias = Alias("fast", tuple(Target(f"m{number}") for number in range(32)))
    assert "m7 or one of 24 more, which" in leads_nowhere(alias, build_snapshot([])).message


# -- for any alias

BOUND = st.one_of(st.none(), st.integers(1, 100))
TARGETS = st.lists(
    st.builds(Target, st.sampled_from([*MODELS, "gone"]), st.floats(1e-300, 1000.0), BOUND, BOUND),
    max_size=6,
    unique_by=lambda target: target.model,
).map(tuple)
HEALTHS = st.fixed_dictionaries({model: st.sampled_from([READY, DOWN]) for model in MODELS})


@given(TARGETS.filter(len), TARGETS, HEALTHS, st.integers(0, 120), st.floats(0.0, 1.0, exclude_max=True))
def test_only_what_takes_the_request_is_tried_each_once_and_fallbacks_in_their_order(
    targets: tuple[Target, ...],
    fallbacks: tuple[Target, ...],
    healths: dict[str, HealthStatus],
    need: int,
    point: float,
) -> None:
    alias = Alias("fast", targets, fallbacks)
    snapshot = build_snapshot([server(model, health) for model, health in healths.items()], (), [alias])
    names = lead(snapshot.aliases["fast"], need, at(point))
    tried = [model_of(name) for name in names]
    takes = [each.model for each in (*targets, *fallbacks) if each.takes(need) and each.model in healths]
    assert sorted(tried) == sorted(set(takes))
    well = [healths[model] is READY for model in tried]
    assert well == sorted(well, reverse=True)
    aimed = {each.model for each in targets if each.takes(need)}
    for health in (READY, DOWN):
        spare = [model for model in tried if model not in aimed and healths[model] is health]
        assert spare == [each.model for each in fallbacks if each.model in spare]
        place = [model in aimed for model in tried if healths[model] is health]
        assert place == sorted(place, reverse=True)
    assert all(snapshot.inner[name].name == "fast" for name in names)
    if not names:
        assert leads_nowhere(alias, snapshot, need).status in {400, 404}
    else:
        assert lead(snapshot.aliases["fast"], need, at(point)) == names
