"""Live data: everything once, then what changed, to those who may see it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.services.core.errors import TooMany, Unavailable
from app.services.core.keys import Principal, Role
from app.services.feed import Feed, Subscription

ADMIN = Principal("admin", "operator", Role.ADMIN)
OWNER = Principal("o", "owner", Role.OWNER)


class Pool:
    """Rows that a test changes; an owner sees those that begin with its id."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {"o-1": {"state": "healthy"}, "x-1": {"state": "healthy"}}
        self.asked = 0

    def topic(self, principal: Principal) -> dict[str, Any]:
        self.asked += 1
        return {name: row for name, row in self.rows.items() if principal is ADMIN or name.startswith(principal.key_id)}


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def feed(pool: Pool) -> Feed:
    feed = Feed()
    feed.topics["servers"] = pool.topic
    return feed


def look(feed: Feed, principal: Principal | None = ADMIN, topics: tuple[str, ...] = ("servers",)) -> Subscription:
    return feed.subscribe(lambda: principal, "admin", topics)


async def heard(subscription: Subscription) -> list[dict[str, Any]]:
    """What waits for a page now; it closes the stream."""
    subscription.close()
    blocks = [block async for block in subscription.stream()]
    events = [block.decode() for block in blocks if block.startswith(b"event:")]
    return [json.loads(event.split("data: ", 1)[1]) for event in events]


async def test_a_page_gets_everything_first_and_then_what_changed(feed: Feed, pool: Pool):
    page = look(feed)
    feed.turn()
    feed.turn()
    pool.rows["x-1"] = {"state": "unhealthy"}
    pool.rows["new"] = {"state": "unknown"}
    del pool.rows["o-1"]
    feed.turn()
    everything, news = await heard(page)
    assert everything == {
        "changed": {"o-1": {"state": "healthy"}, "x-1": {"state": "healthy"}},
        "gone": [],
        "first": True,
    }
    assert news == {
        "changed": {"x-1": {"state": "unhealthy"}, "new": {"state": "unknown"}},
        "gone": ["o-1"],
        "first": False,
    }


async def test_each_sees_what_its_key_may_see(feed: Feed):
    admins, owners = look(feed), look(feed, OWNER)
    feed.turn()
    assert set((await heard(admins))[0]["changed"]) == {"o-1", "x-1"}
    assert set((await heard(owners))[0]["changed"]) == {"o-1"}


async def test_pages_of_one_key_are_made_together(feed: Feed, pool: Pool):
    pages = [look(feed) for _ in range(10)]
    feed.turn()
    assert pool.asked == 1
    assert [len(await heard(page)) for page in pages] == [1] * 10


async def test_one_who_comes_later_gets_everything_too(feed: Feed, pool: Pool):
    early = look(feed)
    feed.turn()
    late = look(feed)
    feed.turn()
    assert len(await heard(early)) == 1
    assert set((await heard(late))[0]["changed"]) == {"o-1", "x-1"}


async def test_one_who_reads_too_slowly_gets_everything_anew(feed: Feed, pool: Pool):
    page = look(feed)
    for number in range(40):
        pool.rows["x-1"] = {"state": str(number)}
        feed.turn()
    events = await heard(page)
    assert len(events) <= 31
    assert any(event["first"] for event in events)
    assert events[-1]["changed"]["x-1"] == {"state": "39"}


async def test_a_stream_ends_with_the_sign_in(feed: Feed):
    seer = [ADMIN]
    page = feed.subscribe(lambda: seer[0] if seer else None, "admin", ["servers"])
    feed.turn()
    seer.clear()
    feed.turn()
    assert not page.is_open
    blocks = [block async for block in page.stream()]
    assert blocks[0].startswith(b"retry:")
    assert feed.watchers == 0


async def test_one_who_never_reads_the_end_counts_no_more(feed: Feed):
    seer = [ADMIN]
    for _ in range(50):
        feed.subscribe(lambda: seer[0] if seer else None, "admin", ["servers"])
    seer.clear()
    feed.turn()
    assert feed.watchers == 0
    assert not feed.watched("servers")


async def test_a_topic_that_fails_is_logged_and_the_others_go_on(feed: Feed):
    def broken(_principal: Principal) -> dict[str, Any]:
        raise ZeroDivisionError

    feed.topics["broken"] = broken
    page = look(feed, topics=("broken", "servers"))
    with capture_logs() as told:
        feed.turn()
    assert len(await heard(page)) == 1
    assert [(line["event"], line["topic"]) for line in told] == [("Live data of a topic could not be made", "broken")]


async def test_unknown_topics_are_left_out(feed: Feed):
    page = look(feed, topics=("servers", "secrets", ""))
    assert page.topics == {"servers"}
    assert feed.watched("servers")
    assert not feed.watched("secrets")


async def test_a_key_has_fifty_pages_at_most(feed: Feed):
    pages = [look(feed) for _ in range(50)]
    with pytest.raises(TooMany, match="Close some of them"):
        look(feed)
    feed.forget(pages[0])
    look(feed)


async def test_while_the_gateway_drains_nobody_comes_in(feed: Feed):
    page = look(feed)
    feed.close()
    assert not page.is_open
    with pytest.raises(Unavailable, match="about to stop"):
        look(feed)


async def test_nothing_is_made_while_nobody_looks(feed: Feed, pool: Pool):
    running = asyncio.create_task(feed.run())
    await asyncio.sleep(0)
    assert pool.asked == 0
    page = look(feed)
    blocks = page.stream()
    await anext(blocks)
    assert b"event: servers" in await anext(blocks)
    feed.close()
    assert [block async for block in blocks] == []
    assert feed.watchers == 0
    running.cancel()


async def test_what_is_hostile_stays_within_its_event(feed: Feed, pool: Pool):
    pool.rows = {"o\n\nevent: x": {"reason": "</script>\r\n\r\nevent: servers\ndata: {}"}}
    page = look(feed)
    feed.turn()
    page.close()
    blocks = [block async for block in page.stream()][1:]
    assert len(blocks) == 1
    assert blocks[0].count(b"\n") == 3
    assert b"\r" not in blocks[0]
