"""Which gateways run, and which can't? Started once for all works, or anew for each round where a work asks for it."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from bench.answers import PLAIN, STREAM, Answer
from bench.certificate import make_certificate
from bench.closed_loop import ClosedLoop, until
from bench.gateways import DIRECT
from bench.measuring import Target
from bench.processes import NotStarted, Running, run_gateway
from bench.requests import SHORT_PROMPT, equal_requests
from bench.sites import KEY
from bench.upstream import event_loop_factory
from bench.wrong import AnswerWrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.cores import Cores
    from bench.gateways import Gateway

__all__ = ["Fleet", "Member"]

_TRIAL_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Member:
    """A gateway that runs."""

    running: Running
    target: Target


class Fleet:
    """Starts gateways, and shows that each answers rightly before it is measured."""

    def __init__(
        self,
        interpreters: Mapping[str, Path],
        upstreams: Sequence[Running],
        cores: Cores,
        stack: ExitStack,
    ) -> None:
        self._interpreters = interpreters
        self._upstreams = upstreams
        self._cores = cores
        self._stack = stack
        self._standing: dict[tuple[str, bool], Member] = {}
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        self._tls = make_certificate(self._folder)
        self._trust = ssl.create_default_context(cafile=self._tls.certificate)
        self._count = 0

    @property
    def direct(self) -> Target:
        """An upstream itself."""
        return Target(DIRECT, self._upstreams[0].port, None, load_pids=self._load_pids)

    @property
    def _load_pids(self) -> tuple[int, ...]:
        shared = self._cores.load == self._cores.upstreams
        return tuple(upstream.pid for upstream in self._upstreams) if shared else ()

    def stands(self, gateway: Gateway, *, tls: bool) -> bool:
        """Whether it has been started to stay."""
        return (gateway.name, tls) in self._standing

    def start(self, gateway: Gateway, *, tls: bool) -> str:
        """Start one that stays, unless it runs already; returns why it can't be, or nothing."""
        if not self.stands(gateway, tls=tls):
            try:
                member = self._stack.enter_context(self._run(gateway, tls=tls))
            except NotStarted as error:
                return str(error)
            member.running.pause()
            self._standing[gateway.name, tls] = member
        return ""

    @contextmanager
    def measured(self, gateway: Gateway, *, tls: bool, fresh: bool) -> Iterator[Member]:
        """The one that is measured now: the others stand still. One that ended is started anew by the next `start`.

        Raises:
            NotStarted: a fresh one did not start.
        """
        if fresh:
            with self._run(gateway, tls=tls) as member:
                yield member
            return
        member = self._standing[gateway.name, tls]
        member.running.resume()
        try:
            yield member
        finally:
            member.running.pause()
            if member.running.last_words():
                del self._standing[gateway.name, tls]

    @contextmanager
    def _run(self, gateway: Gateway, *, tls: bool) -> Iterator[Member]:
        self._count += 1
        folder = self._folder / f"{self._count:03d}-{gateway.name}"
        folder.mkdir()
        files = self._tls if tls else None
        interpreter = self._interpreters[gateway.name]
        with run_gateway(gateway, interpreter, folder, self._upstreams, self._cores, files) as running:
            trust = self._trust if tls else None
            target = Target(gateway.name, running.port, running.pid, gateway.rewritten, trust, self._load_pids)
            for answer in (PLAIN, STREAM):
                _try_one(target, answer)
            yield Member(running, target)
        shutil.rmtree(folder, ignore_errors=True)


def _try_one(target: Target, answer: Answer) -> None:
    """Ask for one answer.

    Raises:
        NotStarted: it is not right.
    """
    request = next(equal_requests(answer, KEY, f"127.0.0.1:{target.port}", SHORT_PROMPT))

    async def ask() -> str:
        tls, rewritten = target.tls, target.rewritten
        async with ClosedLoop(target.port, answer, repeat(request), 1, rewritten=rewritten, tls=tls) as load:
            await load.open_all(0)
            in_time = await until(lambda: bool(load.answers or load.wrong), _TRIAL_SECONDS)
            return load.first_wrong if in_time else f"none came within {_TRIAL_SECONDS:g} s"

    with asyncio.Runner(loop_factory=event_loop_factory) as runner:
        try:
            problem = runner.run(ask())
        except AnswerWrong as error:
            problem = str(error)
    if problem:
        raise NotStarted(f"It runs, but its answer to {answer.model} is not right: {problem}")
