"""Who starts, kills, stops and steers the engines? Each is a process of ours, known by its id; no other is touched."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench import launch
from bench.churn import network
from bench.churn.answering import Make
from bench.churn.delivery import GAP_SECONDS, Behaviour
from bench.churn.faults import Deed
from bench.processes import NotStarted, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

__all__ = ["MAKES", "Back", "Pool"]

MAKES = (Make.VLLM, Make.LLAMACPP, Make.SGLANG, Make.VLLM)
"""Of four engines; more go round."""
_ROOT = Path(__file__).resolve().parents[2]
_PORTS = range(20_000, 30_000)
"""Below those that the system gives to outgoing connections: a port that is free for a while must stay free."""
_START_SECONDS = 15.0
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Back:
    """An engine that was started anew: when it listened, and when it was asked for the first time, if it was."""

    ready_seconds: float
    asked_seconds: float | None


@dataclass(slots=True)
class _Life:
    """One process of an engine."""

    child: subprocess.Popen[bytes]
    ready: float | None = None
    asked: float | None = None
    unread: bytes = b""


@dataclass(slots=True)
class _Slot:
    """One engine: a port, and the processes that listened on it one after the other."""

    number: int
    make: Make
    port: int
    lives: list[_Life] = field(default_factory=list)
    is_down: bool = False
    is_dropped: bool = False

    @property
    def life(self) -> _Life:
        return self.lives[-1]


class Pool:
    """The engines of one run. To be used inside one event loop, which hears what engines tell.

    Args:
        count: how many engines.
        cores: where they run; none: anywhere.
        random: chooses their ports.
        gap_seconds: between two of their tokens.
        vanishing: whether killed ones leave nothing behind in the kernel, as if their machine had lost power.
    """

    def __init__(
        self,
        count: int,
        cores: Sequence[int],
        random: Random,
        *,
        gap_seconds: float = GAP_SECONDS,
        vanishing: bool = False,
    ) -> None:
        self._options = ("--gap", str(gap_seconds), *(("--vanishing",) if vanishing else ()))
        self._cores = ",".join(map(str, cores)) or "any"
        self._slots = [
            _Slot(number, MAKES[number % len(MAKES)], port) for number, port in enumerate(_free_ports(count, random))
        ]

    @property
    def count(self) -> int:
        """How many engines there are."""
        return len(self._slots)

    @property
    def running(self) -> tuple[Running, ...]:
        """The engines, as a gateway is started for them."""
        return tuple(Running(slot.port, slot.life.child.pid, slot.life.child) for slot in self._slots)

    async def start(self) -> None:
        """Start all, and wait until they listen.

        Raises:
            NotStarted: one does not within 15 s.
        """
        for slot in self._slots:
            self._start(slot)
        if not await self.settled():
            raise NotStarted("an engine did not start; its own words are above")

    async def settled(self) -> bool:
        """Wait until all that were started listen; whether they do within 15 s."""
        deadline = time.monotonic() + _START_SECONDS
        while any(slot.life.ready is None and not slot.is_down for slot in self._slots):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    def do(self, deed: Deed, number: int) -> None:
        """Do something to an engine."""
        slot = self._slots[number]
        deeds: dict[Deed, tuple[Callable[[_Slot], None], ...]] = {
            Deed.KILL: (self._kill,),
            Deed.START: (self._start,),
            Deed.STOP: (lambda stopped: _signal(stopped, signal.SIGSTOP),),
            Deed.GO_ON: (lambda stopped: _signal(stopped, signal.SIGCONT),),
            Deed.REPLACE: (self._kill, self._start),
            Deed.DROP: (_drop,),
            Deed.RELEASE: (self._kill, _pass, self._start),
        }
        for step in deeds.get(deed, (lambda steered: _steer(steered, Behaviour(deed.value)),)):
            step(slot)

    def backs(self) -> list[Back]:
        """All that were started anew and listened."""
        return [
            Back(life.ready, life.asked) for slot in self._slots for life in slot.lives[1:] if life.ready is not None
        ]

    def fallen(self) -> list[str]:
        """Those that ended by themselves, in words."""
        return [
            f"engine {slot.number} ended by itself, exit code {slot.life.child.returncode}"
            for slot in self._slots
            if not slot.is_down and slot.life.child.poll() is not None
        ]

    async def close(self) -> None:
        """End all that were started. Inside the event loop, which stops to hear them."""
        for slot in self._slots:
            if slot.lives:
                self._kill(slot)
            if slot.is_dropped:
                _pass(slot)

    def _start(self, slot: _Slot) -> None:
        engine = (sys.executable, "-m", "bench.churn.engine", "--port", str(slot.port), "--make", slot.make.value)
        numbers = ("--slot", str(slot.number), "--life", str(len(slot.lives)))
        child = subprocess.Popen(
            [sys.executable, "-P", str(launch.__file__), self._cores, *engine, *numbers, *self._options],
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        life = _Life(child)
        slot.lives.append(life)
        slot.is_down = False
        descriptor = child.stdout.fileno() if child.stdout else -1
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, _hear, life, descriptor)

    def _kill(self, slot: _Slot) -> None:
        """Kill it, and wait for the kernel to have taken it away, which takes no time worth a task."""
        life, slot.is_down = slot.life, True
        if life.child.poll() is None:
            os.kill(life.child.pid, signal.SIGKILL)
            life.child.wait()
        if life.child.stdout is not None and not life.child.stdout.closed:
            asyncio.get_running_loop().remove_reader(life.child.stdout.fileno())
            _hear(life, life.child.stdout.fileno())
            life.child.stdout.close()
        if life.child.stdin is not None:
            life.child.stdin.close()


def _hear(life: _Life, descriptor: int) -> None:
    """Note what an engine tells: a word and the time, a line each."""
    try:
        data = os.read(descriptor, 65_536)
    except BlockingIOError:
        return
    if not data:
        asyncio.get_running_loop().remove_reader(descriptor)
    *lines, life.unread = (life.unread + data).split(b"\n")
    for line in lines:
        word, _space, moment = line.decode().partition(" ")
        if word == "ready":
            life.ready = float(moment)
        elif word == "asked":
            life.asked = float(moment)


def _signal(slot: _Slot, number: int) -> None:
    if slot.life.child.poll() is None:
        os.kill(slot.life.child.pid, number)


def _steer(slot: _Slot, behaviour: Behaviour) -> None:
    if slot.life.child.stdin is not None and slot.life.child.poll() is None:
        slot.life.child.stdin.write(behaviour.value.encode() + b"\n")
        slot.life.child.stdin.flush()


def _drop(slot: _Slot) -> None:
    network.drop_packets(slot.port)
    slot.is_dropped = True


def _pass(slot: _Slot) -> None:
    network.pass_packets(slot.port)
    slot.is_dropped = False


def _free_ports(count: int, random: Random) -> list[int]:
    """Ports that nobody listens on."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
