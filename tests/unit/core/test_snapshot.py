"""The snapshot: which servers stand where in a model's route."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.snapshot import EMPTY, Candidate, build_snapshot, recovered
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
            priorities = [candidate.server.priority for candidate in group]
            assert priorities == sorted(priorities, reverse=True)
