"""Which models fit into a server's memory together?

Nobody says how much memory there is, nor how much a model takes. What was seen there at once, fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Companies"]

_MOST: Final = 16
_NOBODY: Final[frozenset[str]] = frozenset()


class Companies:
    """The companies of models that were seen in memory at once. Bounded: those learnt last are kept."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: list[frozenset[str]] = []

    def learn(self, together: frozenset[str]) -> None:
        """They are in memory at once; so any of them fit."""
        if len(together) > 1 and not any(together <= known for known in self._known):
            others = [known for known in self._known if not known <= together]
            self._known = [together, *others][:_MOST]

    def unlearn(self, missing: str, present: Collection[str]) -> None:
        """One was put out of memory: it does not fit beside those that are there."""
        self._known = [known for known in self._known if missing not in known or known.isdisjoint(present)]

    def leaving(self, company: frozenset[str], newcomer: str) -> frozenset[str]:
        """Who of a company must leave for a newcomer, as far as is known."""
        staying = [company & known for known in self._known if newcomer in known]
        return company - max(staying, key=len, default=_NOBODY)
