"""Is the list of servers what its URL asks for, for whoever looks? And are its live rows cheap and true?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from app.routers.dashboard.server_rows import ServerRow, ServerRows, rows_of, servers_topic
from app.routers.dashboard.server_standing import STATES
from app.routers.dashboard.servers import ServerQuery, asked, chosen, columns_of, states_of
from app.services.core.keys import Principal
from app.services.core.types import CheckFailure, Inspection
from tests.fakes.api import Api, api_world
from tests.fakes.registry import ADMIN, OWNER, START, STRANGER

REFUSED = Inspection(CheckFailure.UNREACHABLE, "connection refused")
GOOD = Inspection(None, "", latency_ms=2.5)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_world(tmp_path) as made:
        listed = made.world.inspector.listed
        listed["http://10.0.0.10:8000"] = ["qwen"]
        listed["http://10.0.0.9:8000"] = ["Llama-3", "qwen"]
        yield made


async def filled(api: Api) -> dict[str, str]:
    """Three servers: one is dead, one paused and dead."""
    ids = {
        "ten": await api.register("http://10.0.0.10:8000", metadata={"owner": "bob", "description": "cellar"}),
        "nine": await api.register("http://10.0.0.9:8000", metadata={"owner": "alice", "rack": "canary"}),
        "dead": await api.register("http://10.0.0.100:8000", metadata={"owner": "alice"}),
    }
    for _ in range(3):
        api.world.book.record(ids["dead"], REFUSED, START)
        api.world.book.record(ids["nine"], REFUSED, START)
    await api.world.registry.pause(ADMIN, ids["nine"], reason="moving")
    return ids


def rows(api: Api, principal: Principal = ADMIN) -> list[ServerRow]:
    return ServerRows(api.gateway).of(principal)


def captions(found: list[ServerRow]) -> list[str]:
    return [row.caption.removesuffix(":8000") for row in found]


async def test_the_list_is_in_the_order_of_people(api: Api) -> None:
    await filled(api)
    assert captions(chosen(rows(api), ServerQuery())) == ["10.0.0.9", "10.0.0.10", "10.0.0.100"]
    assert captions(chosen(rows(api), ServerQuery(sort="-server"))) == ["10.0.0.100", "10.0.0.10", "10.0.0.9"]
    assert captions(chosen(rows(api), ServerQuery(sort="state"))) == ["10.0.0.100", "10.0.0.9", "10.0.0.10"]
    assert captions(chosen(rows(api), ServerQuery(sort="owner")))[-1] == "10.0.0.10"


async def test_names_of_many_digits_sort_too(api: Api) -> None:
    for number, digits in enumerate(("9" * 5000, "8" * 5000, "007", "7")):
        await api.register(f"http://10.0.2.{number}:8000", metadata={"description": f"box {digits}"})
    found = [row.caption for row in chosen(rows(api, STRANGER), ServerQuery())]
    assert [caption[:7] for caption in found] == ["box 007", "box 7", "box 888", "box 999"]
    assert max(map(len, found)) <= 201


async def test_each_column_sorts_both_ways(api: Api) -> None:
    await filled(api)
    for column in columns_of(ServerQuery()):
        found = captions(chosen(rows(api), ServerQuery(sort=column.name)))
        assert sorted(found) == sorted(captions(chosen(rows(api), ServerQuery(sort=f"-{column.name}"))))
        assert len(found) == 3


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (ServerQuery(state="unhealthy"), {"10.0.0.9", "10.0.0.100"}),
        (ServerQuery(state="paused"), {"10.0.0.9"}),
        (ServerQuery(state="healthy"), {"10.0.0.10"}),
        (ServerQuery(state="blocked"), set()),
        (ServerQuery(model="QWEN"), {"10.0.0.9", "10.0.0.10"}),
        (ServerQuery(owner="alice"), {"10.0.0.9", "10.0.0.100"}),
        (ServerQuery(owner="ali"), set()),
        (ServerQuery(text="CELLAR"), {"10.0.0.10"}),
        (ServerQuery(text="refused"), {"10.0.0.9", "10.0.0.100"}),
        (ServerQuery(text="llama-3"), {"10.0.0.9", "10.0.0.100"}),
        (ServerQuery(text="refused", owner="alice", state="paused"), {"10.0.0.9"}),
        (ServerQuery(text="<script>"), set()),
    ],
)
async def test_filters_leave_what_fits(api: Api, query: ServerQuery, found: set[str]) -> None:
    await filled(api)
    assert set(captions(chosen(rows(api), query))) == found


@given(
    st.text(max_size=40), st.sampled_from(["", *STATES]), st.text(max_size=20), st.sampled_from(["load", "-seen", ""])
)
def test_a_query_is_its_url(text: str, state: str, model: str, sort: str) -> None:
    query = asked(text=text, state=state, model=model, sort=sort)
    read = dict(parse_qsl(urlsplit(query.url).query, keep_blank_values=True))
    assert asked(**{"text" if name == "q" else name: value for name, value in read.items()}) == query


def test_nonsense_in_a_url_is_left_out() -> None:
    query = asked(state="<b>", sort="drop table", owner="  alice ")
    assert (query.state, query.sort, query.owner) == ("", "server", "alice")
    assert ServerQuery().url == "/ui/servers"
    assert not ServerQuery(sort="load").is_narrow


def test_a_columns_head_turns_its_order_round() -> None:
    heads = {column.name: column for column in columns_of(ServerQuery(state="paused", sort="load"))}
    assert (heads["load"].sorted, heads["owner"].sorted) == ("ascending", "none")
    assert heads["load"].url == "/ui/servers?state=paused&sort=-load"
    back = {column.name: column for column in columns_of(ServerQuery(sort="-load"))}
    assert (back["load"].sorted, back["load"].url) == ("descending", "/ui/servers?sort=load")


async def test_an_owner_sees_no_address_and_no_reason_of_others(api: Api) -> None:
    ids = await filled(api)
    (nine,) = [row for row in rows(api, STRANGER) if row.id == ids["nine"]]
    assert not nine.known
    told = json.dumps(nine.live) + nine.caption + nine.description + nine.owner
    for secret in ("10.0.0.9", "refused", "moving", "canary"):
        assert secret not in told
    assert nine.live["words"] == "Paused, unhealthy"
    assert nine.owner == "alice"
    assert captions(chosen(rows(api, STRANGER), ServerQuery(text="moving"))) == []


async def test_what_is_not_shared_is_no_row(api: Api) -> None:
    await filled(api)
    secret = await api.register("http://10.0.0.77:8000", share="me")
    assert secret in {row.id for row in rows(api)}
    assert secret not in {row.id for row in rows(api, OWNER)}
    assert secret not in servers_topic(api.gateway)(OWNER)


async def test_live_rows_say_what_rows_say_and_who_looks_is_told(api: Api) -> None:
    ids = await filled(api)
    looked: list[str] = []
    topic = servers_topic(api.gateway, looked.extend)
    live = topic(ADMIN)
    assert set(live) == set(ids.values()) == set(looked)
    assert live[ids["dead"]]["state"] == "unhealthy"
    assert live[ids["dead"]]["reason"] == "connection refused"
    assert live[ids["nine"]]["words"] == "Paused, unhealthy"
    assert live[ids["nine"]]["reason"] == "paused: moving; connection refused"
    json.dumps(live)


async def test_a_row_is_made_anew_when_it_says_something_else_and_not_before(api: Api) -> None:
    ids = await filled(api)
    kept = ServerRows(api.gateway)
    (first,) = [row for row in kept.of(ADMIN) if row.id == ids["ten"]]
    (again,) = [row for row in kept.of(ADMIN) if row.id == ids["ten"]]
    assert again is first
    api.gateway.plane.board.lane(ids["ten"]).take(0.0)
    (busy,) = [row for row in kept.of(ADMIN) if row.id == ids["ten"]]
    assert busy.live["in_flight"] == 1
    api.world.book.record(ids["ten"], GOOD, START + timedelta(seconds=5))
    (seen,) = [row for row in kept.of(ADMIN) if row.id == ids["ten"]]
    assert seen.live["seen_at"] == "2030-01-01T00:00:05.000+00:00"
    assert seen.seen_at == START + timedelta(seconds=5)
    assert seen.live["in_flight"] == 1


async def test_a_pause_that_runs_out_is_seen_without_a_check(api: Api) -> None:
    ids = await filled(api)
    await api.world.registry.pause(ADMIN, ids["ten"], until=START + timedelta(minutes=15))
    kept = ServerRows(api.gateway)
    record = api.world.registry.get(ids["ten"])
    row = kept.one(record, ADMIN)
    assert (row.live["state"], row.until) == ("paused", START + timedelta(minutes=15))
    api.world.clock.move(minutes=15)
    assert kept.one(record, ADMIN).live["state"] == "healthy"


async def test_hours_that_begin_are_seen_without_a_check(api: Api) -> None:
    nights = {"timezone": "UTC", "windows": [{"from": "00:01", "to": "00:02"}]}
    server_id = await api.register("http://10.0.0.30:8000", hours=nights)
    kept, states = ServerRows(api.gateway), []
    for _ in range(3):
        states.append(kept.one(api.world.registry.get(server_id), ADMIN).live["state"])
        api.world.clock.move(minutes=1)
    assert states == ["off-hours", "healthy", "off-hours"]


async def test_rows_of_servers_that_left_are_forgotten(api: Api) -> None:
    kept = ServerRows(api.gateway)
    for number in range(10):
        server_id = await api.register(f"http://10.0.1.{number}:8000")
        assert len(kept.of(ADMIN)) == 1
        await api.world.registry.remove(ADMIN, server_id)
    assert kept.of(ADMIN) == []
    assert len(kept._kept) <= 4


async def test_pages_share_their_rows_until_the_services_are_others(api: Api) -> None:
    app = FastAPI()
    first = rows_of(app, api.gateway)
    assert rows_of(app, api.gateway) is first
    app.state.server_rows = ServerRows(replace(api.gateway))
    assert rows_of(app, api.gateway) is not first
    assert rows_of(app, api.gateway).gateway is api.gateway


async def test_states_of_a_row_are_all_of_them(api: Api) -> None:
    ids = await filled(api)
    found = {row.id: states_of(row) for row in rows(api)}
    assert found[ids["nine"]] == {"paused", "unhealthy"}
    assert found[ids["ten"]] == {"healthy"}
