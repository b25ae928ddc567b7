"""Which works are measured? The one table of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from bench.answers import CUT, HELD, IDENTIFIED, LONG, PLAIN, STREAM, Answer
from bench.requests import LONG_PROMPT, SHORT_PROMPT, distinct_requests, equal_requests

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WORKS", "Kind", "Work"]


class Kind(Enum):
    """How a work is measured; the value is the figure that it is about."""

    SATURATION = "cpu_us_per_request"
    STREAMS = "cpu_us_per_event"
    RATE = "added_p99_ms"
    MEMORY = "kilobytes_per_stream"


@dataclass(frozen=True, slots=True)
class Work:
    """One work.

    Attributes:
        name: short, as ``--works`` takes it.
        title: for people.
        seconds: how long a round measures; ``quick_seconds`` with ``--quick``.
        ramp_seconds: over which the connections are opened before that.
        connections: how many ask at a time (closed loop).
        rate: requests a second (open loop).
        most_rounds: past which nothing new would be learnt.
        fresh: whether every round starts the gateways anew.
        direct: whether asking an upstream directly is measured beside.
    """

    name: str
    title: str
    kind: Kind
    answer: Answer
    seconds: float
    quick_seconds: float
    ramp_seconds: float = 0.3
    connections: int = 64
    rate: float = 0
    prompt: str = SHORT_PROMPT
    distinct: bool = False
    tls: bool = False
    fresh: bool = False
    direct: bool = True
    most_rounds: int = 1000

    def requests(self, key: str, port: int) -> Iterator[bytes]:
        """What is sent, without end."""
        host = f"127.0.0.1:{port}"
        if self.distinct:
            return distinct_requests(self.answer, key, host, seed=port)
        return equal_requests(self.answer, key, host, self.prompt)


WORKS = (
    Work("short", "1 KB prompts, 64 connections", Kind.SATURATION, PLAIN, 1.5, 1.0),
    Work("long-prompt", "100 KB prompts, 64 connections", Kind.SATURATION, PLAIN, 1.5, 1.0, prompt=LONG_PROMPT),
    Work(
        "distinct",
        "1 KB prompts, 64 connections, no two requests or answers alike",
        Kind.SATURATION,
        IDENTIFIED,
        1.5,
        1.0,
        distinct=True,
    ),
    Work(
        "tls",
        "1 KB prompts, 64 connections, TLS to the client",
        Kind.SATURATION,
        PLAIN,
        1.5,
        1.0,
        tls=True,
        direct=False,
    ),
    Work("short-rate", "1 KB prompts, 1,000 requests/s", Kind.RATE, PLAIN, 2.0, 1.5, rate=1000),
    Work("long-rate", "100 KB prompts, 1,000 requests/s", Kind.RATE, PLAIN, 2.0, 1.5, rate=1000, prompt=LONG_PROMPT),
    Work("streams-100", "100 streams of 100 events, one every 20 ms", Kind.STREAMS, STREAM, 2.1, 2.1, 0.5, 100),
    Work("streams-400", "400 streams of 100 events, one every 20 ms", Kind.STREAMS, STREAM, 2.1, 2.1, 0.5, 400),
    Work("streams-cut", "100 streams of 100 events, each cut in two at random", Kind.STREAMS, CUT, 2.1, 2.1, 0.5, 100),
    Work("long-answer", "20 streams of 4,000 events, one every 1 ms", Kind.STREAMS, LONG, 3.0, 2.0, 0.2, 20),
    Work(
        "open-streams",
        "memory of 2,000 open streams",
        Kind.MEMORY,
        HELD,
        1.2,
        1.2,
        2.0,
        2000,
        fresh=True,
        direct=False,
        most_rounds=2,
    ),
)
