"""What does the page Activity tell, and whom?"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from app.routers.dashboard.activity_asked import Asked, audit_query, log_query, recent_query
from app.routers.dashboard.activity_views import EMPTY_LOG_ROW, EMPTY_REQUEST_ROW, change_row, log_row, request_row
from app.services.core.answer.usage import Usage
from app.services.core.keys import Principal, Role
from app.services.core.reporting.log_lines import read_record
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.recent_rows import RecentRow
from app.services.registry.accounting.audit import AuditLine
from app.services.registry.accounting.audit_entry import AuditEntry
from app.utils.logger import get_logger
from tests.fakes.gateway_in_process import ADMIN_KEY, GatewayInProcess, open_in_process

in_gateway = pytest.mark.asyncio(loop_scope="module")
HOSTILE = """<img src=x onerror=alert(1)>"'</title><script>alert(2)</script>"""
ENDED_AT = datetime(2030, 1, 31, 8, 0, tzinfo=UTC).timestamp()


def outcome(**changes: Any) -> Outcome:
    told = {
        "request_id": "req-1",
        "client": "192.0.2.7",
        "key_id": "admin",
        "path": "/v1/chat/completions",
        "model": "llama",
        "server_id": None,
        "status": 200,
        "error_code": None,
        "stream": True,
        "attempts": 1,
        "duration_seconds": 1.25,
        "first_token_seconds": 0.5,
        "usage": Usage(12, 3400),
        "ended_at": ENDED_AT,
    }
    return Outcome(**(told | changes))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    async with open_in_process(tmp_path_factory.mktemp("activity")) as running:
        yield running


@asynccontextmanager
async def visiting(gateway: GatewayInProcess, key: str = ADMIN_KEY) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=gateway.app, client=("127.0.0.1", 50_000))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://gateway.example", headers={"accept": "text/html"}
    ) as client:
        assert (await client.post("/ui/sign-in", data={"key": key})).status_code == 303
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def admin(gateway: GatewayInProcess) -> AsyncIterator[httpx2.AsyncClient]:
    async with visiting(gateway) as client:
        yield client


async def make_key(gateway: GatewayInProcess, **fields: object) -> dict[str, Any]:
    answer = await gateway.client.post("/admin/keys", json={"name": "somebody", **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


# -------------------------------------------------------------------------------------------------- the address


def test_an_address_is_read_into_a_question():
    asked = Asked(
        {"show": "logs", "level": "WARNING", "text": " x ", "since": "2030-01-31", "component": "", "other": "y"}
    )
    query = log_query(asked, 50)
    assert (query.level, query.text, query.component, query.limit) == ("warning", "x", "", 50)
    assert query.since == datetime(2030, 1, 31, tzinfo=UTC)
    assert asked.is_narrowed
    assert asked.url(cursor="1.2.3") == "/ui/activity?show=logs&level=WARNING&text=x&since=2030-01-31&cursor=1.2.3"


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ({"show": "logs", "since": "yesterday", "until": "2030-13-01"}, {"since", "until"}),
        ({"show": "logs", "level": "loud"}, {"level"}),
        ({"show": "audit", "before": "-1"}, {"before"}),
        ({"status": "teapot"}, {"status"}),
        ({"before": "9" * 19}, {"before"}),
    ],
)
def test_what_is_wrong_is_told_at_its_field(parameters, wrong):
    asked = Asked(parameters)
    {"logs": log_query, "audit": audit_query}.get(asked.show, recent_query)(asked, 10)
    assert set(asked.errors) == wrong


@given(st.dictionaries(st.sampled_from(["show", "status", "level", "since", "before", "model", "text"]), st.text()))
def test_whatever_an_address_says_it_is_read(parameters):
    asked = Asked(parameters)
    for read in (recent_query, log_query, audit_query):
        read(asked, 10)
    assert asked.url().isascii()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", True), ("2030-01-31T08:00", True), ("2030-01-31T08:00:01.5", True), ("2030-01-31", False), ("x", False)],
)
def test_what_a_picker_of_dates_can_not_show_is_shown_as_text(text, shown):
    assert Asked({"show": "logs", "since": text}).is_for_picker("since") is shown


# ----------------------------------------------------------------------------------------------------- the rows


def recent_row(**changes: Any) -> RecentRow:
    told = {
        "number": 7, "ended_at": ENDED_AT, "request_id": "req-1", "key_id": "k", "key": "alice", "person": "",
        "path": "/v1/embeddings", "model": "m", "alias": "", "server_id": "s/1", "server": "box", "status": 200,
        "error_code": None, "stream": False, "attempts": 1, "continuations": 0, "prompt_tokens": 1,
        "completion_tokens": 2, "tokens_estimated": False, "duration_seconds": 0.1, "first_token_seconds": None,
        "is_own": True,
    }  # fmt: skip
    return RecentRow(**(told | changes))


def visitor(role: Role = Role.ADMIN) -> Any:
    return SimpleNamespace(
        principal=Principal("k", "somebody", role), is_owner=role is not Role.USER, is_operator=role is Role.ADMIN
    )


@pytest.mark.parametrize(
    ("status", "badge", "words"),
    [
        (200, "good", "200 answered"),
        (404, "warn", "404 refused"),
        (499, "calm", "499 client left"),
        (503, "bad", "503 failed"),
    ],
)
def test_a_status_is_told_in_a_word(status, badge, words):
    row = request_row(recent_row(status=status), visitor())
    assert (row["badge"], row["status"]) == (badge, words)


def test_a_request_is_told_with_links_for_those_who_may_follow_them():
    row = request_row(recent_row(alias="fast", attempts=2, continuations=1), visitor())
    assert row["model"] == "fast → m"
    assert row["tries"] == "2 tries, continued 1\N{MULTIPLICATION SIGN}"
    assert row["server_url"] == "/ui/servers/s%2F1"
    assert row["log_url"] == "/ui/activity?show=logs&request_id=req-1"
    as_user = request_row(recent_row(), visitor(Role.USER))
    assert (as_user["server_url"], as_user["log_url"], as_user["server"]) == ("", "", "box")
    assert set(row) == set(EMPTY_REQUEST_ROW)


def test_a_line_of_the_log_is_told():
    row = log_row(
        read_record(["2030-01-31T08:00:00.250Z ERROR    Broke a=1 request_id=r (x.y)", "    | one", "    | two"])
    )
    assert (row["clock"], row["level"], row["badge"]) == ("01-31 08:00:00.250", "Error", "bad")
    assert (row["fields"], row["detail"], row["detail_lines"]) == ("a=1", "one\ntwo", "2 more lines")
    assert row["request_url"] == "/ui/activity?show=logs&request_id=r"
    assert set(row) == set(EMPTY_LOG_ROW) == set(log_row(read_record(["garbage"])))


def test_a_change_tells_what_differs():
    entry = AuditEntry(
        at=datetime(2030, 1, 31, tzinfo=UTC), actor_id="admin", actor_name="operator", action="key.changed",
        object_kind="key", object_id="k 1", object_name="\u202ealice",
        before={"a": 1, "same": 2, "gone": "x"}, after={"a": [1], "same": 2, "empty": []},
    )  # fmt: skip
    row = change_row(AuditLine(3, entry))
    assert row.words == "Key changed"
    assert row.object_url == "/ui/keys/k%201"
    assert row.object_name == "�alice"
    assert row.changes == (("a", "1", "[1]"), ("gone", "x", "\N{EN DASH}"))


# ----------------------------------------------------------------------------------------------------- the page


@in_gateway
async def test_requests_are_shown_and_filtered_and_followed(
    gateway: GatewayInProcess, admin: httpx2.AsyncClient
) -> None:
    recent = gateway.app.state.recent
    recent.take([outcome(model="filtered-a"), outcome(model="filtered-b", status=503, error_code="unavailable")])
    text = (await admin.get("/ui/activity")).text
    assert "filtered-a" in text
    assert "503 failed" in text
    only = (await admin.get("/ui/activity?model=filtered-b&status=errors")).text
    assert 'data-newest="' in only
    newest = re.search(r'data-newest="(\d+)"', only)
    assert newest is not None
    assert "filtered-a</a>" not in only
    recent.take([outcome(model="filtered-b", status=500), outcome(model="filtered-b"), outcome(model="filtered-a")])
    told = (await admin.get(f"/ui/activity/new-requests?model=filtered-b&status=errors&after={newest[1]}")).json()
    assert [row["status"] for row in told["rows"]] == ["500 failed"]
    assert not told["is_anew"]
    again = (await admin.get(f"/ui/activity/new-requests?model=filtered-b&status=errors&after={told['newest']}")).json()
    assert again["rows"] == []


@in_gateway
async def test_a_gateway_that_counts_anew_is_followed_from_its_first_request(
    gateway: GatewayInProcess, admin: httpx2.AsyncClient
) -> None:
    gateway.app.state.recent.take([outcome(model="anew")])
    told = (await admin.get("/ui/activity/new-requests?model=anew&after=999999999")).json()
    assert told["is_anew"]
    assert [row["model"] for row in told["rows"]] == ["anew"]


@in_gateway
async def test_older_requests_are_on_further_pages(gateway: GatewayInProcess, admin: httpx2.AsyncClient) -> None:
    gateway.app.state.recent.take([outcome(model="paged", request_id=f"paged-{number}") for number in range(150)])
    seen: list[str] = []
    path: str | None = "/ui/activity?model=paged"
    while path is not None:
        text = (await admin.get(path)).text
        seen += re.findall(r">(paged-\d+)</a>", text)
        older = re.search(r'href="([^"]+)" rel="next"', text)
        path = html.unescape(older[1]) if older else None
    assert seen == [f"paged-{number}" for number in range(149, -1, -1)]


@in_gateway
async def test_users_see_their_own_requests_and_no_more(gateway: GatewayInProcess) -> None:
    made = await make_key(gateway, name="alice")
    gateway.app.state.recent.take([outcome(model="hers", key_id=made["id"]), outcome(model="somebody-elses")])
    async with visiting(gateway, made["key"]) as client:
        text = (await client.get("/ui/activity")).text
        assert "hers" in text
        assert "somebody-elses" not in text
        assert "show=logs" not in text
        for path in (
            "/ui/activity?show=logs",
            "/ui/activity?show=audit",
            "/ui/activity/new-lines?show=logs",
            "/ui/activity/audit.csv",
        ):
            refused = await client.get(path)
            assert refused.status_code == 403
            assert "admin key" in refused.text


@in_gateway
async def test_an_admin_of_a_group_reads_neither_log_nor_audit(gateway: GatewayInProcess) -> None:
    group = (await gateway.client.post("/admin/groups", json={"name": "lab"})).json()
    made = await make_key(gateway, role="admin", group=group["id"])
    async with visiting(gateway, made["key"]) as client:
        assert (await client.get("/ui/activity")).status_code == 200
        for show in ("logs", "audit"):
            assert (await client.get(f"/ui/activity?show={show}")).status_code == 403


@in_gateway
async def test_the_log_is_shown_filtered_and_followed(gateway: GatewayInProcess, admin: httpx2.AsyncClient) -> None:
    logger = get_logger("app.some.part")
    logger.warning("Something to find", words=HOSTILE)
    text = (await admin.get("/ui/activity?show=logs&text=something+to+FIND&level=warning&component=some.part")).text
    assert "Something to find" in text
    assert HOSTILE not in text
    assert html.escape("<img src=x onerror=alert(1)>") in text
    newest = re.search(r'data-newest="([^"]+)"', text)
    assert newest is not None
    logger.info("Something to find that is less severe")
    logger.error("Something to find again")
    path = f"/ui/activity/new-lines?show=logs&text=something+to+find&level=warning&after={newest[1]}"
    told = (await admin.get(path)).json()
    assert [row["text"] for row in told["rows"]] == ["Something to find again"]
    assert told["rows"][0]["badge"] == "bad"


@in_gateway
async def test_the_audit_is_shown_and_given_as_csv(gateway: GatewayInProcess, admin: httpx2.AsyncClient) -> None:
    made = await make_key(gateway, name="=HYPERLINK(1)")
    text = (await admin.get(f"/ui/activity?show=audit&object={made['id']}")).text
    assert "Key created" in text
    assert f"/ui/keys/{made['id']}" in text
    answer = await admin.get(f"/ui/activity/audit.csv?show=audit&object={made['id']}")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["cache-control"] == "no-store"
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["object_id"] == made["id"]
    assert row["action"] == "key.created"


@in_gateway
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/ui/activity?show=logs&since=yesterday", "Write a date like"),
        ("/ui/activity?show=logs&level=loud", "Choose one of the list"),
        ("/ui/activity?show=audit&until=x", "Write a date like"),
        ("/ui/activity?status=teapot", "Choose one of the list"),
        ("/ui/activity?before=x", "no place in the list"),
        ("/ui/activity?show=logs&cursor=nowhere", "is no place in the log"),
        ("/ui/activity/audit.csv?show=audit&since=x", "Write a date like"),
        ("/ui/activity/new-lines?show=logs&since=x", "Write a date like"),
    ],
)
async def test_what_can_not_be_read_is_told(admin: httpx2.AsyncClient, path: str, words: str) -> None:
    answer = await admin.get(path)
    assert answer.status_code == 422
    assert words in answer.text


@in_gateway
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/ui/activity?model=nothing", "No request like that"),
        ("/ui/activity?show=logs&text=nothing-like-that-is-there", "No line like that"),
        ("/ui/activity?show=audit&kind=nothing", "No change like that"),
        ("/ui/activity?show=else", "Requests"),
    ],
)
async def test_an_empty_list_says_what_to_do(admin: httpx2.AsyncClient, path: str, words: str) -> None:
    answer = await admin.get(path)
    assert answer.status_code == 200
    assert words in answer.text
