"""The snapshot: which servers stand where in a model's route."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.choice import inner_routes
from app.services.core.choice.aliases import Alias, Target
from app.services.core.choice.classes import ModelClass
from app.services.core.choice.snapshot import EMPTY, Candidate, Route, build_snapshot, cut_route, recovered
from app.services.core.people.principal import Trust
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

LLAMA = ModelEntry("llama", "meta/llama", 4096)
QWEN = ModelEntry("qwen", "qwen")


def server(name: str, *models: ModelEntry, health: HealthStatus = HealthStatus.HEALTHY, **members: object) -> Server:
    return Server(
        id=name,
        endpoint=Endpoint("http", name, 8000),
        models=models or (LLAMA,),
        health=health,
        **members,  # type: ignore[arg-type]
    )


def ids(candidates: tuple[Candidate, ...]) -> list[str]:
    return [candidate.server.id for candidate in candidates]


def test_nothing_registered_is_nothing_served() -> None:
    assert build_snapshot([]) == EMPTY
    assert EMPTY.healthy_servers == 0


def test_servers_stand_by_health() -> None:
    snapshot = build_snapshot([server(status.value, health=status) for status in HealthStatus])
    route = snapshot.routes["llama"]
    assert (ids(route.ready), ids(route.standby), ids(route.down)) == (["healthy"], ["unknown"], ["unhealthy"])
    assert route.registered == 3
    assert snapshot.healthy_servers == 1


def test_the_best_priority_comes_first_and_equals_keep_their_order() -> None:
    servers = [server("a"), server("b", priority=5), server("c", priority=-1), server("d", priority=5), server("e")]
    assert ids(build_snapshot(servers).routes["llama"].ready) == ["b", "d", "a", "e", "c"]


@pytest.mark.parametrize("reason", ["paused", "quarantined", "blocked", "draining", "misconfigured"])
@pytest.mark.parametrize("health", HealthStatus)
def test_a_server_that_takes_no_work_is_registered_and_nothing_more(reason: str, health: HealthStatus) -> None:
    held = server("held", health=health, **{reason: True})
    route = build_snapshot([held]).routes["llama"]
    assert (route.ready, route.standby, route.down, route.registered) == ((), (), (), 1)


def test_a_missing_model_leaves_its_own_route_only() -> None:
    snapshot = build_snapshot([server("one", LLAMA, QWEN, missing_models=frozenset({"meta/llama"}))])
    assert snapshot.routes["llama"].ready == ()
    assert snapshot.routes["llama"].registered == 1
    assert ids(snapshot.routes["qwen"].ready) == ["one"]


def test_a_candidate_carries_the_name_that_its_server_uses() -> None:
    other = ModelEntry("llama", "llama3:8b")
    route = build_snapshot([server("one"), server("two", other)]).routes["llama"]
    assert [candidate.model.upstream_name for candidate in route.ready] == ["meta/llama", "llama3:8b"]


def test_the_longest_context_that_some_server_tells_counts() -> None:
    entries = [ModelEntry("llama", "a"), ModelEntry("llama", "b", 4096), ModelEntry("llama", "c", 8192)]
    servers = [server(entry.upstream_name, entry) for entry in entries]
    assert build_snapshot(servers).routes["llama"].context_length == 8192
    assert build_snapshot(servers[:1]).routes["llama"].context_length is None


def test_models_are_sorted_by_name() -> None:
    assert list(build_snapshot([server("one", QWEN, LLAMA)]).routes) == ["llama", "qwen"]


def test_recovered_are_those_that_were_down_and_are_healthy() -> None:
    states = [*HealthStatus, None]
    pairs = [(f"{before}-{after}", before, after) for before in states for after in states]
    earlier = build_snapshot([server(name, health=before) for name, before, _after in pairs if before])
    later = build_snapshot([server(name, health=after) for name, _before, after in pairs if after])
    assert recovered(earlier, later) == ["unhealthy-healthy"]
    assert recovered(EMPTY, later) == recovered(earlier, EMPTY) == []


# -- what is laid out for the choice


def route_of(*servers: Server) -> Route:
    return build_snapshot(servers).routes["llama"]


@pytest.mark.parametrize(
    ("engine", "upstream_name", "loaded", "warm"),
    [
        ("vllm", "llama", None, True),
        ("ollama", "llama", frozenset({"llama"}), True),
        ("ollama", "llama", frozenset({"llama:latest"}), True),
        ("ollama", "me/llama", frozenset({"me/llama:latest"}), True),
        ("ollama", "llama:8b", frozenset({"llama:8b:latest", "llama"}), False),
        ("ollama", "llama", frozenset({"llama:8b"}), False),
        ("lmstudio", "llama", frozenset({"llama:latest"}), False),
        ("ollama", "llama", frozenset(), False),
    ],
)
def test_a_model_is_warm_if_its_server_has_it_or_does_not_tell(
    engine: str, upstream_name: str, loaded: frozenset[str] | None, warm: bool
) -> None:
    route = route_of(server("one", ModelEntry("llama", upstream_name), engine=engine, loaded=loaded))
    assert route.ready[0].warm is warm


def test_in_each_priority_warm_ones_come_first_and_keep_their_order() -> None:
    cold = frozenset[str]()
    servers = [server("a", loaded=cold), server("b"), server("c", priority=5, loaded=cold), server("d", priority=5)]
    route = route_of(*servers, server("e"), server("f", loaded=cold))
    assert ids(route.ready) == ["d", "c", "b", "e", "a", "f"]
    assert ids(route.tier.members) == ["d"]
    assert route.tier.spare is not None
    assert ids(route.tier.spare.members) == ["c"]
    assert route.why == "loaded"


def test_the_context_in_effect_goes_before_what_was_registered() -> None:
    one = server("one", contexts={"meta/llama": 2048})
    two = server("two", ModelEntry("llama", "llama", 32_768), engine="ollama", contexts={"llama:latest": 16_384})
    three = server("three", contexts={"meta/llama": 0, "other": 99})
    route = route_of(one, two, three)
    assert [candidate.model.context_length for candidate in route.ready] == [2048, 16_384, 4096]
    assert (route.least_context, route.context_length) == (2048, 16_384)


def test_the_least_context_is_of_those_that_may_serve() -> None:
    held = server("held", contexts={"meta/llama": 100}, paused=True)
    down = server("down", contexts={"meta/llama": 1000}, health=HealthStatus.UNHEALTHY)
    assert route_of(held, down, server("up")).least_context == 1000
    assert route_of(held).least_context == 0
    assert route_of(server("unknown", ModelEntry("llama", "llama"))).least_context == 0


@pytest.mark.parametrize(
    ("places", "max_concurrency", "expected"),
    [
        (None, None, 4),
        (None, 9, 9),
        (3, None, 3),
        (8, 2, 2),
        (2, 8, 2),
        (0, None, 1),
        (-7, None, 1),
        (10**40, None, 1024),
    ],
)
def test_places_are_by_the_engines_word_and_the_owners_bound(
    places: int | None, max_concurrency: int | None, expected: int
) -> None:
    candidate = route_of(server("one", places=places, max_concurrency=max_concurrency, weight=0.5)).ready[0]
    assert (candidate.places, candidate.strength) == (expected, min(expected, 64) * 0.5)


def test_only_a_tier_of_equals_is_drawn_from_without_sums() -> None:
    cold = frozenset[str]()
    assert route_of(server("a"), server("b"), server("c", priority=-1)).even == 2
    assert route_of(server("a"), server("b", weight=2.0)).even == 0
    assert route_of(server("a"), server("b", places=9)).even == 0
    assert route_of(server("a", engine="vllm"), server("b", engine="sglang", places=1024)).even == 2
    assert route_of(server("a"), server("b"), server("c", loaded=cold)).even == 0
    assert route_of(server("a", loaded=cold), server("b", loaded=cold)).even == 0
    assert route_of(server("a", weight=1.0), server("b", weight=2.5)).tier.marks == (1.0, 3.5)


def test_there_is_a_tier_for_each_context_that_holds_those_with_no_less() -> None:
    entries = {
        name: ModelEntry("llama", "llama", length) for name, length in (("a", 10), ("b", 30), ("c", 20), ("d", None))
    }
    route = route_of(*[server(name, entry, priority=int(name == "a")) for name, entry in entries.items()])
    assert route.roomy is not None
    assert [(length, ids(tier.members)) for length, tier in route.roomy] == [(10, ["a"]), (20, ["b", "c"]), (30, ["b"])]
    alike = route_of(server("a"), server("b"))
    assert alike.roomy is not None
    assert alike.roomy[0][1] is alike.tier
    assert route_of(server("a", entries["d"])).roomy == ()
    assert (
        route_of(*[server(str(place), ModelEntry("llama", "llama", 100 + place)) for place in range(17)]).roomy is None
    )


def test_a_class_leads_each_of_its_names_to_all_of_its_servers() -> None:
    servers = [server("a"), server("b", ModelEntry("llama-8b", "llama:8b"))]
    snapshot = build_snapshot(servers, [ModelClass("any-llama", frozenset({"llama", "llama-8b"}))])
    assert list(snapshot.routes) == ["any-llama", "llama", "llama-8b"]
    for name, route in snapshot.routes.items():
        assert {candidate.model.upstream_name for candidate in route.ready} == {"meta/llama", "llama:8b"}
        assert {candidate.model.name for candidate in route.ready} == {name}
        assert route.even == 2
        assert route.family == "any-llama"
    assert build_snapshot(servers).routes["llama"].family == "llama"


def test_those_that_are_held_back_are_kept_apart_under_every_name() -> None:
    paused = server("paused", paused=True)
    without = server("without", ModelEntry("llama-8b", "llama:8b"), missing_models=frozenset({"llama:8b"}))
    snapshot = build_snapshot(
        [server("a"), paused, without], [ModelClass("any-llama", frozenset({"llama", "llama-8b"}))]
    )
    for route in snapshot.routes.values():
        assert ids(route.ready) == ["a"]
        assert set(ids(route.held)) == {"paused", "without"}
        assert route.registered == 3


SERVERS = st.lists(
    st.builds(
        server,
        st.sampled_from("abcdefgh"),
        st.sampled_from([LLAMA, QWEN]),
        health=st.sampled_from(HealthStatus),
        priority=st.integers(-2, 2),
        paused=st.booleans(),
        blocked=st.booleans(),
        misconfigured=st.booleans(),
        missing_models=st.sampled_from([frozenset(), frozenset({"qwen"})]),
        loaded=st.sampled_from([None, frozenset(), frozenset({"qwen"})]),
    ),
    max_size=8,
)


@given(SERVERS)
def test_every_server_stands_in_its_route_at_most_once(servers: list[Server]) -> None:
    snapshot = build_snapshot(servers)
    assert set(snapshot.servers) == {single.id for single in servers}
    for name, route in snapshot.routes.items():
        holders = [single for single in snapshot.servers.values() if single.models[0].name == name]
        standing = [*route.ready, *route.standby, *route.down]
        assert route.name == name
        assert route.registered == len(holders) > 0
        assert sorted(ids(tuple(standing))) == sorted(
            single.id
            for single in holders
            if single.accepts_work
            and not single.misconfigured
            and single.models[0].upstream_name not in single.missing_models
        )
        for group in (route.ready, route.standby, route.down):
            ranks = [(candidate.server.priority, candidate.warm) for candidate in group]
            assert ranks == sorted(ranks, reverse=True)
        assert set(route.by_id) == set(ids(route.ready))
        assert route.tier.members == route.ready[: len(route.tier.members)]


# -- what a request may use


def test_a_snapshot_is_open_where_every_server_is_trusted_and_shared_with_everyone() -> None:
    assert build_snapshot([]).is_open
    assert build_snapshot([server("a"), server("b", paused=True)]).is_open
    assert not build_snapshot([server("a"), server("b", trust=Trust.PUBLIC)]).is_open
    assert not build_snapshot([server("a"), server("b", share="group")]).is_open


def test_a_route_is_cut_to_the_servers_that_pass() -> None:
    down, unknown = HealthStatus.UNHEALTHY, HealthStatus.UNKNOWN
    states = {"ready": {}, "down": {"health": down}, "standby": {"health": unknown}, "held": {"paused": True}}
    servers = [server(f"{kept}-{state}", **members) for state, members in states.items() for kept in ("in", "out")]
    route = cut_route(route_of(*servers), lambda each: each.id.startswith("in"))
    assert route is not None
    groups = {"ready": route.ready, "standby": route.standby, "down": route.down, "held": route.held}
    assert {name: ids(group) for name, group in groups.items()} == {name: [f"in-{name}"] for name in groups}
    assert (route.registered, route.name, route.family, route.why) == (4, "llama", "llama", "only")


def test_where_all_pass_the_route_stays_and_where_none_does_there_is_none() -> None:
    route = route_of(server("a"), server("b", paused=True))
    assert cut_route(route, lambda _server: True) is route
    assert cut_route(route, lambda _server: False) is None


# -- aliases

FAST = Alias("fast", (Target("llama", 3.0), Target("qwen")), (Target("gone"),))


def test_an_alias_has_a_route_for_each_model_that_is_there_and_none_of_them_is_a_models() -> None:
    snapshot = build_snapshot([server("one", LLAMA, QWEN)], (), [FAST, Alias("also", (Target("qwen"),))])
    assert list(snapshot.routes) == ["llama", "qwen"]
    assert list(snapshot.aliases) == ["also", "fast"]
    assert set(snapshot.inner) == {"fast\nllama", "fast\nqwen", "also\nqwen"}
    assert len(snapshot.inner) == 3
    assert snapshot.names == ["also", "fast", "llama", "qwen"]
    assert snapshot.route("llama") is snapshot.routes["llama"]
    assert snapshot.route("fast\nllama") is snapshot.inner["fast\nllama"]
    for unknown in ("fast", "fast\ngone", "also\nllama", "other\nllama", "\nllama", "fast\n", "fast\nllama\n", ""):
        assert snapshot.route(unknown) is None


def test_an_alias_goes_before_a_model_of_its_name_and_is_named_once() -> None:
    snapshot = build_snapshot([server("one", LLAMA, QWEN)], (), [Alias("qwen", (Target("llama"),))])
    assert snapshot.names == ["llama", "qwen"]
    assert ids(snapshot.inner["qwen\nllama"].ready) == ["one"]
    assert snapshot.inner["qwen\nllama"].ready[0].model.upstream_name == "meta/llama"


def test_an_alias_that_leads_to_nothing_is_not_named() -> None:
    snapshot = build_snapshot([server("one")], (), [Alias("lost", (Target("gone"),))])
    assert snapshot.names == ["llama"]
    assert snapshot.available() == "llama"
    assert "register a server" in build_snapshot([]).available()


def test_an_alias_of_a_class_leads_to_all_of_its_servers() -> None:
    servers = [server("a"), server("b", ModelEntry("llama-8b", "llama:8b"))]
    classes = [ModelClass("any-llama", frozenset({"llama", "llama-8b"}))]
    route = build_snapshot(servers, classes, [Alias("fast", (Target("any-llama"),))]).inner["fast\nany-llama"]
    assert set(ids(route.ready)) == {"a", "b"}
    assert route.family == "any-llama"


def test_so_many_candidates_are_kept_and_no_more(monkeypatch) -> None:
    monkeypatch.setattr(inner_routes, "_MOST_CANDIDATES", 3)
    snapshot = build_snapshot([server("a", LLAMA, QWEN), server("b", LLAMA)], (), [FAST])
    llama = snapshot.inner["fast\nllama"]
    assert snapshot.inner["fast\nllama"] is llama
    qwen = snapshot.inner["fast\nqwen"]
    assert snapshot.inner["fast\nllama"] is llama
    other = build_snapshot([server("a", LLAMA, QWEN), server("b", LLAMA), server("c", QWEN)], (), [FAST])
    first = other.inner["fast\nllama"]
    assert other.inner["fast\nqwen"] is other.inner["fast\nqwen"]
    assert other.inner["fast\nllama"] is not first
    assert other.inner["fast\nllama"] == first
    assert qwen is snapshot.inner["fast\nqwen"]


@given(SERVERS)
def test_an_aliases_route_is_the_models_own_but_for_the_name(servers: list[Server]) -> None:
    snapshot = build_snapshot(servers, (), [FAST])
    assert list(snapshot.routes) == sorted({single.models[0].name for single in snapshot.servers.values()})
    assert {name.rpartition("\n")[2] for name in snapshot.inner} == set(snapshot.routes)
    for name, route in snapshot.inner.items():
        own = snapshot.routes[name.rpartition("\n")[2]]
        assert (route.name, route.family) == ("fast", own.name)
        assert {candidate.model.name for candidate in candidates_of(route)} <= {"fast"}
        assert as_if_called(route, own.name) == own
        assert all(route.by_id[candidate.server.id] is candidate for candidate in route.ready)
        assert [id(candidate) for candidate in route.tier.members] == [
            id(candidate) for candidate in route.ready[: len(route.tier.members)]
        ]
        assert [tier is route.tier for _length, tier in route.roomy or ()] == [
            tier is own.tier for _length, tier in own.roomy or ()
        ]
        for mine, theirs in zip(candidates_of(route), candidates_of(own), strict=True):
            assert (mine.places, mine.strength) == (theirs.places, theirs.strength)


def candidates_of(route: Route) -> list[Candidate]:
    return [*route.ready, *route.standby, *route.down, *route.held]


def as_if_called(route: Route, name: str) -> Route:
    """The same route with every name put back."""
    return inner_routes.renamed_route(route, name)
