"""What is known after a churn benchmark? Counts for each gateway, fault and kind of request, and times."""

from __future__ import annotations

import msgspec

from bench.results import Machine

__all__ = ["ChurnResults", "Spread", "Tally", "Trial"]


class Spread(msgspec.Struct, frozen=True):
    """Times in milliseconds: how many, their middle, their 99th hundredth, and the longest."""

    count: int
    p50_ms: float
    p99_ms: float
    most_ms: float


class Tally(msgspec.Struct, frozen=True):
    """One kind of request: how many were asked, and what became of them.

    Attributes:
        kind: its name.
        asked: how many requests.
        first: by fate, of a client that never asks again.
        last: by fate, of one that asks twice more, as openai-python does.
        first_5xx: how many of the first were answered by 500 or above, ``last_5xx`` of the last.
    """

    kind: str
    asked: int
    first: dict[str, int]
    last: dict[str, int]
    first_5xx: int = 0
    last_5xx: int = 0


class Trial(msgspec.Struct, frozen=True):
    """One gateway under one fault.

    Attributes:
        gateway: its name; ``fault`` the fault's.
        rate: requests a second, on average; ``seconds`` for so long; ``seed`` of all chance.
        hits: how many engines were hit.
        ceiling: the share of streams that could be exact without continuation.
        tallies: by kind.
        seams: added silence where streams went on elsewhere; None where none did.
        felt: for how long new requests felt a fault, one figure a fault; None where there was none.
        back: from an engine's being back to the first request that it got; None where none came back.
        examples: reasons why answers were not exact, with counts, the most frequent first.
        slowest: the longest seams, the longest first: when their requests came, and which engine followed which.
        note: why it was not measured, or what is to be known of it.
    """

    gateway: str
    fault: str
    rate: float
    seconds: float
    seed: int
    hits: int = 0
    ceiling: float = 1.0
    tallies: list[Tally] = []
    seams: Spread | None = None
    felt: Spread | None = None
    back: Spread | None = None
    examples: list[str] = []
    slowest: list[str] = []
    note: str = ""


class ChurnResults(msgspec.Struct, frozen=True):
    """A whole benchmark.

    Attributes:
        date: when it ended, in UTC; ``command`` by which it was started.
        machine: where; ``cores`` who had which, in a sentence.
        titles: the gateways by name, in the order of tables; ``versions`` what pip installed for them.
        missing: why a gateway was not measured at all, by its name.
        trials: all of them.
        engines: how many there were.
        length: tokens of a whole answer; ``gap_ms`` between two of them.
        seconds: how long it took in all.
    """

    date: str
    command: str
    machine: Machine
    cores: str
    titles: dict[str, str]
    versions: dict[str, str]
    missing: dict[str, str]
    trials: list[Trial]
    engines: int
    length: int
    gap_ms: float
    seconds: float = 0.0
