"""What do confirmed classes make of the routes?"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.services.core.choice.classes import ModelClass, families, merged
from app.services.core.choice.snapshot import Candidate, build_snapshot
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

CLASS = ModelClass("llama", frozenset({"llama3.1:8b", "hub/llama"}))


def server(name: str, *models: ModelEntry, **members: object) -> Server:
    return Server(id=name, endpoint=Endpoint("http", name, 8000), models=models, **members)  # type: ignore[arg-type]


def routes(*servers: Server) -> dict[str, list[Candidate]]:
    by_model: dict[str, list[Candidate]] = {}
    for one in servers:
        for model in one.models:
            by_model.setdefault(model.name, []).append(Candidate(one, model))
    return by_model


def told(candidates: list[Candidate]) -> list[tuple[str, str, str]]:
    return [(one.server.id, one.model.name, one.model.upstream_name) for one in candidates]


OLLAMA = server("ollama", ModelEntry("llama3.1:8b", "llama3.1:8b", 8192))
VLLM = server("vllm", ModelEntry("hub/llama", "/data/llama", 131072), ModelEntry("other", "other"))


def test_every_name_leads_to_every_server_under_the_servers_own_name() -> None:
    before = routes(OLLAMA, VLLM)
    after = merged(before, [CLASS])
    assert set(after) == {"llama", "llama3.1:8b", "hub/llama", "other"}
    for name in CLASS.names:
        assert set(told(after[name])) == {("ollama", name, "llama3.1:8b"), ("vllm", name, "/data/llama")}
    assert told(after["hub/llama"])[0][0] == "vllm"
    assert {one.model.context_length for one in after["llama"]} == {8192, 131072}
    assert after["other"] is before["other"]
    assert set(before) == {"llama3.1:8b", "hub/llama", "other"}


def test_all_else_that_is_known_of_a_candidate_stays() -> None:
    known = Candidate(OLLAMA, OLLAMA.models[0], warm=False)
    (candidate,) = merged({"llama3.1:8b": [known]}, [CLASS])["llama"]
    assert replace(candidate, model=known.model) == known


def test_each_name_of_a_class_is_told_its_class() -> None:
    assert families([CLASS, ModelClass("x", frozenset({"y"}))]) == {
        **dict.fromkeys(("llama", "llama3.1:8b", "hub/llama"), "llama"),
        **dict.fromkeys(("x", "y"), "x"),
    }


def test_no_class_changes_nothing() -> None:
    before = routes(OLLAMA, VLLM)
    assert merged(before, []) == before
    assert merged(before, [ModelClass("x", frozenset({"gone", "too"}))]) == before


def test_a_member_that_nobody_serves_leads_to_the_others() -> None:
    after = merged(routes(OLLAMA), [CLASS])
    assert told(after["hub/llama"]) == [("ollama", "hub/llama", "llama3.1:8b")]


def test_a_model_that_bears_the_classs_name_is_not_hidden() -> None:
    late = server("late", ModelEntry("llama", "llama-up"))
    after = merged(routes(OLLAMA, late), [CLASS])
    assert told(after["llama"])[0] == ("late", "llama", "llama-up")
    assert {one.server.id for one in after["llama3.1:8b"]} == {"ollama", "late"}


def test_of_a_server_with_two_members_the_one_that_is_asked_for_is_taken() -> None:
    both = server("both", ModelEntry("llama3.1:8b", "q4", 8192), ModelEntry("hub/llama", "q8", 4096))
    after = merged(routes(both), [CLASS])
    assert told(after["llama3.1:8b"]) == [("both", "llama3.1:8b", "q4")]
    assert told(after["hub/llama"]) == [("both", "hub/llama", "q8")]
    assert told(after["llama"]) == [("both", "llama", "q4")]


def test_the_context_in_effect_goes_before_what_was_registered() -> None:
    models = (ModelEntry("llama3.1:8b", "q4", 8192), ModelEntry("hub/llama", "q8", 4096))
    both = server("both", *models, health=HealthStatus.HEALTHY, contexts={"q8": 65536})
    (candidate,) = build_snapshot([both], [CLASS]).routes["llama"].ready
    assert (candidate.model.upstream_name, candidate.model.context_length) == ("q8", 65536)


def test_what_is_in_memory_goes_before_a_longer_context() -> None:
    models = (ModelEntry("llama3.1:8b", "q4", 8192), ModelEntry("hub/llama", "q8", 4096))
    both = server("both", *models, health=HealthStatus.HEALTHY, loaded=frozenset({"q8"}), swaps_models=True)
    snapshot = build_snapshot([both], [CLASS])
    assert told(list(snapshot.routes["llama"].ready)) == [("both", "llama", "q8")]
    assert told(list(snapshot.routes["llama3.1:8b"].ready)) == [("both", "llama3.1:8b", "q4")]


def test_a_model_that_is_missing_gives_way_to_one_that_is_there() -> None:
    models = (ModelEntry("llama3.1:8b", "q4", 8192), ModelEntry("hub/llama", "q8", 4096))
    both = server("both", *models, missing_models=frozenset({"q4"}))
    assert told(merged(routes(both), [CLASS])["llama3.1:8b"]) == [("both", "llama3.1:8b", "q8")]


NAMES = st.sampled_from(["a", "b", "c", "d", "e"])


@given(
    st.lists(st.lists(st.tuples(NAMES, NAMES), max_size=4, unique_by=lambda pair: pair[0]), max_size=6),
    st.frozensets(NAMES, min_size=1),
    NAMES,
)
def test_each_server_stands_in_a_route_once_and_none_is_lost(fleet, members, name) -> None:
    servers = [
        server(f"s{number}", *(ModelEntry(asked, upstream) for asked, upstream in models))
        for number, models in enumerate(fleet)
    ]
    one = ModelClass(name, members)
    before = routes(*servers)
    after = merged(before, [one])
    expected = {candidate.server.id for asked in one.names for candidate in before.get(asked, ())}
    for asked, candidates in after.items():
        ids = [candidate.server.id for candidate in candidates]
        assert len(ids) == len(set(ids))
        assert all(candidate.model.name == asked for candidate in candidates)
        assert set(ids) == (expected if asked in one.names else {each.server.id for each in before[asked]})
