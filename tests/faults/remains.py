"""What is left behind? After a fault nothing is in flight, queued or held, and there is no task and no socket more."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from bench.soak_kernel import Process
from tests.fakes.gateway_process import ADMIN_KEY as PROCESS_KEY
from tests.fakes.gateway_process import GatewayProcess, until
from tests.fakes.raw_http import exchange, request

if TYPE_CHECKING:
    from tests.faults.world import World

__all__ = ["IDLE_TICKS", "figures_of", "nothing_left", "nothing_left_of", "sockets_of_ours"]

SETTLE_SECONDS = 5.0
IDLE_TICKS = 700
"""Ticks of the pool after which it has let go of every idle connection."""
BUSY = ("multiverse_in_flight", "multiverse_queue_length", "multiverse_open_requests")


async def nothing_left(world: World) -> None:
    """Wait until the gateway is as it was: nothing in flight, queued or held, no task and no connection more."""
    plane = world.plane

    async def is_at_rest() -> bool:
        for _tick in range(IDLE_TICKS):
            plane.pool.tick()  # idle connections are let go without waiting
        return not [name for name, count in (await left(world)).items() if count]

    try:
        await until(is_at_rest, "nothing is left behind", seconds=SETTLE_SECONDS)
    except AssertionError as error:
        remains = {name: count for name, count in (await left(world)).items() if count}
        message = f"left behind: {remains}"
        raise AssertionError(message) from error


async def left(world: World) -> dict[str, int]:
    """What there is more than at rest."""
    plane = world.plane
    servers = await world.servers()
    return {
        "in flight": sum(server["in_flight"] for server in servers.values()),
        "open exchanges": plane.open_exchanges,
        "queued": plane.queued,
        "held bytes": plane.held_bytes,
        "unread bytes": plane.unread_bytes,
        "half requests": len(plane.waiting),
        "connections to servers": sum(count for _server, _idle, count in plane.pool.connections()),
        "connections at servers": sum(talker.connected for talker in world.talkers),
        "clients": max(0, plane.client_connections - 1),  # but for the admin's
        "tasks": max(0, len(plane.tasks) - world.tasks_at_rest),  # type: ignore[arg-type]
        "sockets": max(0, sockets_of_ours() - world.sockets_at_rest),
    }


def sockets_of_ours() -> int:
    """How many sockets of this process are no listeners."""
    if sys.platform != "linux":
        return 0
    states = Process(os.getpid()).sockets()
    return sum(count for state, count in states.items() if state != "LISTEN")


async def nothing_left_of(gateway: GatewayProcess) -> None:
    """Wait until a gateway in a process of its own runs nothing, holds nothing and has no socket but its listener."""
    process = Process(gateway.pid)

    async def is_at_rest() -> bool:
        figures = await figures_of(gateway)
        busy = [name for name in BUSY if sum(value for line, value in figures.items() if line.startswith(name))]
        return not busy and (sys.platform != "linux" or set(process.sockets()) == {"LISTEN"})

    await until(is_at_rest, "nothing is left behind", seconds=SETTLE_SECONDS)


async def figures_of(gateway: GatewayProcess) -> dict[str, float]:
    """What ``/metrics`` says, read on a connection that is closed behind it."""
    answer = await exchange(
        gateway.port, request("GET", "/metrics", [("X-API-Key", PROCESS_KEY), ("Connection", "close")])
    )
    lines = [line.rpartition(" ") for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _space, value in lines}
