"""The header that says why: one line, figures, and nobody else's name."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.services.core.choice.plan import Forward, plan
from app.services.core.choice.route_header import header, home_at, passed_over
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.live.board import Board
from app.services.core.prompt.demand import Demand, Home
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

NOW = 1000.0


def forwarded(servers: list[Server], demand: Demand | None = None, **busy: int) -> tuple[Forward, Mapping[str, int]]:
    snapshot, board = build_snapshot(servers), Board()
    for server_id, in_flight in busy.items():
        board.lane(server_id).in_flight = in_flight
    passed = passed_over(snapshot.routes["llama"], board, NOW, demand)
    verdict = plan("llama", snapshot, board, (), NOW, random.Random(7).random, demand=demand)
    assert isinstance(verdict, Forward)
    return verdict, passed


def server(name: str, context: int = 16_384, cap: int | None = None, *, paused: bool = False) -> Server:
    return Server(
        id=name,
        endpoint=Endpoint("http", f"secret-{name}", 8000),
        models=(ModelEntry("llama", "up/llama", context),),
        max_concurrency=cap,
        health=HealthStatus.HEALTHY,
        paused=paused,
    )


def test_it_tells_counts_and_names_no_other_server() -> None:
    demand = Demand(5000, 8000, homes=(Home("s0", 12_288, "prefix"),))
    pool = [server("s0"), server("s1", 4096), server("s2", cap=1), server("s3", cap=2), server("s4", paused=True)]
    verdict, passed = forwarded(pool, demand, s2=1, s3=2)
    assert header(verdict, demand, 30_412, passed) == (
        b"prefix; server=s0; known=12288/30412 bytes; about 8000 tokens; passed over: 1 context, 2 full, 1 held back"
    )


def test_of_many_servers_the_first_hundred_are_counted() -> None:
    pool = [server("free"), *(server(f"s{number}", cap=1) for number in range(150))]
    _verdict, passed = forwarded(pool, **{f"s{number}": 1 for number in range(150)})
    assert passed == {"full": 99}


def test_those_that_are_held_back_or_loading_are_counted() -> None:
    loading = replace(server("s1"), health=HealthStatus.UNHEALTHY, loading=True)
    verdict, passed = forwarded([server("s0"), loading, server("s2", paused=True), server("s3", paused=True)])
    assert header(verdict, None, 100, passed) == b"only; server=s0; passed over: 1 loading the model, 2 held back"


def test_a_plain_request_has_a_short_one() -> None:
    verdict, passed = forwarded([server("s0")])
    assert header(verdict, None, 100, passed) == b"only; server=s0"


def test_what_is_known_cannot_be_more_than_there_is() -> None:
    demand = Demand(homes=(Home("s0", 500, "prefix"),))
    verdict, passed = forwarded([server("s0"), server("s1")], demand)
    assert b"known=100/100 bytes" in header(verdict, demand, 100, passed)
    assert home_at("s1", demand) is None


def test_where_a_conversation_is_to_begin_nothing_is_known_of_it() -> None:
    demand = Demand(homes=(Home("s1", 0, "placed"),))
    verdict, passed = forwarded([server("s0"), server("s1")], demand)
    assert header(verdict, demand, 30_412, passed) == b"placed; server=s1"


@given(st.text(), st.dictionaries(st.text(), st.integers()))
def test_it_is_one_printable_line(server_id: str, passed: dict[str, int]) -> None:
    verdict, _passed = forwarded([server("s0")])
    candidate = replace(verdict.candidate, server=replace(verdict.candidate.server, id=server_id))
    value = header(Forward(candidate, "drawn"), None, 100, passed)
    assert len(value) <= 512
    assert all(32 <= octet < 127 for octet in value)
