"""Where did this session run last? A table of the sessions that clients name, bounded in number and time.

It has two halves, as the index has two generations: a session goes into the new half each time it is used; when that is
full or an hour old, it becomes the old half, and the former old half is forgotten. So a session is remembered for at
least an hour after its last request and for at most two, unless more than 32,768 others came since.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LONGEST_SESSION_ID_BYTES", "MOST_SESSIONS", "Sessions", "mark_session"]

LONGEST_SESSION_ID_BYTES: Final = 256
MOST_SESSIONS: Final = 65_536
_HALF_SECONDS: Final = 3600.0


def mark_session(key_id: str, model: str, session_id: bytes) -> int | None:
    """Give what a session goes by: one number for a key's session with a model, whatever the client calls it.

    Sessions of two keys are never the same one, and nobody can make a name that passes for another's (Python's hash is
    keyed). One that spans two models is two: their servers may differ.

    Args:
        key_id: who asks.
        model: what the client calls the model.
        session_id: the value of ``X-Session-ID``.

    Returns:
        None where the value is empty or longer than 256 bytes: then there is no session.
    """
    if not 0 < len(session_id) <= LONGEST_SESSION_ID_BYTES:
        return None
    return hash((key_id, model, session_id))


class Sessions:
    """Servers by session. Times are monotonic seconds. ``most`` bounds how many sessions there are."""

    __slots__ = ("_began_at", "_most_a_half", "_new", "_old")

    def __init__(self, most: int = MOST_SESSIONS) -> None:
        self._most_a_half = max(most // 2, 1)
        self._new: dict[int, str] = {}
        self._old: dict[int, str] = {}
        self._began_at = 0.0

    def __len__(self) -> int:
        """How many entries there are; a session that is in both halves counts twice."""
        return len(self._new) + len(self._old)

    def server_of(self, session: int, now: float) -> str | None:
        """The server that a session ran on last; None where that is not known, or too long ago."""
        self._age(now)
        return self._new.get(session) or self._old.get(session)

    def note(self, session: int, server_id: str, now: float) -> None:
        """Note where a session runs."""
        self._age(now)
        if len(self._new) >= self._most_a_half and session not in self._new:
            self._turn(now)
        self._new[session] = server_id

    def _age(self, now: float) -> None:
        age_seconds = now - self._began_at
        if age_seconds >= _HALF_SECONDS:
            self._turn(now)
            if age_seconds >= 2 * _HALF_SECONDS:
                self._old = {}

    def _turn(self, now: float) -> None:
        self._old, self._new = self._new, {}
        self._began_at = now
