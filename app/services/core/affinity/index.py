"""Which server saw this beginning of a prompt? An index of blocks, bounded in memory, that forgets by itself.

Each server has two generations of blocks, a young one and an old one. What is sent to it goes into the young one, as a
whole trail from its first block on. When the young one is full, or a quarter of an hour old, it becomes the old one,
and the old one is forgotten. So a busy server's last 8,192 blocks are remembered, and at most 16,384. The least
recently used go first, and no request ever pays for a sweep: forgotten blocks are removed a few at a time.

A mark stands for all the blocks before it, so whoever knows a mark knows what leads to it, and the longest known part
is found by halving. Each generation holds whole beginnings, which makes the halving exact; where a block is missing in
the middle all the same (one is kept for 16 servers at most), it finds less than there is, and nothing else happens.

Who knows a block is written as a text with one letter for each generation: Python's collector of garbage does not look
into tables of numbers and texts, and would hold up everything each time it went through a full index of other things.

What a server was not sent for half an hour counts for nothing: by then an engine that swaps models has put the model
out of memory (Ollama after 5 minutes), and a busy one has overwritten what it had in its cache.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Sequence

    from app.services.core.affinity.trail import Trail

__all__ = ["FRESH_SECONDS", "MOST_BLOCKS", "MOST_BLOCKS_A_SERVER", "MOST_SERVERS_A_BLOCK", "Index"]

MOST_BLOCKS_A_SERVER: Final = 16_384
MOST_BLOCKS: Final = 1_048_576
"""All servers' together; a block that two servers know counts twice."""
MOST_SERVERS_A_BLOCK: Final = 16
FRESH_SECONDS: Final = 1800.0
"""A generation that nothing was added to for so long counts for nothing."""
_GENERATION_SECONDS: Final = FRESH_SECONDS / 2
_REMOVED_AT_LEAST: Final = 64
_SHARED_BLOCKS: Final = (64, 32, 16)
_SHELVES: Final = 64
"""The table is kept in so many parts: Python makes a table anew when it has grown, and a million entries take long."""


class _Generation:
    """Blocks that one server was sent in one stretch of time. ``letter`` stands for it as long as it has any."""

    __slots__ = ("began_at", "blocks", "last_at", "letter", "server_id")

    def __init__(self, server_id: str, letter: str, now: float) -> None:
        self.server_id = server_id
        self.letter = letter
        self.began_at = self.last_at = now
        self.blocks = array("q")


class _Memory:
    """What one server was sent."""

    __slots__ = ("old", "young")

    def __init__(self, young: _Generation) -> None:
        self.young = young
        self.old: _Generation | None = None


class Index:
    """Blocks by server. Times are monotonic seconds.

    Args:
        most_blocks: bound of all together.
        most_blocks_a_server: bound of one; less where many servers share ``most_blocks``.
    """

    __slots__ = ("_forgotten", "_generations", "_kept", "_letters", "_most", "_most_each", "_servers", "_shelves")

    def __init__(self, most_blocks: int = MOST_BLOCKS, most_blocks_a_server: int = MOST_BLOCKS_A_SERVER) -> None:
        self._most = most_blocks
        self._most_each = most_blocks_a_server
        self._shelves: tuple[dict[int, str], ...] = tuple({} for _shelf in range(_SHELVES))
        self._generations: dict[str, _Generation] = {}  # by letter
        self._letters: list[str] = []  # that were used and are free again
        self._servers: dict[str, _Memory] = {}  # in the order of their last use
        self._forgotten: list[_Generation] = []
        self._kept = 0

    def __len__(self) -> int:
        """How many blocks are kept, those among them that are forgotten and not removed yet."""
        return self._kept

    def knowing(self, trail: Trail, now: float, most: int) -> list[tuple[str, int]]:
        """Name the servers that know the most of a trail.

        Args:
            trail: what is to be known.
            now: monotonic seconds.
            most: how many are asked for.

        Returns:
            Ids with the number of first blocks that each knows, most first; of those that know as much, who was sent
            it last.
        """
        found: list[tuple[str, int]] = []
        named: set[str] = set()
        since = now - FRESH_SECONDS
        depth = len(trail)
        while len(found) < most:
            depth = self._deepest(trail, depth, since, named)
            if depth == 0:
                break
            for letter in self._holders(trail[depth - 1]):
                generation = self._generations[letter]
                if generation.last_at >= since and generation.server_id not in named:
                    named.add(generation.server_id)
                    found.append((generation.server_id, depth))
        return found[:most]

    def sharing(self, trail: Trail, now: float) -> dict[str, int]:
        """Tell who knows a part of a trail, and roughly how much: at least so many first blocks.

        Looked at are the end, the middle, and what a system prompt of 4, 2 and 1 KiB takes.
        """
        found: dict[str, int] = {}
        since = now - FRESH_SECONDS
        for depth in (len(trail), len(trail) // 2, *_SHARED_BLOCKS):
            if 0 < depth <= len(trail):
                for letter in self._holders(trail[depth - 1]):
                    generation = self._generations[letter]
                    if generation.last_at >= since and found.get(generation.server_id, 0) < depth:
                        found[generation.server_id] = depth
        return found

    def record(self, trail: Trail, server_id: str, now: float) -> int:
        """Note that a server is sent this trail.

        Returns:
            How many of its first blocks the server knew before.
        """
        memory = self._servers.pop(server_id, None) or _Memory(self._new_generation(server_id, now))
        self._servers[server_id] = memory
        most = max(min(self._most_each, self._most // len(self._servers)) // 2, 1)
        if len(trail) > most:
            trail = trail[:most]
        kept = self._depth_in(memory.young, trail, 0) if memory.young.last_at >= now - FRESH_SECONDS else 0
        known = kept
        if memory.old is not None and memory.old.last_at >= now - FRESH_SECONDS:
            known = self._depth_in(memory.old, trail, kept)
        is_full = len(memory.young.blocks) + len(trail) - kept > most
        if is_full or now - memory.young.began_at >= _GENERATION_SECONDS:
            self._turn(memory, server_id, now)
            kept = 0
        new = trail[kept:]
        self._add(memory.young, new)
        memory.young.last_at = now
        self._remove(len(new) + _REMOVED_AT_LEAST)
        self._make_room()
        return known

    def forget(self, server_id: str) -> None:
        """Forget what a server was sent, for it lost its memory or is gone."""
        memory = self._servers.pop(server_id, None)
        if memory is not None:
            self._retire(memory.young)
            self._retire(memory.old)

    def keep(self, server_ids: Container[str]) -> None:
        """Forget all other servers."""
        for server_id in [known for known in self._servers if known not in server_ids]:
            self.forget(server_id)

    # -- search

    def _deepest(self, trail: Trail, most: int, since: float, named: Collection[str]) -> int:
        """How many first blocks somebody knows who was not named, by halving between 0 and ``most``."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            if self._has_other(self._holders(trail[middle - 1]), since, named):
                low = middle
            else:
                high = middle - 1
        return low

    def _depth_in(self, generation: _Generation, trail: Trail, least: int) -> int:
        """How many first blocks a generation holds, by halving between ``least`` and all."""
        low, high = least, len(trail)
        while low < high:
            middle = (low + high + 1) // 2
            if generation.letter in self._holders(trail[middle - 1]):
                low = middle
            else:
                high = middle - 1
        return low

    def _has_other(self, holders: str, since: float, named: Collection[str]) -> bool:
        generations = self._generations
        for letter in holders:
            generation = generations[letter]
            if generation.last_at >= since and generation.server_id not in named:
                return True
        return False

    def _holders(self, block: int) -> str:
        return self._shelves[block % _SHELVES].get(block, "")

    # -- memory

    def _add(self, young: _Generation, new: Sequence[int]) -> None:
        """Add blocks. Neighbours mostly have the same holders, and then share one text of them."""
        shelves, alone = self._shelves, young.letter
        last, joined = "", alone
        for block in new:
            shelf = shelves[block % _SHELVES]
            before = shelf.get(block)
            if before is None:
                shelf[block] = alone
                continue
            if before is not last:
                last, joined = before, self._join(young, before)
            shelf[block] = joined
        young.blocks.extend(new)
        self._kept += len(new)

    def _join(self, young: _Generation, before: str) -> str:
        """Put a generation before the others, without its server's former ones and those that are forgotten."""
        others = [
            letter
            for letter in before
            if self._generations[letter].server_id != young.server_id and self._generations[letter].last_at > -math.inf
        ]
        return young.letter + "".join(others[: MOST_SERVERS_A_BLOCK - 1]) if others else young.letter

    def _new_generation(self, server_id: str, now: float) -> _Generation:
        letter = self._letters.pop() if self._letters else chr(len(self._generations))
        generation = self._generations[letter] = _Generation(server_id, letter, now)
        return generation

    def _turn(self, memory: _Memory, server_id: str, now: float) -> None:
        self._retire(memory.old)
        memory.old = memory.young
        memory.young = self._new_generation(server_id, now)

    def _retire(self, generation: _Generation | None) -> None:
        """Forget a generation: it counts for nothing from here on, and is removed by and by."""
        if generation is not None:
            generation.last_at = -math.inf
            self._forgotten.append(generation)

    def _remove(self, most: int) -> None:
        """Remove so many blocks of forgotten generations."""
        while most > 0 and self._forgotten:
            generation = self._forgotten[-1]
            count = min(most, len(generation.blocks))
            self._drop(generation.blocks[-count:] if count else (), generation.letter)
            del generation.blocks[len(generation.blocks) - count :]
            self._kept -= count
            most -= count
            if not generation.blocks:
                self._forgotten.pop()
                del self._generations[generation.letter]
                self._letters.append(generation.letter)

    def _drop(self, blocks: Iterable[int], letter: str) -> None:
        """Take a letter from these blocks; one that nobody else knows is gone."""
        shelves = self._shelves
        for block in blocks:
            shelf = shelves[block % _SHELVES]
            before = shelf.get(block, "")
            if before == letter:
                del shelf[block]
            elif letter in before:
                others = before.replace(letter, "")
                shelf[block] = self._generations[others].letter if len(others) == 1 else others  # one text for all

    def _make_room(self) -> None:
        """Keep the bound of all together: whoever was used least recently loses its old generation, then all."""
        while self._kept > self._most:
            if not self._forgotten:
                server_id, memory = next(iter(self._servers.items()))
                if memory.old is None:
                    self.forget(server_id)
                else:
                    self._retire(memory.old)
                    memory.old = None
            self._remove(self._kept - self._most)
