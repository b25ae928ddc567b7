"""What does affinity cost: time for each call, and memory when its index is full?"""

from __future__ import annotations

import sys
import time
import tracemalloc
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

from app.services.core.affinity import Affinity
from app.services.core.affinity.index import MOST_BLOCKS, MOST_BLOCKS_A_SERVER, Index
from app.services.core.affinity.trail import make_trail

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["deep_size", "full_index", "measure_costs"]

_SIZES: Final = (1_100, 4_000, 30_000, 120_000, 1_000_000)
_SERVERS: Final = (10, 1000)
_TRAIL_BLOCKS: Final = 300


def measure_costs() -> dict[str, float]:
    """Measure each call in microseconds: the best of a few rounds."""
    found = {}
    random = Random(1)
    bodies = {size: b'{"model":"m","messages":[' + random.randbytes(size // 2).hex().encode() for size in _SIZES}
    for size, body in bodies.items():
        found[f"trail of {size / 1000:g} KB"] = _microseconds(partial(make_trail, "m", body))
    for count in _SERVERS:
        servers = [f"server-{number}" for number in range(count)]
        affinity, body = Affinity(), bodies[120_000]
        trail = make_trail("m", body)
        for number, server_id in enumerate(servers):
            affinity.ended(server_id, affinity.went(trail[: 20 + number % 200], None, server_id, 1.0), 1.0)
        affinity.went(trail, None, servers[0], 1.0)
        found[f"homes of 120 KB, {count} servers"] = _microseconds(
            partial(affinity.homes, "m", body, None, 2.0, servers)
        )
        found[f"went of 120 KB that it knows, {count} servers"] = _microseconds(
            partial(affinity.went, trail, None, servers[0], 2.0)
        )
    found[f"record of {_TRAIL_BLOCKS} new blocks"] = _recording()
    return found


def full_index() -> dict[str, float]:
    """Fill an index to its bound: blocks, bytes, and how long recordings of new blocks take then, in microseconds."""
    random = Random(2)
    tracemalloc.start()
    before, _peak = tracemalloc.get_traced_memory()
    index = Index()
    servers = MOST_BLOCKS // MOST_BLOCKS_A_SERVER
    for _trail in range(2 * MOST_BLOCKS // _TRAIL_BLOCKS):
        blocks = tuple(random.getrandbits(60) for _block in range(_TRAIL_BLOCKS))
        index.record(blocks, f"server-{random.randrange(servers)}", 0.0)
    used, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    taken = []
    for _trail in range(2000):
        blocks = tuple(random.getrandbits(60) for _block in range(_TRAIL_BLOCKS))
        began = time.perf_counter()
        index.record(blocks, f"server-{random.randrange(servers)}", 0.0)
        taken.append(time.perf_counter() - began)
    taken.sort()
    record = {"record p50 us": taken[len(taken) // 2] * 1e6, "record longest us": taken[-1] * 1e6}
    return {"blocks": len(index), "bytes": used - before, **record}


def deep_size(root: Any) -> int:
    """Add up ``sys.getsizeof`` of all that hangs on a value, each once: containers, slots and attributes."""
    seen: set[int] = set()
    waiting, total = [root], 0
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, type):
            continue
        seen.add(id(value))
        total += sys.getsizeof(value)
        if isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, (list, tuple, set, frozenset)):
            waiting += value
        else:
            slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
            waiting += [getattr(value, name) for name in slots if hasattr(value, name)]
            waiting += vars(value).values() if hasattr(value, "__dict__") else ()
    return total


def _recording() -> float:
    random = Random(3)
    index = Index()
    trails = [tuple(random.getrandbits(60) for _block in range(_TRAIL_BLOCKS)) for _trail in range(200)]
    best = float("inf")
    for number, trail in enumerate(trails):
        began = time.perf_counter()
        index.record(trail, f"server-{number % 4}", 0.0)
        best = min(best, time.perf_counter() - began)
    return best * 1e6


def _microseconds(call: Callable[[], object]) -> float:
    best = float("inf")
    for _round in range(5):
        count = 0
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < 0.02:
            call()
            count += 1
        best = min(best, passed / count)
    return best * 1e6
