"""Who is tried, and when, for how it goes on with an answer that broke?

At once in the background: a server that is new, whose models, endpoint or engine's version changed, that would not go
on with an answer of a client's, and at the start whatever the database does not know. Few at a time, never beyond what
a server takes, and never so that it puts a model out of memory (``docket``, ``places``). A fault decides nothing and
counts against nobody: it is tried again later, and at once when the server is back.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from random import random
from typing import TYPE_CHECKING, Any, Final, Protocol

from app.services.core.continuation.ability import Rung
from app.services.core.continuation.asking import Answered, Failed, Found, Subject
from app.services.core.continuation.canary import chat_trial, text_trial
from app.services.core.continuation.verdicts import with_verdict
from app.services.core.errors import EndpointRefused
from app.services.dataplane.fetch import AnswerBroken
from app.services.dataplane.link import ConnectFailed
from app.services.docket import Docket, may_be_tried
from app.services.engines.identify import engine_named
from app.services.pulse import SystemClock
from app.services.registry.records import Finding
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from contextlib import AbstractContextManager

    from app.services.core.continuation.asking import Ask, Trial, Unclear
    from app.services.core.continuation.verdicts import Part
    from app.services.core.types import Server
    from app.services.dataplane.fetch import Posts
    from app.services.docket import Case
    from app.services.pulse import Clock
    from app.services.registry.records import Findings

__all__ = ["Canary", "Keeps", "Places"]

TRIED_AT_A_TIME: Final = 2
ANSWER_SECONDS: Final = 60.0
"""How long one answer may take, the loading of a model included."""
MAX_ANSWER_BYTES: Final = 262_144
ROOM_SECONDS: Final = 0.25
"""How soon a server that was full is looked at again."""
PATIENCE_SECONDS: Final = 30.0
"""How long a trial that has begun waits for room, before it is put off."""
FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 600.0
JITTER: Final = 0.2
MAX_DOUBLINGS: Final = 10
IDLE_SECONDS: Final = 60.0
REDACTED: Final = b"[redacted]"
MIN_SECRET_LENGTH: Final = 6

logger = get_logger(__name__)


class Keeps(Protocol):
    """Keeps what was found; ``registry.service.Registry`` is the one."""

    def findings(self, server_id: str, /) -> Findings:
        """Return what is known of a server's models, by what it calls them."""

    async def keep_finding(self, server_id: str, upstream_name: str, finding: Finding, /) -> None:
        """Take over what was found, and tell routing."""

    async def drop_findings(self, server_id: str, /) -> None:
        """Forget what was found of a server, and tell routing."""


class Places(Protocol):
    """What a server takes; ``places.BoardPlaces`` is the one."""

    def has_room(self, server: Server, upstream_name: str, /, *, may_load: bool = False) -> bool:
        """Whether one more request for a model may go there now."""

    def hold(self, server_id: str, upstream_name: str, /) -> AbstractContextManager[Callable[[], None]]:
        """Take one of its places for a request; what this yields is to be told of a good answer."""


class Spawns(Protocol):
    """Starts tasks and keeps them; ``utils.tasks.TaskKeeper`` is the one."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start a named task; its failure is logged."""


class _PutOffError(Exception):
    """A trial can't go on now, for no fault of the server's."""


class Canary:
    """Tries servers.

    Args:
        posts: sends the requests, on the way that traffic takes.
        keeps: takes in what is found.
        tasks: starts the tasks that the trials run in.
        places: what servers take.
        enabled: whether anything is tried at all.
        clock: time, and waiting in it.
        draw: draws evenly from [0, 1).
    """

    def __init__(
        self,
        posts: Posts,
        keeps: Keeps,
        tasks: Spawns,
        *,
        places: Places,
        enabled: bool = True,
        clock: Clock | None = None,
        draw: Callable[[], float] = random,
    ) -> None:
        self._posts = posts
        self._keeps = keeps
        self._tasks = tasks
        self._places = places
        self._enabled = enabled
        self._clock = clock or SystemClock()
        self._draw = draw
        self._docket = Docket(self._has_room)
        self._versions: dict[str, str] = {}
        self._trials: dict[Case, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Try whoever is due until cancelled; trials under way end then."""
        try:
            await self._try_for_ever()
        finally:
            for trial in self._trials.values():
                trial.cancel()

    async def _try_for_ever(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            for case in self._docket.take(now, TRIED_AT_A_TIME):
                name = f"trial of {case.upstream_name} on server {case.server.id}"
                self._trials[case] = self._tasks.spawn(self._try(case), name=name)
            due = self._docket.next_due if self._docket.running < TRIED_AT_A_TIME else now + IDLE_SECONDS
            pause = min(max(due - now, ROOM_SECONDS), IDLE_SECONDS)
            await self._clock.wait(self._wake, pause)

    def review(self, servers: Iterable[Server]) -> None:
        """Take over what routing sees, whenever that changes. What was changed or removed is not tried on."""
        if not self._enabled:
            return
        listed = tuple(servers)
        self._docket.follow(listed, self._clock.monotonic())
        self._versions = {server.id: self._versions.get(server.id, "") for server in listed}
        self._end_outdated()

    def versioned(self, server_id: str, version: str) -> None:
        """A server's engine tells this version: of another one, what was found holds no more."""
        if not self._enabled or not version:
            return
        before, self._versions[server_id] = self._versions.get(server_id, ""), version
        stored = {finding.ability.version for finding in self._keeps.findings(server_id).values()}
        if (stored | {before}) - {"", version}:
            self._docket.begin_anew(server_id, self._clock.monotonic())
            self._end_outdated()
            self._tasks.spawn(self._keeps.drop_findings(server_id), name=f"forget findings of server {server_id}")
        elif "" in stored:
            for upstream_name in self._keeps.findings(server_id):
                self.refused(server_id, upstream_name)

    def refused(self, server_id: str, upstream_name: str) -> None:
        """A server would not go on with a client's answer: what was found of it is in doubt."""
        if self._enabled and self._docket.doubt(server_id, upstream_name, self._clock.monotonic()):
            self._wake.set()

    def _end_outdated(self) -> None:
        """End the trials of what is not there any more, is another by now, or may not be tried: it holds a place."""
        for case, trial in self._trials.items():
            if not self._docket.is_current(case) or not may_be_tried(case.server):
                trial.cancel()
        self._wake.set()

    async def _try(self, case: Case) -> None:
        due = self._clock.monotonic() + LONGEST_PAUSE_SECONDS  # for a bug, which the keeper of tasks logs
        try:
            case.faults = 0 if await self._is_settled(case) else case.faults + 1
            due = self._clock.monotonic() + (self._pause_seconds(case.faults) if case.faults else 0.0)
        except asyncio.CancelledError:
            due = self._clock.monotonic()  # again at once, if it is still there and may be tried
            raise
        except _PutOffError:
            due = self._clock.monotonic()
            logger.debug("A trial was put off", server_id=case.server.id, model=case.upstream_name)
        finally:
            self._trials.pop(case, None)
            self._docket.finish(case, due)
            self._wake.set()

    async def _is_settled(self, case: Case) -> bool:
        """Find out what is not known yet; return whether it is now."""
        before, doubted = case.ability, case.doubted
        settled = True
        subject = Subject(case.upstream_name, engine_named(case.server.engine))
        if doubted or before.chat is Rung.UNJUDGED:
            verdict = await self._verdict(case, chat_trial(subject, case.chat_misses))
            settled = isinstance(verdict, Found)
            case.chat_misses = {} if isinstance(verdict, Found) else verdict.misses
            await self._take_in(case, verdict, "chat")
            if not isinstance(verdict, Found) and verdict.is_lost:
                return False  # a server that hangs must not hold its place twice as long
        if doubted or before.text is Rung.UNJUDGED:
            verdict = await self._verdict(case, text_trial(subject, case.text_misses))
            settled = settled and isinstance(verdict, Found)
            case.text_misses = {} if isinstance(verdict, Found) else verdict.misses
            await self._take_in(case, verdict, "text")
        case.doubted = doubted and not settled
        return settled

    async def _verdict(self, case: Case, trial: Trial) -> Found | Unclear:
        ask = next(trial)
        while True:
            try:
                ask = trial.send(await self._ask(case, ask))
            except StopIteration as end:
                verdict: Found | Unclear = end.value
                return verdict

    async def _ask(self, case: Case, ask: Ask) -> Answered | Failed:
        """Send one request when there is room for it."""
        await self._wait_for_room(case)
        server = case.server
        try:
            with self._places.hold(server.id, case.upstream_name) as answered:
                answer = await self._posts.post(
                    server.endpoint,
                    ask.path,
                    ask.body,
                    api_key=server.api_key,
                    timeout_seconds=ANSWER_SECONDS,
                    limit_bytes=MAX_ANSWER_BYTES,
                )
                if answer.status == HTTPStatus.OK:
                    answered()
        except EndpointRefused as error:
            return Failed(error.message)
        except (ConnectFailed, AnswerBroken) as error:
            return Failed(error.reason)
        return Answered(answer.status, _without_key(answer.body, server.api_key))

    def _has_room(self, case: Case) -> bool:
        return self._places.has_room(case.server, case.upstream_name, may_load=case.may_load)

    async def _wait_for_room(self, case: Case) -> None:
        until = self._clock.monotonic() + PATIENCE_SECONDS
        while not self._has_room(case):
            if not may_be_tried(case.server) or self._clock.monotonic() >= until:
                raise _PutOffError
            await self._clock.wait(asyncio.Event(), ROOM_SECONDS)
        if not may_be_tried(case.server):
            raise _PutOffError

    async def _take_in(self, case: Case, verdict: Found | Unclear, part: Part) -> None:
        """Keep what was found of chats or completions, beside what is known of the other."""
        server_id, name = case.server.id, case.upstream_name
        known = self._keeps.findings(server_id).get(name, Finding())
        ability = with_verdict(known.ability, verdict, part, self._version(server_id))
        if isinstance(verdict, Found):
            logger.info(
                "A server was tried for how it goes on with broken answers",
                server_id=server_id,
                model=name,
                chat=ability.chat.value,
                text=ability.text.value,
                reason=ability.reason,
            )
            await self._keeps.keep_finding(server_id, name, Finding(ability, self._clock.now()))
        elif ability != known.ability:
            await self._keeps.keep_finding(server_id, name, Finding(ability, known.probed_at))

    def _version(self, server_id: str) -> str:
        stored = (finding.ability.version for finding in self._keeps.findings(server_id).values())
        return self._versions.get(server_id) or next(filter(None, stored), "")

    def _pause_seconds(self, faults: int) -> float:
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(faults - 1, MAX_DOUBLINGS), LONGEST_PAUSE_SECONDS)
        return pause * (1 - JITTER + 2 * JITTER * self._draw())


def _without_key(body: bytes, api_key: str | None) -> bytes:
    """Take the server's key out of its words, which its owner is shown."""
    if api_key is None or len(api_key) < MIN_SECRET_LENGTH:
        return body
    return body.replace(api_key.encode(), REDACTED)
