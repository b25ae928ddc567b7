"""What does an idle connection cost the gateway, and what an open stream? ``python -m bench.capacity --help``.

A gateway with default settings, but that idle clients may stay for an hour, is given idle connections and then
streams that stay open after their first event. Told are memory per connection and per stream, the processor time while
nothing happens, whether memory stays flat while every stream moves on and when as many come again, and what is left
when all have gone. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.soak_answers import Plan
from bench.soak_children import (
    ChildFailed,
    Gateway,
    ModelServer,
    heed_sigterm,
    raise_open_files,
    run_gateway,
    run_model_server,
)
from bench.soak_crowd import Crowd, CrowdFailed, control
from bench.soak_kernel import Process
from bench.soak_upstream import event_loop_factory

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Figures", "Scale", "main", "run"]

EVENTS = 12
PULSES = EVENTS - 2
SPARE_FILES = 1200
"""Descriptors that a gateway keeps from clients: for servers, its database and its log."""
_REST_SECONDS = 1.0
_SETTLE_SECONDS = 30.0
_WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Scale:
    """How many clients."""

    idle: int
    streams: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured. Memory is RSS of the gateway's process in KB."""

    idle: int
    streams: int
    base_kilobytes: float
    kilobytes_per_idle_connection: float
    kilobytes_per_open_stream: float
    kilobytes_after_pulses_per_stream: float
    """Once each stream has passed on all events but the last."""
    cores_busy_at_rest: float
    """While all of them are open and nothing comes."""
    descriptors: int
    lost: int
    """Connections that the gateway closed by itself."""
    again_kilobytes: float
    """By how much the same crowd, coming a second time, raised the most memory that was taken."""
    kilobytes_kept: float
    """What was not given back to the system when all had gone."""
    descriptors_kept: int


@dataclass(frozen=True, slots=True)
class _Wave:
    """What the gateway took while one crowd was there; memory in bytes."""

    with_idle: int
    with_streams: int
    after_pulses: int
    cores_busy: float
    descriptors: int
    lost: int


async def _measure(gateway: Gateway, servers: Sequence[ModelServer], scale: Scale) -> Figures:
    """Bring the clients twice, let every stream move, end all and let them go."""
    process = Process(gateway.pid)
    await _wave(gateway, servers, Scale(_WARM_UP, _WARM_UP))  # what is made once is no cost of a connection
    descriptors_before = await _settled(process)
    base = process.rss_bytes()
    first = await _wave(gateway, servers, scale)
    await _settled(process, descriptors_before)
    second = await _wave(gateway, servers, scale)
    descriptors_after = await _settled(process, descriptors_before)
    idle, streams = max(1, scale.idle), max(1, scale.streams)
    return Figures(
        idle=scale.idle,
        streams=scale.streams,
        base_kilobytes=base / 1024,
        kilobytes_per_idle_connection=round((first.with_idle - base) / 1024 / idle, 2),
        kilobytes_per_open_stream=round((first.with_streams - first.with_idle) / 1024 / streams, 2),
        kilobytes_after_pulses_per_stream=round((first.after_pulses - first.with_idle) / 1024 / streams, 2),
        cores_busy_at_rest=first.cores_busy,
        descriptors=first.descriptors,
        lost=first.lost + second.lost,
        again_kilobytes=(second.after_pulses - first.after_pulses) / 1024,
        kilobytes_kept=(process.rss_bytes() - base) / 1024,
        descriptors_kept=descriptors_after - descriptors_before,
    )


async def _wave(gateway: Gateway, servers: Sequence[ModelServer], scale: Scale) -> _Wave:
    process = Process(gateway.pid)
    async with Crowd(gateway.port, gateway.key, Plan(events=EVENTS, held=1)) as crowd:
        await crowd.add_idle(scale.idle)
        with_idle = process.rss_bytes()
        await crowd.add_streams(scale.streams)
        with_streams = process.rss_bytes()
        cores_busy = await _cores_busy(process)
        for pulse in range(PULSES):
            await _all(servers, "pulse")
            await crowd.each_has(pulse + 2)
        after_pulses, descriptors = process.rss_bytes(), process.descriptors()
        await _all(servers, "finish")
        await crowd.each_has(EVENTS)
        return _Wave(with_idle, with_streams, after_pulses, cores_busy, descriptors, crowd.lost)


async def _all(servers: Sequence[ModelServer], command: str) -> None:
    for server in servers:
        await control(server.port, command)


async def _settled(process: Process, descriptors: int | None = None) -> int:
    """Wait until only the listener is left; return how many descriptors are open then."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < deadline:
        now = process.descriptors()
        if set(process.sockets()) <= {"LISTEN"} and (descriptors is None or now <= descriptors):
            break
        await asyncio.sleep(0.2)
    return process.descriptors()


async def _cores_busy(process: Process) -> float:
    """How much of a core is taken while nothing happens."""
    before, started = process.cpu_seconds(), time.monotonic()
    await asyncio.sleep(_REST_SECONDS)
    return round((process.cpu_seconds() - before) / (time.monotonic() - started), 3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; returns the exit code: 1 where a client fared badly, 2 where it could not be run."""
    options = _options(arguments)
    if not Path("/proc/self/smaps_rollup").exists():
        _say("Memory and sockets are read from /proc/PID, which this system lacks. Run it on Linux.")
        return 2
    heed_sigterm()
    scale = _within(raise_open_files(), Scale(options.idle, options.streams))
    try:
        figures = run(scale, options.shell)
    except CrowdFailed as error:
        _say(f"A client fared badly: {error}")
        return 1
    except (ChildFailed, OSError) as error:
        _say(f"It could not be run: {error}")
        return 2
    except KeyboardInterrupt:
        _say("Interrupted; every child process has been ended.")
        return 130
    if options.json:
        print(json.dumps(asdict(figures)))
    else:
        _print(figures)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--idle", type=_count, default=10_000, help="idle connections (default: 10000)")
    parser.add_argument("--streams", type=_count, default=5_000, help="open streams (default: 5000)")
    parser.add_argument("--shell", choices=("door", "asgi"), default="door", help="way in to measure (default: door)")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else on stdout")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count <= 50_000:
        raise argparse.ArgumentTypeError("must be from 0 to 50000")
    return count


def _within(limit: int, wanted: Scale) -> Scale:
    """So many clients as one process may have descriptors for: a stream takes two in the gateway."""
    streams = min(wanted.streams, (limit - SPARE_FILES) // 2)
    idle = min(wanted.idle, limit - SPARE_FILES - 2 * streams)
    if (idle, streams) != (wanted.idle, wanted.streams):
        _say(f"A process may open {limit} files here (ulimit -Hn): {idle} idle connections and {streams} streams fit.")
    return Scale(idle, streams)


def run(scale: Scale, shell: str) -> Figures:
    """Start what is needed and measure. Blocks.

    Raises:
        CrowdFailed: a client was refused or got something wrong.
        ChildFailed: the gateway or a model server did not start.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-capacity-"))
        _say("Starting two model servers and a gateway ...")
        servers = [stack.enter_context(run_model_server()) for _number in range(2)]
        patient = {
            "KEEPALIVE_TIMEOUT_SECONDS": "3600",
            "HEALTH_CHECK_INTERVAL_SECONDS": "3600",
            "UPSTREAM_KEEPALIVE_SECONDS": "1",  # so that nothing is open soon after all have gone
        }
        gateway = stack.enter_context(run_gateway(Path(folder), patient, shell))
        for server in servers:
            gateway.register(server)
        _say(f"Bringing {scale.idle} idle connections and {scale.streams} streams ...")
        with asyncio.Runner(loop_factory=event_loop_factory) as runner:
            return runner.run(_measure(gateway, servers, scale))


def _print(figures: Figures) -> None:
    print(f"{figures.idle} idle connections, {figures.streams} open streams, {figures.descriptors} descriptors")
    print(f"RSS before:                   {figures.base_kilobytes / 1024:8.1f} MB")
    print(f"RSS per idle connection:      {figures.kilobytes_per_idle_connection:8.1f} KB")
    print(f"RSS per open stream:          {figures.kilobytes_per_open_stream:8.1f} KB")
    print(f"  after {PULSES} more events each:   {figures.kilobytes_after_pulses_per_stream:8.1f} KB")
    print(f"CPU while nothing happens:    {figures.cores_busy_at_rest:8.1%} of a core")
    print(f"Closed by the gateway:        {figures.lost:8}")
    print(f"RSS more the second time:     {figures.again_kilobytes / 1024:8.1f} MB")
    print(f"RSS kept after all had gone:  {figures.kilobytes_kept / 1024:8.1f} MB")
    print(f"Descriptors kept:             {figures.descriptors_kept:8}")


def _say(text: str) -> None:
    print(f"[capacity] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
