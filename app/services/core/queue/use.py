"""Who has used how many tokens of late? Half of each use is forgotten with every minute that passes.

Nothing is ever swept to forget: what is new is written larger instead. All figures here are *scaled*: a token that is
used now counts ``scale`` times, and ``scale`` doubles with every half-life. So the order between people never changes
by the mere passing of time, and charging is one addition. After twenty doublings, an *era*, all figures are divided
once, and those that have become nothing are dropped.

A request that begins while others wait is charged at once with what it will probably use, lest its person seems idle
until its end. This is *pending* until ``settle`` puts the true figure in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["HALF_LIFE_SECONDS", "MOST_PEOPLE", "Charge", "RecentUse"]

HALF_LIFE_SECONDS: Final = 60.0
MOST_PEOPLE: Final = 65_536
"""Beyond it, those who used least are forgotten until half of it is left."""
_DOUBLINGS: Final = 20
_ERA_SECONDS: Final = HALF_LIFE_SECONDS * _DOUBLINGS
_MOST_ERAS_AT_ONCE: Final = 40
"""So many halvings leave nothing of any figure; more would leave the range of a float."""
_LEAST_TOKENS: Final = 0.5
_MOST_TOKENS: Final = 2_000_000
"""No request counts for more: a server that says so is not believed, lest it shuts somebody out."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request was charged with when it began; ``amount`` is scaled, as of ``era``."""

    person: str
    amount: float
    era: int


class RecentUse:
    """The use of all people. ``turn`` is called about ten times a second; between two turns no time passes here.

    Attributes:
        scale: how much a token counts that is used now.
        era: how often all figures were divided.
    """

    __slots__ = ("_began_at", "_pending", "_used", "era", "scale")

    def __init__(self) -> None:
        self._used: dict[str, float] = {}
        self._pending: dict[str, float] = {}
        self._began_at: float | None = None
        self.era = 0
        self.scale = 1.0

    def __len__(self) -> int:
        return len(self._used)

    def charge(self, person: str, tokens: float) -> None:
        """Note what a request has used. Called for every one that ends: one look-up and one addition."""
        if tokens > _MOST_TOKENS:  # noqa: PLR1730 - min() takes as long as all the rest
            tokens = _MOST_TOKENS
        used = self._used
        used[person] = used.get(person, 0.0) + tokens * self.scale

    def expect(self, person: str, tokens: float) -> Charge:
        """Charge a request that begins with what it will probably use."""
        amount = min(tokens, _MOST_TOKENS) * self.scale
        self._used[person] = self._used.get(person, 0.0) + amount
        self._pending[person] = self._pending.get(person, 0.0) + amount
        return Charge(person, amount, self.era)

    def settle(self, charge: Charge, tokens: float) -> None:
        """Put what a request has used in the place of what was expected. To be called once for each charge."""
        person, amount = charge.person, self.as_of_now(charge.amount, charge.era)
        used = self._used.get(person, 0.0) - amount + min(tokens, _MOST_TOKENS) * self.scale
        self._used[person] = max(used, 0.0)  # its person may have been forgotten meanwhile
        pending = self._pending.get(person, 0.0) - amount
        if pending > _LEAST_TOKENS:
            self._pending[person] = pending
        else:
            self._pending.pop(person, None)

    def scaled(self, person: str) -> float:
        """What somebody has used and will probably have used, scaled; 0.0 for who is not known."""
        return self._used.get(person, 0.0)

    def pending(self, person: str) -> float:
        """The part of ``scaled`` that is only expected."""
        return self._pending.get(person, 0.0)

    def tokens(self, person: str) -> float:
        """What somebody has used of late, in tokens of now."""
        return self._used.get(person, 0.0) / self.scale

    def as_of_now(self, amount: float, era: int) -> float:
        """Give a scaled amount of an earlier era as it counts in this one."""
        return amount if era == self.era else amount * _shrinking(self.era - era)

    def turn(self, now: float) -> None:
        """Let time pass. ``now`` in monotonic seconds."""
        if self._began_at is None:
            self._began_at = now
        passed = max(now - self._began_at, 0.0)
        eras = int(passed // _ERA_SECONDS)
        if eras:
            self._began_at += eras * _ERA_SECONDS
            passed -= eras * _ERA_SECONDS
            self._shrink(eras)
        self.scale = 2.0 ** (passed / HALF_LIFE_SECONDS)
        if len(self._used) > MOST_PEOPLE:
            self._forget_the_least()

    def _shrink(self, eras: int) -> None:
        """Begin a new era: divide all, and drop what is nothing by now."""
        factor = _shrinking(eras)
        self.era += eras
        self._used = {person: left for person, used in self._used.items() if (left := used * factor) > _LEAST_TOKENS}
        self._pending = {person: pending * factor for person, pending in self._pending.items()}

    def _forget_the_least(self) -> None:
        people = sorted(self._used.items(), key=lambda known: known[1])
        self._used = dict(people[-MOST_PEOPLE // 2 :])


def _shrinking(eras: int) -> float:
    return 2.0 ** (-_DOUBLINGS * min(eras, _MOST_ERAS_AT_ONCE))
