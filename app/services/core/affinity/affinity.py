"""Which servers would a request feel at home on? All that affinity knows, for the choice of a server to ask.

Three things speak for a server, in this order: the session that the client names ran there; it read at least half of
the prompt before; and for a conversation that is at home nowhere, or whose home is too busy, it would best begin there:
the server whose recent work, together with what it does not know of this prompt, takes it the least time. So a shared
system prompt draws conversations together only as far as it is worth the load.

Conversations stay where they began, so chance and slow servers can leave one with more of them than it should have. A
home that is busy with another request, and has one and a half times as much to do as the best other place would have
with the whole prompt, comes after that place: the conversation moves. Named sessions stay.

Whether a home is taken is not judged here: ``choice.homes`` knows what is in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.affinity.index import Index
from app.services.core.affinity.sessions import Sessions
from app.services.core.affinity.trail import known_bytes, make_trail
from app.services.core.affinity.work import ANSWER_BYTES, Work
from app.services.core.prompt.demand import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from app.services.core.affinity.trail import Trail

__all__ = ["MOST_HOMES", "Affinity"]

MOST_HOMES: Final = 4
_SAMPLE: Final = 16
_RELIEVED_AT: Final = 1.5


class Affinity:
    """What was sent where, of late; bounded in memory. Times are monotonic seconds."""

    __slots__ = ("_index", "_sessions", "_turn", "_work")

    def __init__(self) -> None:
        self._index = Index()
        self._sessions = Sessions()
        self._work = Work()
        self._turn = 0

    def homes(
        self,
        model: str,
        body: bytes,
        session: int | None,
        now: float,
        among: Sequence[str] = (),
        apart: str = "",
        strength: Callable[[str], float] | None = None,
    ) -> tuple[tuple[Home, ...], Trail]:
        """Name the servers that a request should go to if they have room, best first, at most 4.

        Args:
            model: what the client calls the model.
            body: the request as it came.
            session: what ``sessions.mark_session`` makes of the client's; None where it names none.
            now: monotonic seconds.
            among: the ids of the servers where a conversation may begin: those that are ready, of the best priority.
                Without them no place is named. Of more than 16, some are looked at, others each time.
            apart: prompts are compared only where this is the same (``trail.make_trail``).
            strength: how much each of ``among`` should get, where their owners gave them different weights. None: as
                much as their speed makes of it, as far as ``ended`` told of that.

        Returns:
            The homes, and the trail for ``went``. A home need not be ready, nor have the model any more.
        """
        trail = make_trail(model, body, apart)
        homes: list[Home] = []
        known: dict[str, int] = {}
        if trail:
            found = self._index.knowing(trail, now, MOST_HOMES)
            known = {server_id: known_bytes(blocks) for server_id, blocks in found}
        if session is not None:
            server_id = self._sessions.server_of(session, now)
            if server_id is not None:
                homes.append(Home(server_id, known.get(server_id, 0), "session"))
        half = known_bytes(len(trail)) / 2
        for server_id, size_bytes in known.items():
            if size_bytes >= half and not _names(homes, server_id):
                homes.append(Home(server_id, size_bytes, "prefix"))
        del homes[MOST_HOMES - 1 :]
        if trail and among:
            known = {**self._roughly_known(trail, now), **known}
            places = self._sampled(among)
            asked = (*places, homes[0].server_id) if homes and homes[0].server_id in among else places
            size_bytes = known_bytes(len(trail)) + ANSWER_BYTES
            loads = self._work.loads(asked, size_bytes, known, now, strength)
            self._add_place(homes, min(places, key=loads.__getitem__), loads, known, now)
        return tuple(homes), trail

    def went(self, trail: Trail, session: int | None, server_id: str, now: float) -> int:
        """Note that a request was sent to a server: with the trail and the session that ``homes`` had.

        Returns:
            How much work it was given, in bytes, for ``ended``; 0 where there is nothing to tell of its end.
        """
        if session is not None:
            self._sessions.note(session, server_id, now)
        if not trail:
            return 0
        blocks = self._index.record(trail, server_id, now)
        work_bytes = known_bytes(len(trail)) - known_bytes(blocks) + ANSWER_BYTES
        self._work.give(server_id, work_bytes, now)
        return work_bytes

    def ended(self, server_id: str, work_bytes: int, seconds: float | None) -> None:
        """Note that what ``went`` told of is over, once for each time.

        Args:
            server_id: where.
            work_bytes: what ``went`` gave.
            seconds: from when it was sent to its last byte; None where it failed or was cancelled.
        """
        self._work.done(server_id, work_bytes, seconds)

    def forget(self, server_id: str) -> None:
        """Forget what a server knew: it was started anew, and its cache is empty."""
        self._index.forget(server_id)

    def keep(self, server_ids: Container[str]) -> None:
        """Forget servers that are gone. Sessions of theirs are forgotten with time."""
        self._index.keep(server_ids)
        self._work.keep(server_ids)

    def _add_place(
        self, homes: list[Home], best: str, loads: Mapping[str, float], known: Mapping[str, int], now: float
    ) -> None:
        """Add where it would best begin: last, or first where its home should be relieved."""
        home = homes[0] if homes else None
        if not _names(homes, best):
            homes.append(Home(best, known.get(best, 0), "placed"))
        if home is None or home.by != "prefix" or not self._work.is_busy(home.server_id, now):
            return
        if loads.get(home.server_id, 0.0) > _RELIEVED_AT * loads[best]:
            homes.sort(key=lambda each: each.server_id != best)  # that one first, the others as they were

    def _roughly_known(self, trail: Trail, now: float) -> dict[str, int]:
        return {server_id: known_bytes(blocks) for server_id, blocks in self._index.sharing(trail, now).items()}

    def _sampled(self, among: Sequence[str]) -> Sequence[str]:
        """Take the next few of very many."""
        count = len(among)
        if count <= _SAMPLE:
            return among
        start = self._turn % count
        self._turn = (start + _SAMPLE) % count
        return [among[(start + step) % count] for step in range(_SAMPLE)]


def _names(homes: list[Home], server_id: str) -> bool:
    return any(home.server_id == server_id for home in homes)
