"""Where would a request go now, and why?

The plan itself is asked, many times, with random numbers that are the same each time: so what is said of the next
request is what becomes of it, and no rule is written down twice. It is asked on a copy, for a plan may note who waits
for what. Why the others are not taken, ``core.choice.standing`` says.
"""

from __future__ import annotations

from collections import Counter
from copy import copy, deepcopy
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from app.services.core.choice.load import has_model
from app.services.core.choice.plan import Forward, Queue, plan, unknown_model
from app.services.core.choice.route_header import home_at, why_taken
from app.services.core.choice.standing import FREE, Standing, barred, behind, entering
from app.services.core.prompt.contexts import context_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from app.services.core.choice.plan import Plan
    from app.services.core.choice.snapshot import Candidate, Route, Snapshot
    from app.services.core.live.board import Board
    from app.services.core.prompt.demand import Demand

__all__ = ["Explanation", "Place", "explain"]

DRAWS: Final = 1024
FEWEST_DRAWS: Final = 64
_DRAWS_BY_SERVERS: Final = 50_000
"""Of a thousand servers a few dozen draws are taken: somebody else waits for the event loop meanwhile."""
"""How often the plan is asked: shares are right to about two percent."""
_SHORT_ID: Final = 8
_NAMED: Final = 3
_REASONS: Final = {
    "only": "it is the only one that has the model",
    "session": "this session ran there before",
    "prefix": "it has the beginning of this prompt in its cache",
    "placed": "it has the least to do to read this prompt, and keeps its beginning for what follows",
    "roomy": "others have a context that is too short, or may be",
    "loaded": "the model is in memory there",
    "drawn": "servers are drawn by weight, and of two the less busy one is taken",
}
_FATES: Final = {
    "queue": "The next request waits for a place: every server that could take it is full or asked to be left alone.",
    "await": "The next request waits, for none can serve it now. If that lasts, it hears:",
    "refuse": "The next request is refused:",
}


@dataclass(frozen=True, slots=True)
class Place:
    """How one server stands with the next request.

    Attributes:
        server_id: which one.
        takes: whether the next request may go there.
        share: of the next requests, 0.0 to 1.0.
        word: what speaks against it, one of ``standing.Word``; empty if nothing does.
        why: the same in words; empty if nothing does.
        in_flight: the gateway's requests there.
        foreign: what its engine counts beyond them, as far as that is still believed.
        places: how many it computes at once; by its owner's bound or its own word, else a usual number.
        cap: how many may be in flight; None for any number.
        priority: the higher, the sooner.
        weight: its share among equals.
        ramp: how much of the weight counts, up to 1.0: less while it comes back.
        warm: whether the model is in its memory.
        context_length: in tokens; None if unknown.
        home: why the request belongs there (``session``, ``prefix``); empty if it does not.
    """

    server_id: str
    takes: bool
    share: float
    word: str
    why: str
    in_flight: int
    foreign: float
    places: int
    cap: int | None
    priority: int
    weight: float
    ramp: float
    warm: bool
    context_length: int | None
    home: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the next request for a model would go.

    Attributes:
        model: as clients name it.
        verdict: ``forward``, ``queue``, ``await`` or ``refuse``, as the plan decides.
        why: why the server is taken that is taken most, as ``plan.Forward`` tells; else empty.
        message: what the client is told at the end where nobody takes it.
        servers: every server of the model, those first that are taken first.
    """

    model: str
    verdict: str
    why: str
    message: str
    servers: tuple[Place, ...]

    def sentence(self) -> str:
        """Say in a sentence or two what becomes of the next request."""
        if self.verdict != "forward":
            return " ".join(part for part in (_FATES[self.verdict], self.message) if part)
        taken = [place for place in self.servers if place.share > 0.0]
        alone = len(taken) == 1
        names = [place.server_id[:_SHORT_ID] + ("" if alone else f" ({place.share:.0%})") for place in taken]
        shown = " or ".join(names[:_NAMED])
        more = f" or one of {len(names) - _NAMED} others" if len(names) > _NAMED else ""
        reason = _REASONS.get(self.why, self.why)
        if alone and self.why == "drawn":
            reason = "it is the least busy of those that may be taken"
        return f"The next request goes to {shown}{more}, because {reason}."

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        told = asdict(self)
        return {**told, "servers": list(told["servers"]), "sentence": self.sentence()}


def explain(
    model: str,
    snapshot: Snapshot,
    board: Board,
    now: float,
    demand: Demand | None = None,
    tried: Collection[str] = (),
) -> Explanation:
    """Say where a request would go now, and why not elsewhere. Changes nothing.

    Args:
        model: as clients name it.
        snapshot: the registry.
        board: the live figures.
        now: monotonic seconds.
        demand: what the request asks for; None for a short one without a session.
        tried: ids of servers that it was sent to already.

    Raises:
        ModelNotFound: no server has such a model.
    """
    route = snapshot.routes.get(model)
    if route is None:
        raise unknown_model(model, snapshot)
    board = _copied(board)
    drawn: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    random, verdict = _random_numbers(), _QUEUE
    for _draw in range(_draws(route)):
        verdict = plan(model, snapshot, board, tried, now, random, demand=demand)
        if not isinstance(verdict, Forward):
            break
        drawn[verdict.candidate.server.id] += 1
        reasons[why_taken(verdict, demand)] += 1
    why = reasons.most_common(1)[0][0] if reasons else ""
    scene = _Scene(board, now, demand, tried, drawn, why)
    places = scene.places((*route.ready, *route.standby, *route.down, *route.held))
    return Explanation(model, _name(verdict), why, _message(verdict), places)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What all servers are looked at with."""

    board: Board
    now: float
    demand: Demand | None
    tried: Collection[str]
    drawn: Counter[str]
    why: str

    def places(self, candidates: Sequence[Candidate]) -> tuple[Place, ...]:
        """Look at every server; those that are taken first come first."""
        by_id = {candidate.server.id: candidate for candidate in candidates}
        top = self.drawn.most_common(1)
        best = by_id[top[0][0]] if top else None
        places = [self._place(candidate, best) for candidate in candidates]
        return tuple(sorted(places, key=lambda place: (-place.share, not place.takes, -place.priority)))

    def _place(self, candidate: Candidate, best: Candidate | None) -> Place:
        server, now = candidate.server, self.now
        lane = self.board.lane(server.id)
        share = self.drawn[server.id] / self.drawn.total() if self.drawn else 0.0
        standing = self._standing(candidate, best)
        home = home_at(server.id, self.demand)
        return Place(
            server_id=server.id,
            takes=best is not None and not standing.is_left_out,
            share=share,
            word=str(standing.word),
            why=standing.words,
            in_flight=lane.in_flight,
            foreign=round(lane.foreign(now), 1),
            places=candidate.places,
            cap=lane.cap(server.max_concurrency),
            priority=server.priority,
            weight=server.weight,
            ramp=round(lane.share(now), 2),
            warm=has_model(candidate, lane, now),
            context_length=context_of(candidate),
            home=home.by if home is not None else "",
        )

    def _standing(self, candidate: Candidate, best: Candidate | None) -> Standing:
        """What speaks against a server. Against one that was drawn nothing does, but that it may still be loading."""
        server_id = candidate.server.id
        lane = self.board.lane(server_id)
        if self.drawn[server_id]:
            return entering(candidate, lane, self.now) or FREE
        standing = barred(candidate, lane, self.now, self.demand, self.tried)
        if standing.word or best is None:
            return standing
        return behind(candidate, best, lane, self.now, self.demand, self.why)


_QUEUE: Final[Plan] = Queue()


def _draws(route: Route) -> int:
    """How many requests are made up: of a large pool fewer, as each takes longer."""
    servers = max(len(route.ready) + len(route.standby), 1)
    return max(FEWEST_DRAWS, min(DRAWS, _DRAWS_BY_SERVERS // servers))


def _copied(board: Board) -> Board:
    """A board that may be written to. Lanes are only read, but for memories that models take turns in."""
    copied = copy(board)
    copied.lanes = {
        server_id: lane if lane.residence is None else deepcopy(lane) for server_id, lane in board.lanes.items()
    }
    copied.gathered = dict(board.gathered)
    return copied


def _random_numbers() -> Callable[[], float]:
    """Make the same numbers each time, well spread (SplitMix64, Steele, Lea, Flood 2014)."""
    state = 0

    def draw() -> float:
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)

    return draw


_MASK: Final = (1 << 64) - 1


def _name(verdict: Plan) -> str:
    return type(verdict).__name__.lower()


def _message(verdict: Plan) -> str:
    """What the client would hear in the end."""
    return "" if isinstance(verdict, Forward | Queue) else verdict.error.message
