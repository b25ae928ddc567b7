"""What the first page says of the pool reads well, and says to each role no more than it may know."""

from __future__ import annotations

import pytest

from app.routers.dashboard.overview_rows import (
    NOW,
    now_of,
    overview_topic,
    series_data,
    share_in_words,
    table_of,
)
from app.routers.dashboard.server_standing import STATES
from app.services.core.people.principal import Principal, Role
from app.services.core.reporting.series import POOL, SPANS, Bucket, History
from app.services.registry.specification import ServerSpec
from tests.fakes.api import Api
from tests.fakes.registry import ADMIN, OWNER, USER
from tests.unit.routers.test_stats import Here

THIN = "\N{NARROW NO-BREAK SPACE}"


@pytest.fixture
def here(api: Api) -> Here:
    return Here(api)


async def test_an_operator_is_told_of_the_pool(here: Here) -> None:
    registry = here.api.world.registry
    mine = await registry.register(ADMIN, ServerSpec("http://10.0.0.5:8000"))
    other = await registry.register(OWNER, ServerSpec("http://10.0.0.6:8000"))
    await registry.pause(OWNER, other.id, reason="rehearsal")
    here.serve(mine.id, 20)
    here.serve(mine.id, 5, status=502)
    here.pass_by(10)
    told = now_of(here.api.gateway, here.traffic, here.happenings, ADMIN)
    assert told["total"] == 2
    assert list(told["states"]) == list(STATES)
    assert {state: number for state, number in told["states"].items() if number} == {"healthy": 1, "paused": 1}
    figures = told["figures"]
    assert (figures["serving"], figures["servers"], figures["models_available"], figures["models"]) == (
        "1",
        "2",
        "1",
        "1",
    )
    assert (figures["requests_rate"], figures["tokens_rate"], figures["queued"]) == ("2.5", "25.0", "3")
    assert (figures["errors"], figures["requests"], figures["errors_share"]) == ("5", "25", f"20{THIN}%")
    assert figures["first_token_p50"].endswith(f"{THIN}ms")
    newest = told["news"][0]
    assert (newest["name"], newest["words"], newest["tone"]) == ("10.0.0.6:8000", " was paused: rehearsal.", "info")
    assert newest["url"] == f"/ui/servers/{other.id}"
    assert told["news"][-1]["words"] == "The gateway started."


async def test_a_server_that_is_gone_is_named_without_a_link(here: Here) -> None:
    registry = here.api.world.registry
    record = await registry.register(ADMIN, ServerSpec("http://10.0.0.5:8000"))
    here.pass_by(1)
    await registry.remove(ADMIN, record.id)
    here.pass_by(1)
    news = now_of(here.api.gateway, here.traffic, here.happenings, ADMIN)["news"]
    assert [(one["url"], one["words"]) for one in news[:2]] == [
        ("", "10.0.0.5:8000 was removed."),
        ("", "10.0.0.5:8000 was registered."),
    ]


async def test_the_topic_tells_an_owner_its_own_and_a_user_nothing(here: Here) -> None:
    await here.api.world.registry.register(ADMIN, ServerSpec("http://10.0.0.5:8000"))
    here.pass_by(10)
    topic = overview_topic(here.api.gateway, here.traffic, here.happenings)
    assert topic(USER) == {}
    own = topic(OWNER)[NOW]
    assert (own["total"], own["news"], own["figures"]["queued"]) == (0, [], "\N{EN DASH}")
    assert topic(ADMIN)[NOW]["total"] == 1
    assert topic(Principal("boss", "", Role.ADMIN, group="lab"))[NOW]["total"] == 0


def test_a_table_tells_what_the_charts_draw_the_newest_first() -> None:
    history, now = History(), 1_900_000_000.0
    bucket = Bucket(10.0, 2)
    bucket.requests, bucket.errors, bucket.prompt_tokens, bucket.first_tokens = 40, 1, 200_000, [0] * 5 + [8] + [0] * 11
    history.add(POOL, now - 5, bucket)
    series = history.series(SPANS["15m"], {POOL}, now, 6)
    rows = table_of(series)
    time, texts = rows[0]
    assert time % 60 == 0
    assert texts == ["4.0", f"20{THIN}k", "0", f"2.5{THIN}%", "0", "2", f"175{THIN}ms", f"242{THIN}ms"]
    assert set(rows[-1][1]) == {"\N{EN DASH}"}
    data = series_data(series)
    assert (data["step_seconds"], len(data["times"])) == (60, len(rows))
    assert data["requests_per_second"][-1] == 4.0


@pytest.mark.parametrize(
    ("share", "words"),
    [(None, "\N{EN DASH}"), (0.0, f"0{THIN}%"), (0.004, f"0.4{THIN}%"), (0.256, f"26{THIN}%"), (1.0, f"100{THIN}%")],
)
def test_a_share_is_told_in_percent(share: float | None, words: str) -> None:
    assert share_in_words(share) == words
