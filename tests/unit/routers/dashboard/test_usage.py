"""Does the page of use ask what its URL says, draw what the account says, and tell each role what it may know?"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from app.routers.dashboard.usage_views import FILTERS, SERIES, SPANS, UsageAsk, ask_of, chart_of, query_of
from app.services.core.answer.usage import Usage as Tokens
from app.services.core.errors import FieldsInvalid, StorageUnavailable
from app.services.core.people.principal import Principal, Role
from app.services.core.reporting.outcome import Outcome
from app.services.registry.accounting.usage import Usage
from app.services.registry.accounting.usage_query import GroupBy, Side
from tests.fakes.accounts import Accounts, ended, opened_accounts
from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.page_client import PageClient, text_of
from tests.fakes.registry import START

ADMIN = Principal("admin", "operator", Role.ADMIN)
OWNER = Principal("own-a", "Ann", Role.OWNER)
NOW = datetime(2030, 3, 15, 13, 45, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>\"'"
IDS = st.text(max_size=40)


def asked(query: str, principal: Principal = ADMIN) -> UsageAsk:
    return ask_of(QueryParams(query), principal)


# ---------------------------------------------------------------------------------------------- the URL


@given(
    st.sampled_from(list(SPANS)), st.dates().map(str), st.dates().map(str),
    st.sampled_from([GroupBy.DAY, *FILTERS]), st.dictionaries(st.sampled_from(FILTERS), IDS), st.integers(0, 10**6),
)  # fmt: skip
def test_a_page_is_its_url(span, since, until, by, filters, offset):
    ask = UsageAsk(span, since if span == "own" else "", until if span == "own" else "", by, None, filters, offset)
    assert asked(ask.url(offset=offset).partition("?")[2]) == ask
    assert asked(ask.url(**{name.value: None for name in FILTERS}).partition("?")[2]).filters == {}


@given(st.dictionaries(st.sampled_from(["span", "from", "to", "by", "side", "offset", "key", "model", "x"]), st.text()))
def test_whatever_a_url_says_is_a_question_or_a_span_that_is_none(params):
    for principal in (ADMIN, OWNER):
        ask = ask_of(QueryParams(list(params.items())), principal)
        assert ask.span in SPANS
        assert (ask.side is None) is (principal is ADMIN)
        try:
            span = query_of(ask, NOW).span
        except FieldsInvalid:
            span = query_of(replace(ask, span="7d"), NOW).span
        assert span.since < span.until


@pytest.mark.parametrize(
    ("query", "since", "until"),
    [
        ("", "2030-03-09T00:00", "2030-03-15T14:00"),
        ("span=today", "2030-03-15T00:00", "2030-03-15T14:00"),
        ("span=30d", "2030-02-14T00:00", "2030-03-15T14:00"),
        ("span=month", "2030-03-01T00:00", "2030-03-15T14:00"),
        ("span=own&from=2030-01-01&to=2030-01-03", "2030-01-01T00:00", "2030-01-04T00:00"),
        ("from=2030-01-01&to=2030-01-01", "2030-01-01T00:00", "2030-01-02T00:00"),
        ("span=own&from=2030-01-01T08:00:00Z", "2030-01-01T08:00", "2030-03-15T15:00"),
        ("span=nonsense", "2030-03-09T00:00", "2030-03-15T14:00"),
    ],
)
def test_spans_are_days_of_utc_the_last_one_included(query, since, until):
    span = query_of(asked(query), NOW).span
    assert (span.since.isoformat()[:16], span.until.isoformat()[:16]) == (since, until)


@pytest.mark.parametrize(
    "query", ["from=soon", "from=2030-02-02&to=2030-01-01", "from=2030-02-30", "to=9999-12-31&from=x"]
)
def test_a_span_that_is_none_is_refused(query):
    with pytest.raises(FieldsInvalid):
        query_of(asked(query), NOW)


def test_an_owner_asks_for_its_sides_alone():
    assert (asked("", OWNER).side, asked("side=used", OWNER).side, asked("side=x", OWNER).side) == (
        Side.SERVED, Side.USED, Side.SERVED,
    )  # fmt: skip
    assert asked("by=key", OWNER).by is GroupBy.DAY, "whose requests its servers served is not told"
    assert asked("by=key&side=used", OWNER).by is GroupBy.KEY
    assert asked("key=x&model=m", OWNER).filters == {GroupBy.MODEL: "m"}
    assert asked("by=owner&side=used", OWNER).by is GroupBy.DAY


# ---------------------------------------------------------------------------------------------- the chart


@pytest_asyncio.fixture
async def accounts(tmp_path) -> AsyncIterator[Accounts]:
    async with opened_accounts(tmp_path) as opened:
        yield opened


def at(days: float, **fields: Any) -> Outcome:
    return ended(ended_at=(START - timedelta(days=days)).timestamp(), **fields)


async def drawn(usage: Usage, query: str, principal: Principal = ADMIN):
    return await chart_of(usage, principal, query_of(asked(query, principal), START + timedelta(minutes=1)))


async def test_a_chart_has_every_day_and_its_parts_are_the_whole(accounts: Accounts):
    await accounts.write([at(0), at(0, model="qwen"), at(2), at(2), at(6, model="qwen"), at(9)])
    chart = await drawn(accounts.usage, "span=7d")
    assert [label[5:] for label in chart.labels] == ["12-26", "12-27", "12-28", "12-29", "12-30", "12-31", "01-01"]
    assert {one.name: list(one.values) for one in chart.series} == {
        "llama": [0, 0, 0, 0, 20, 0, 10], "qwen": [10, 0, 0, 0, 0, 0, 10],
    }  # fmt: skip
    assert (chart.step_seconds, chart.moments[-1]) == (86_400, int(START.timestamp()))


async def test_a_short_span_is_drawn_by_the_hour(accounts: Accounts):
    await accounts.write([at(0), at(1 / 24 * 3)])
    chart = await drawn(accounts.usage, "span=own&from=2029-12-31&to=2030-01-01")
    (only,) = chart.series
    assert (chart.step_seconds, len(chart.moments), only.total) == (3600, 48, 20)
    assert [label for label, value in zip(chart.labels, only.values, strict=True) if value] == [
        "2029-12-31 21:00", "2030-01-01 00:00",
    ]  # fmt: skip


async def test_what_many_used_beside_the_largest_is_one_part(accounts: Accounts):
    people = [at(1, person=f"person-{number}", usage=Tokens(number, 0)) for number in range(1, 9)]
    await accounts.write(people)
    chart = await drawn(accounts.usage, "by=person")
    assert [one.total for one in chart.series] == [8, 7, 6, 5, 4, 1 + 2 + 3]
    assert (len(chart.series), chart.series[-1].name) == (SERIES + 1, "all others")


async def test_one_part_that_was_asked_for_is_drawn_by_itself(accounts: Accounts):
    await accounts.write([at(1), at(1, model="qwen")])
    chart = await drawn(accounts.usage, "by=model&model=qwen")
    assert [(one.name, one.total) for one in chart.series] == [("qwen", 10)]
    assert [one.total for one in (await drawn(accounts.usage, "by=model&model=none")).series] == []


async def test_a_very_long_span_is_drawn_as_far_as_it_goes_back(accounts: Accounts):
    await accounts.write([at(0)])
    chart = await drawn(accounts.usage, "span=own&from=2020-01-01")
    assert len(chart.moments) <= 800
    assert sum(one.total for one in chart.series) == 10


async def test_an_owner_sees_what_its_servers_served(accounts: Accounts):
    await accounts.write([at(1, server="s1"), at(1, server="s3"), at(1, server="s2", model="qwen")])
    chart = await drawn(accounts.usage, "", OWNER)
    assert {one.name: one.total for one in chart.series} == {"llama": 10, "qwen": 10}


# ---------------------------------------------------------------------------------------------- the page


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    async with open_in_process(tmp_path_factory.mktemp("usage"), continuation_enabled=False) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def pages(gateway: GatewayInProcess):
    """Somebody of each role, and what they are: ``role -> (pages, key)``."""
    async with AsyncExitStack() as stack:
        found: dict[str, Any] = {}
        for role in ("admin", "owner", "user"):
            made = None
            if role != "admin":
                made = (await gateway.client.post("/admin/keys", json={"name": f"the {role}", "role": role})).json()
            client = await PageClient.sign_in(gateway, *([made["key"]] if made else []))
            stack.push_async_callback(client.close)
            found[role] = SimpleNamespace(get=client.get, id=made["id"] if made else "admin")
        yield found


def count_use(gateway: GatewayInProcess, *outcomes: Outcome) -> None:
    models = {one.model for one in outcomes}
    gateway.app.state.usage.tally.count(list(outcomes), models, {})


@pytest.mark.asyncio(loop_scope="module")
async def test_an_empty_page_teaches_and_a_full_one_tells(gateway, pages):
    admin, user = pages["admin"], pages["user"].id
    assert "Nothing was used in this time" in (await admin.get(f"/ui/usage?key={user}")).text
    used = {"usage": Tokens(1000, 500), "ended_at": datetime.now(UTC).timestamp(), "person": f"key:{user}"}
    count_use(gateway, ended(user, None, HOSTILE, **used), ended(user, None, "plain", **used))
    page = (await admin.get(f"/ui/usage?by=model&key={user}")).text
    assert "<img src=x" not in page
    assert HOSTILE in unescape(page)
    words = text_of(page)
    assert "Tokens 3 000 tokens 2 000 prompt, 1 000 answer" in words
    assert "50 %" in words
    table = re.findall(r'<th scope="col" class="right">([^<]*)</th>', page)
    assert {unescape(name) for name in table} == {HOSTILE, "plain"}, "the chart has its table"
    by_key = (await admin.get("/ui/usage?by=key")).text
    link = re.search(r'<th role="rowheader" scope="row"><a href="([^"]+)">the user', by_key)[1]
    assert unescape(link) == f"/ui/usage?span=7d&by=day&key={user}"
    narrowed = text_of((await admin.get(unescape(link))).text)
    assert f"Key: {user}" in narrowed


@pytest.mark.asyncio(loop_scope="module")
async def test_the_file_is_that_of_the_api(gateway, pages):
    now = datetime.now(UTC)
    count_use(gateway, ended("k", None, "=formula", usage=Tokens(5, 5), ended_at=now.timestamp()))
    answer = await pages["admin"].get("/ui/usage.csv?by=model&span=today")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="usage.csv"'
    assert answer.headers["cache-control"] == "no-store"
    params = {"group_by": "model", "format": "csv", "from": f"{now:%Y-%m-%d}"}
    assert answer.text == (await gateway.client.get("/admin/usage", params=params)).text
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert "'=formula" in {row["id"] for row in rows}
    given = await pages["admin"].get("/ui/usage/contributions.csv")
    assert given.text.startswith("id,name,group,served_requests")
    assert (await pages["admin"].get("/ui/usage.csv?from=nonsense")).status_code == 422


@pytest.mark.asyncio(loop_scope="module")
async def test_each_role_sees_its_own(gateway, pages):
    owner, user = pages["owner"], pages["user"]
    now = datetime.now(UTC).timestamp()
    count_use(
        gateway, ended(user.id, None, "users-model", ended_at=now), ended(owner.id, None, "owners-model", ended_at=now)
    )
    own = (await user.get("/ui/usage")).text
    assert "users-model" in own
    assert "owners-model" not in own
    assert (await user.get("/ui/usage.csv")).status_code == 403
    assert (await user.get("/ui/usage/contributions.csv")).status_code == 403
    used = (await owner.get("/ui/usage?side=used&by=model")).text
    assert "owners-model" in used
    assert "users-model" not in used
    served = (await owner.get("/ui/usage")).text
    assert "Nothing was used in this time" in served
    assert "What you gave and took" in served
    assert "users-model" not in (await owner.get("/ui/usage.csv?by=model")).text


@pytest.mark.asyncio(loop_scope="module")
async def test_a_user_sees_what_its_own_key_used_day_by_day(gateway, pages):
    made = (await gateway.client.post("/admin/keys", json={"name": "of days", "role": "user"})).json()
    client = await PageClient.sign_in(gateway, made["key"])
    try:
        empty = (await client.get("/ui/usage")).text
        assert "uPlot" not in empty, "a page without a chart loads nothing to draw one"
        assert "You have asked no model yet" in empty
        now = datetime.now(UTC)
        earlier = now - timedelta(days=2)
        count_use(
            gateway,
            ended(made["id"], None, "m", usage=Tokens(700, 77), ended_at=earlier.timestamp()),
            ended(pages["owner"].id, None, "m", usage=Tokens(4321, 1234), ended_at=earlier.timestamp()),
        )
        shown = (await client.get("/ui/usage")).text
    finally:
        await client.close()
    rows = re.findall(r'<tr data-at="(\d+)"><th scope="row">([^<]+)</th>(.*?)</tr>', shown)
    days = [now.date() - timedelta(days=back) for back in range(29, -1, -1)]
    assert [label for _at, label, _cells in rows] == [day.isoformat() for day in days]
    assert [datetime.fromtimestamp(int(at), UTC).date() for at, _label, _cells in rows] == days
    values = [[int(value) for value in re.findall(r'data-value="(\d+)"', cells)] for _at, _label, cells in rows]
    assert values == [[700, 77] if day == earlier.date() else [0, 0] for day in days]
    assert f"The last 30 days (UTC) Day Tokens Share Prompt Answer Requests Failed {earlier:%Y-%m-%d} 777" in text_of(
        shown
    )
    assert "4 321" not in text_of(shown)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_span_that_is_none_is_told_and_the_page_is_there(pages):
    page = (await pages["admin"].get("/ui/usage?from=2030-02-02&to=2030-01-01&by=model")).text
    assert 'role="alert"' in page
    assert "last 7 days" in page


@pytest.mark.asyncio(loop_scope="module")
async def test_pages_of_keys_and_use_say_so_where_the_account_does_not_answer(gateway, pages, monkeypatch):
    async def fail(*_asked: object, **_more: object) -> None:
        message = "The database does not answer."
        raise StorageUnavailable(message)

    monkeypatch.setattr(gateway.app.state.usage, "own_days", fail)
    assert "What your key used day by day" in (await pages["user"].get("/ui/usage")).text
    monkeypatch.setattr(gateway.app.state.usage, "own", fail)
    assert "does not answer now" in (await pages["user"].get("/ui/usage")).text
    assert "does not answer now" in (await pages["user"].get("/ui/keys")).text
    monkeypatch.setattr(gateway.app.state.usage, "report", fail)
    assert (await pages["admin"].get("/ui/usage")).status_code == 503
    listed = await pages["admin"].get("/ui/keys")
    assert (listed.status_code, "the user" in listed.text) == (200, True)
    shown = await pages["admin"].get(f"/ui/keys/{pages['user'].id}")
    assert (shown.status_code, "does not answer now" in shown.text) == (200, True)
