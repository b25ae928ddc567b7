"""What has changed since the last second, for those who look? Live data for pages, made only while somebody looks.

A topic is a function that gives the rows a principal may see, by id. Once a second each topic is asked once for each
key that looks at it, and what differs from the last time goes to all pages of that key. However many rows there are,
making them takes a twentieth of one core at most: the pause grows with what the last turn took.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from app.services.core.errors import TooMany, Unavailable
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from app.services.core.keys import Principal

    Topic = Callable[[Principal], Mapping[str, Any]]

__all__ = ["Feed", "Subscription"]

logger = get_logger(__name__)

TURN_SECONDS: Final = 1.0
HEARTBEAT_SECONDS: Final = 15.0
"""A comment that often keeps proxies from closing a stream in which nothing happens."""
_SHARE_OF_CORE: Final = 0.05
_MOST_WAITING: Final = 30
_MOST_OF_A_KEY: Final = 50
_MOST: Final = 500
_PING: Final = b": here\n\n"


class Subscription:
    """One page's stream of changes.

    Args:
        feed: where it comes from.
        who: whoever looks, asked at each turn; None once that ended, and the stream with it.
        topics: what it wants to hear of.
    """

    __slots__ = ("_blocks", "_feed", "_ready", "fresh", "is_open", "topics", "who")

    def __init__(self, feed: Feed, who: Callable[[], Principal | None], topics: frozenset[str]) -> None:
        self._feed = feed
        self._blocks: deque[bytes] = deque()
        self._ready = asyncio.Event()
        self.who = who
        self.topics = topics
        self.fresh = set(topics)
        """The topics of which it has to get everything at the next turn."""
        self.is_open = True

    def put(self, topic: str, block: bytes) -> None:
        """Hand it an event. One who reads too slowly gets everything anew instead."""
        if len(self._blocks) >= _MOST_WAITING:
            self._blocks.clear()
            self.fresh |= self.topics
        if topic not in self.fresh:
            self._blocks.append(block)
            self._ready.set()

    def put_first(self, topic: str, block: bytes) -> None:
        """Hand it all rows of a topic."""
        self.fresh.discard(topic)
        self._blocks.append(block)
        self._ready.set()

    def close(self) -> None:
        """End the stream."""
        self.is_open = False
        self._ready.set()

    async def stream(self) -> AsyncIterator[bytes]:
        """Give the stream as bytes, until it is closed or nobody reads it any more."""
        try:
            yield b"retry: 2000\n\n"
            while self.is_open or self._blocks:
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await self._ready.wait()
                except TimeoutError:
                    yield _PING
                    continue
                self._ready.clear()
                while self._blocks:
                    yield self._blocks.popleft()
        finally:
            self._feed.forget(self)


class Feed:
    """Compares and tells. Nothing is computed while nobody looks.

    Attributes:
        topics: by name; filled in by the composition root.
    """

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self._subscriptions: set[Subscription] = set()
        self._rows: dict[tuple[str, str], dict[str, bytes]] = {}
        self._wanted = asyncio.Event()
        self._is_closed = False

    @property
    def watchers(self) -> int:
        """How many pages look now."""
        return len(self._subscriptions)

    def watched(self, topic: str) -> bool:
        """Whether a page looks at a topic now."""
        return any(topic in subscription.topics for subscription in self._subscriptions)

    def subscribe(self, who: Callable[[], Principal | None], key_id: str, topics: Iterable[str]) -> Subscription:
        """Begin a stream.

        Args:
            who: whoever looks, asked at each turn.
            key_id: of whoever looks now.
            topics: what to hear of; unknown ones are left out.

        Raises:
            TooMany: this key, or all together, have too many pages open.
            Unavailable: it is closed, as the gateway drains.
        """
        if self._is_closed:
            raise Unavailable("The gateway is about to stop. Pages connect again by themselves.", retry_after_seconds=5)
        of_key = sum(1 for known in self._subscriptions if (seer := known.who()) and seer.key_id == key_id)
        if of_key >= _MOST_OF_A_KEY or len(self._subscriptions) >= _MOST:
            message = "Too many pages of the gateway are open. Close some of them; this one shows what it knows."
            raise TooMany(message, retry_after_seconds=30)
        subscription = Subscription(self, who, frozenset(topics) & self.topics.keys())
        self._subscriptions.add(subscription)
        self._wanted.set()
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """A page looks no more."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End all streams, and begin none: pages connect again, to whichever process serves then."""
        self._is_closed = True
        for subscription in tuple(self._subscriptions):
            subscription.close()

    async def run(self) -> None:
        """Turn for ever, once a second while somebody looks."""
        while True:
            if not self._subscriptions:
                self._rows.clear()
                self._wanted.clear()
                await self._wanted.wait()
            began = time.perf_counter()
            self.turn()
            took = time.perf_counter() - began
            await asyncio.sleep(max(TURN_SECONDS, took / _SHARE_OF_CORE))

    def turn(self) -> None:
        """Tell every page what changed for it since the last turn."""
        views: dict[tuple[str, str], tuple[Principal, list[Subscription]]] = {}
        for subscription in tuple(self._subscriptions):
            principal = subscription.who()
            if principal is None:
                subscription.close()
                self.forget(subscription)  # its reader may never read the end
                continue
            for topic in subscription.topics:
                views.setdefault((principal.key_id, topic), (principal, []))[1].append(subscription)
        self._rows = {view: rows for view, rows in self._rows.items() if view in views}
        for view, (principal, subscriptions) in views.items():
            self._tell(view, principal, subscriptions)

    def _tell(self, view: tuple[str, str], principal: Principal, subscriptions: list[Subscription]) -> None:
        topic = view[1]
        try:
            rows = {row_id: msgspec.json.encode(row) for row_id, row in self.topics[topic](principal).items()}
        except Exception:
            logger.exception("Live data of a topic could not be made", topic=topic)
            return
        before = self._rows.get(view, {})
        self._rows[view] = rows
        changed = {row_id: row for row_id, row in rows.items() if before.get(row_id) != row}
        gone = [row_id for row_id in before if row_id not in rows]
        news = _event(topic, changed, gone, first=False) if changed or gone else b""
        everything = b""
        for subscription in subscriptions:
            if topic in subscription.fresh:
                everything = everything or _event(topic, rows, [], first=True)
                subscription.put_first(topic, everything)
            elif news:
                subscription.put(topic, news)


def _event(topic: str, changed: Mapping[str, bytes], gone: list[str], *, first: bool) -> bytes:
    """Write an event (WHATWG HTML, 9.2); JSON has no raw line ends, so one data line holds it."""
    told = {"changed": {row_id: msgspec.Raw(row) for row_id, row in changed.items()}, "gone": gone, "first": first}
    return b"event: %b\ndata: %b\n\n" % (topic.encode(), msgspec.json.encode(told))
