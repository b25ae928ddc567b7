"""How long does a simulated model server take? One with places, a queue, and a cache of prompts that overflows.

Prompts are read one at a time, in order, as fast as the prefill goes, less what the cache has of them; answers are made
side by side. The cache keeps blocks, and overwrites those that were used least recently, the ends of prompts first.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.stickiness.trace import BLOCK_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stickiness.trace import Turn

__all__ = ["PrefixCache", "SimulatedServer", "Speed", "Started"]


@dataclass(frozen=True, slots=True)
class Speed:
    """What a server can do.

    Attributes:
        prefill_tokens_a_second: how fast it reads prompts.
        decode_tokens_a_second: how fast it makes each answer.
        places: how many requests it computes at once.
        cache_tokens: how much its cache holds.
    """

    prefill_tokens_a_second: float = 4000.0
    decode_tokens_a_second: float = 40.0
    places: int = 8
    cache_tokens: int = 300_000

    def times(self, factor: float) -> Speed:
        """So many times as fast."""
        return Speed(
            self.prefill_tokens_a_second * factor,
            self.decode_tokens_a_second * factor,
            self.places,
            self.cache_tokens,
        )


@dataclass(frozen=True, slots=True)
class Started:
    """A request that got its place: when its first token comes, when its last, and how much of it was cached."""

    turn: Turn
    first_token_at: float
    ends_at: float
    warm_tokens: int


class PrefixCache:
    """Blocks, least recently used first."""

    __slots__ = ("_blocks", "_most")

    def __init__(self, most_tokens: int) -> None:
        self._most = most_tokens // BLOCK_TOKENS
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def warm(self, blocks: Sequence[int]) -> int:
        """How many of the first blocks are there, in a row."""
        for count, block in enumerate(blocks):
            if block not in self._blocks:
                return count
        return len(blocks)

    def add(self, blocks: Sequence[int]) -> None:
        """Keep these; the first one longest."""
        for block in reversed(blocks):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)


@dataclass(slots=True)
class SimulatedServer:
    """One model server. ``in_flight`` counts those that wait in its queue too."""

    speed: Speed
    in_flight: int = 0
    requests: int = 0
    busy_seconds: float = 0.0
    """Seconds of places in use: for reading what was not cached, and for making answers."""
    _cache: PrefixCache = field(init=False)
    _queue: deque[Turn] = field(default_factory=deque)
    _running: int = 0
    _prefill_free_at: float = 0.0

    def __post_init__(self) -> None:
        """Make its cache."""
        self._cache = PrefixCache(self.speed.cache_tokens)

    def take(self, turn: Turn) -> None:
        """Let a request in; ``start`` gives it a place."""
        self.in_flight += 1
        self.requests += 1
        self._queue.append(turn)

    def start(self, now: float) -> list[Started]:
        """Give places to those that wait, as far as there are any."""
        started = []
        while self._queue and self._running < self.speed.places:
            started.append(self._start(self._queue.popleft(), now))
        return started

    def end(self, turn: Turn) -> None:
        """End a request: its place is free, and its answer is in the cache too."""
        self._cache.add(turn.blocks)
        self._running -= 1
        self.in_flight -= 1

    def _start(self, turn: Turn, now: float) -> Started:
        self._running += 1
        warm_tokens = self._cache.warm(turn.prompt_blocks) * BLOCK_TOKENS
        self._cache.add(turn.prompt_blocks)
        prefill_seconds = (turn.prompt_tokens - warm_tokens) / self.speed.prefill_tokens_a_second
        decode_seconds = turn.answer_tokens / self.speed.decode_tokens_a_second
        self._prefill_free_at = max(now, self._prefill_free_at) + prefill_seconds
        self.busy_seconds += prefill_seconds + decode_seconds
        return Started(turn, self._prefill_free_at, self._prefill_free_at + decode_seconds, warm_tokens)
