"""What goes wrong, on which engine, and when? A table of faults, and the timetable that a seed makes of each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

__all__ = ["FAULTS", "Deed", "Fault", "Hit", "timetable"]

_FIRST_SECONDS = 1.0


class Deed(StrEnum):
    """What is done to an engine. The last five are words of `bench.churn.delivery.Behaviour`."""

    KILL = "SIGKILL"
    START = "start anew"
    STOP = "SIGSTOP"
    GO_ON = "SIGCONT"
    REPLACE = "SIGKILL and start anew"
    DROP = "drop its packets"
    RELEASE = "SIGKILL, let packets pass, start anew"
    RESET = "reset"
    EOF = "eof"
    ERROR = "error"
    DRIP = "drip"
    STEADY = "steady"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail.

    Attributes:
        name: as ``--fault`` takes it.
        title: for people, in full.
        begins: what is done to an engine.
        ends: what is done to it afterwards.
        every_seconds: how often one begins.
        lasts_seconds: how long it lasts.
        victims: how many engines at once.
        breaks: whether answers under way are lost with it, so that only a continuation makes them whole.
        is_gradual: whether they are lost one by one while it lasts, and not all at its beginning.
        same: whether it always hits the same engine.
        in_namespace: whether it takes a network of its own.
    """

    name: str
    title: str
    begins: Deed
    ends: Deed
    every_seconds: float
    lasts_seconds: float
    victims: int = 1
    breaks: bool = True
    is_gradual: bool = False
    same: bool = False
    in_namespace: bool = False


FAULTS = (
    Fault("calm", "nothing fails", Deed.STEADY, Deed.STEADY, 3600, 1, victims=0, breaks=False),
    Fault("kill", "kill -9 of one engine of four every 3 s, back after 4 s", Deed.KILL, Deed.START, 3, 4),
    Fault("stop", "SIGSTOP of one of four every 10 s; killed and back after 20 s", Deed.STOP, Deed.REPLACE, 10, 20),
    Fault("reset", "resets behind half an event, 2 s long, every 4 s", Deed.RESET, Deed.STEADY, 4, 2, is_gradual=True),
    Fault("stall", "one engine hangs for 8 s, every 10 s, and goes on", Deed.STOP, Deed.GO_ON, 10, 8, breaks=False),
    Fault("drip", "24 bytes every 20 ms, 2 s long, every 4 s", Deed.DRIP, Deed.STEADY, 4, 2, breaks=False),
    Fault(
        "error", "errors under status 200, at once or in the middle, 2 s long, every 4 s",
        Deed.ERROR, Deed.STEADY, 4, 2, is_gradual=True,
    ),
    Fault("eof", "answers end without a reason, 2 s long, every 4 s", Deed.EOF, Deed.STEADY, 4, 2, is_gradual=True),
    Fault("flap", "one engine dies each second second, and is back after one", Deed.KILL, Deed.START, 2, 1, same=True),
    Fault("half", "kill -9 of two of four at once every 6 s, back after 4 s", Deed.KILL, Deed.START, 6, 4, victims=2),
    Fault(
        "drop", "all packets from one of four are dropped, every 10 s; killed and back after 20 s",
        Deed.DROP, Deed.RELEASE, 10, 20, in_namespace=True,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hit:
    """One engine is hit: from when until when, counted from the start of the run."""

    slot: int
    begins_seconds: float
    ends_seconds: float


def timetable(fault: Fault, seconds: float, slots: int, random: Random) -> list[Hit]:
    """When which engine is hit in a run of so many seconds. An engine that is down is not hit again; one always stands.

    Args:
        fault: what goes wrong.
        seconds: how long requests arrive.
        slots: how many engines there are.
        random: chooses among them.
    """
    hits: list[Hit] = []
    moment = _FIRST_SECONDS
    while moment < seconds and fault.victims:
        down = {hit.slot for hit in hits if hit.ends_seconds + _SETTLE_SECONDS > moment}
        standing = [slot for slot in range(slots) if slot not in down]
        count = min(fault.victims, len(standing) - 1)
        chosen = standing[:count] if fault.same else random.sample(standing, max(0, count))
        hits += [Hit(slot, moment, moment + fault.lasts_seconds) for slot in sorted(chosen)]
        moment += fault.every_seconds
    return hits


_SETTLE_SECONDS = 0.5
"""An engine that is back is left in peace for so long, since its process takes a moment to start."""
