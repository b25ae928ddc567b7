"""Which of several routes is taken?"""

from __future__ import annotations

from app.services.core.choice.aliases import Alias, Target
from app.services.core.choice.along import plan_along
from app.services.core.choice.plan import Await, Forward, Queue, Refuse
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.live.board import Board
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

ALIAS = Alias("fast", (Target("a"), Target("b")), (Target("c"),))
NAMES = ("fast\na", "fast\nb", "fast\nc")


def server(model: str, health: HealthStatus = HealthStatus.HEALTHY, **members: object) -> Server:
    entry = ModelEntry(model, f"up/{model}", 8192)
    return Server(f"of-{model}", Endpoint("http", model, 8000), (entry,), health=health, **members)  # type: ignore[arg-type]


def along(*servers: Server, busy: str = "", tried: tuple[str, ...] = ()) -> tuple[str, object] | None:
    snapshot, board = build_snapshot(servers, (), [ALIAS]), Board()
    board.keep(snapshot.servers)
    if busy:
        board.lane(busy).take(0.0)
    return plan_along(NAMES, snapshot, board, tried, 0.0, lambda: 0.0)


def test_the_first_that_has_a_server_now_is_taken() -> None:
    found = along(server("a", max_concurrency=1), server("b"), server("c"), busy="of-a")
    assert found is not None
    name, verdict = found
    assert name == "fast\nb"
    assert isinstance(verdict, Forward)
    assert (verdict.candidate.model.name, verdict.candidate.model.upstream_name) == ("fast", "up/b")


def test_where_none_has_the_best_hope_is_waited_for() -> None:
    down = HealthStatus.UNHEALTHY
    for servers, name, kind in (
        ([server("a", down), server("c", max_concurrency=1)], "fast\nc", Queue),
        ([server("a", paused=True), server("b", down), server("c", down)], "fast\nb", Await),
        ([server("b", paused=True), server("c", paused=True)], "fast\nb", Refuse),
        ([server("x")], "fast\na", Refuse),
    ):
        found = along(*servers, busy="of-c")
        assert found is not None
        assert found[0] == name
        assert isinstance(found[1], kind)


def test_where_a_request_was_it_does_not_go_again() -> None:
    found = along(server("a"), server("b"), server("c"), tried=("of-a", "of-b"))
    assert found is not None
    assert found[0] == "fast\nc"


def test_no_names_lead_nowhere() -> None:
    assert plan_along((), build_snapshot([]), Board(), (), 0.0, lambda: 0.0) is None


def test_errors_speak_of_the_alias() -> None:
    found = along(server("a", paused=True))
    assert found is not None
    assert isinstance(found[1], Refuse)
    assert "Model 'fast'" in found[1].error.message
