"""What does a client hear that asked why its request went where it went? The value of ``X-Gateway-Route``.

One line: why the server was taken, its id, what it knew of the request, and how many others were passed over for what.
No URL, and no other server by name: a user's key sees ids alone, and only that of the server that answers it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from app.services.core.choice.standing import barred

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from app.services.core.choice.plan import Forward
    from app.services.core.choice.snapshot import Route
    from app.services.core.live.board import Board
    from app.services.core.prompt.demand import Demand, Home

__all__ = ["LONGEST_HEADER_BYTES", "header", "header_without_server", "home_at", "passed_over", "why_taken"]

LONGEST_HEADER_BYTES: Final = 512
MOST_COUNTED: Final = 100
_HELD_BACK: Final = "held back"


def passed_over(
    route: Route, board: Board, now: float, demand: Demand | None = None, tried: Collection[str] = ()
) -> Counter[str]:
    """Count why servers of a model are out of the question, word by word; never which ones.

    Any client may ask for it, so of many servers only the first hundred are looked at.

    Args:
        route: the model's servers.
        board: the live figures.
        now: monotonic seconds.
        demand: what the request asks for.
        tried: where it was sent already.
    """
    known = (*route.ready, *route.standby, *route.down)
    standings = (
        barred(candidate, board.lane(candidate.server.id), now, demand, tried) for candidate in known[:MOST_COUNTED]
    )
    counts = Counter(str(standing.word) for standing in standings if standing.word)
    if route.held:
        counts[_HELD_BACK] = len(route.held)
    return counts


def header(forward: Forward, demand: Demand | None, body_bytes: int, passed: Mapping[str, int]) -> bytes:
    """Make the value of ``X-Gateway-Route``: one printable line for a client that asked why.

    Args:
        forward: what was decided.
        demand: what the request asked for.
        body_bytes: how long its body is.
        passed: what ``passed_over`` counted before it was sent.
    """
    server_id = forward.candidate.server.id
    home = home_at(server_id, demand)
    parts = [why_taken(forward, demand), f"server={server_id}"]
    if home is not None and home.known_bytes > 0:
        parts.append(f"known={min(home.known_bytes, body_bytes)}/{body_bytes} bytes")
    if demand is not None and demand.prompt_tokens:
        parts.append(f"about {demand.prompt_tokens} tokens")
    return _line(parts, passed)


def header_without_server(verdict: str, demand: Demand | None, passed: Mapping[str, int]) -> bytes:
    """Make the same line where no server was taken; ``verdict`` says what was done instead."""
    parts = [verdict]
    if demand is not None and demand.prompt_tokens:
        parts.append(f"about {demand.prompt_tokens} tokens")
    return _line(parts, passed)


def _line(parts: list[str], passed: Mapping[str, int]) -> bytes:
    if passed:
        parts = [*parts, "passed over: " + ", ".join(f"{count} {word}" for word, count in passed.items())]
    text = "".join(letter if " " <= letter <= "~" else "?" for letter in "; ".join(parts))
    return text.encode("ascii")[:LONGEST_HEADER_BYTES]


def home_at(server_id: str, demand: Demand | None) -> Home | None:
    """What is known of a request at a server; None if nothing is."""
    homes = demand.homes if demand is not None else ()
    return next((home for home in homes if home.server_id == server_id), None)


def why_taken(forward: Forward, demand: Demand | None) -> str:
    """Why a server was taken; a conversation that is only to begin there is ``placed``, for it knows nothing of it."""
    home = home_at(forward.candidate.server.id, demand)
    return home.by if home is not None and forward.why == "prefix" else forward.why
