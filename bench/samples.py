"""What comes out of one round of one work on one gateway?"""

from __future__ import annotations

import msgspec

__all__ = ["Sample"]


class Sample(msgspec.Struct, frozen=True):
    """One measurement.

    Attributes:
        figures: by name, with their unit in it: ``requests_per_second``, ``cpu_us_per_request`` ...
        answers: right answers, ``events`` whole events of streams, in the time measured.
        wrong: answers that were not what the upstream sent; ``first_wrong`` tells of the first.
        note: why figures are missing, or what is to be known of them.
        is_last: whether another round would only take long, and tell the same.
    """

    gateway: str
    work: str
    round: int
    figures: dict[str, float] = {}
    answers: int = 0
    events: int = 0
    wrong: int = 0
    first_wrong: str = ""
    note: str = ""
    is_last: bool = False
