"""Which processor cores for whom? The gateway has one to itself wherever there are two."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Cores", "bound_to", "choose_cores"]


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where; empty where nobody can be bound to a core.

    Attributes:
        gateway: for the gateway that is measured.
        load: for the load generator.
        upstreams: one for each upstream, or one for all.
    """

    gateway: tuple[int, ...] = ()
    load: tuple[int, ...] = ()
    upstreams: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        """How the cores are shared out, in a sentence."""
        if not self.gateway:
            return "Nobody is bound to a core, since this system can't do it or has one core only: times are rough."
        others = "share core" if self.load == self.upstreams else "have cores"
        numbers = ", ".join(str(core) for core in sorted({*self.load, *self.upstreams}))
        return f"The gateway has core {self.gateway[0]}; load generator and upstreams {others} {numbers}."


def choose_cores() -> Cores:
    """Share out the cores that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores()
    free = sorted(os.sched_getaffinity(0))
    if len(free) == 1:
        return Cores()
    upstreams = free[:1] if len(free) == 2 else free[1:-1][:2]
    return Cores((free[-1],), (free[0],), tuple(upstreams))


@contextmanager
def bound_to(cores: tuple[int, ...]) -> Iterator[None]:
    """Bind this process to cores for a while; none: leave it as it is."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
