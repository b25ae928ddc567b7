"""How does the gateway start, keep house and end?

Start: database, keys, registry, first snapshot, prober; only then is ``/ready`` 200. End: what still runs is told so,
the last results are written, the database is closed. What was acquired is given back in reverse order, also when a
later step of the start fails. What has ended may start again, also in another event loop.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import __version__
from app.duty import Duty
from app.routers.deps import Gateway, Phase
from app.services.canary import Canary
from app.services.core.errors import StorageUnavailable
from app.services.core.health import Cadence, Thresholds
from app.services.core.snapshot import build_snapshot
from app.services.dataplane.fetch import Fetcher
from app.services.dataplane.plane import TICK_SECONDS
from app.services.dataplane.resolver import SystemResolver
from app.services.inspector import Inspector
from app.services.places import BoardPlaces
from app.services.prober import Pace, Prober
from app.services.registry.book import HealthBook
from app.services.registry.publisher import Publisher
from app.services.registry.repository import ServerRepository
from app.services.registry.secrets import SecretBox, load_or_create_encryption_key
from app.services.registry.service import Registry
from app.services.registry.tables import metadata
from app.targets import Targets
from app.utils.database import Database, Migrations
from app.utils.logger import get_logger
from app.watching import Watching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import FrameType

    from fastapi import FastAPI

    from app.services.core.keys import KeyRing
    from app.services.core.types import Server
    from app.services.dataplane.link import Link
    from app.services.dataplane.plane import DataPlane
    from app.services.dataplane.resolver import Resolver
    from app.services.observer import Observer
    from app.services.pulse import Lateness
    from app.utils.config import Settings
    from app.utils.tasks import TaskKeeper
    from app.watching import OpenSpans

__all__ = ["Parts", "begin_drain", "make_lifespan"]

logger = get_logger("gateway")

_FLUSH_TICKS = 5
_EXPIRY_TICKS = 10
_PURGE_TICKS = 36_000
_RESTART_SECONDS = 0.5
_MIGRATIONS = Migrations(Path(__file__).parent / "services" / "registry" / "migrations", metadata)


@dataclass(frozen=True, slots=True)
class Parts:
    """What exists before the start: everything that needs no database and no event loop."""

    settings: Settings
    key_ring: KeyRing = field(repr=False)
    names: Resolver
    link: Link
    plane: DataPlane
    tasks: TaskKeeper
    observer: Observer
    open_spans: OpenSpans | None = None


def make_lifespan(parts: Parts, *, own_signals: bool) -> Callable[[FastAPI], Any]:
    """Give FastAPI's ``lifespan``. ``own_signals``: drain on SIGTERM by a handler of our own."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            parts.tasks.open()
            if isinstance(parts.names, SystemResolver):
                parts.names.open()
                stack.callback(parts.names.close)
            gateway, duty = await _start(parts, stack)
            app.state.gateway, app.state.duty = gateway, duty
            if own_signals:
                stack.callback(_drain_on_signal(app, parts.settings))
            stack.callback(_end_requests, gateway, parts.plane)
            gateway.phase = Phase.READY
            logger.info("The gateway is ready", version=__version__, servers=len(gateway.registry.servers))
            yield

    return lifespan


def _end_requests(gateway: Gateway, plane: DataPlane) -> None:
    gateway.phase = Phase.DRAINING
    plane.shut()


def begin_drain(app: FastAPI, settings: Settings) -> None:
    """Turn ``/ready`` to 503; what still runs when the time to drain is over ends with an error that says so."""
    gateway: Gateway | None = getattr(app.state, "gateway", None)
    if gateway is None or gateway.phase is Phase.DRAINING:
        return
    gateway.phase = Phase.DRAINING
    logger.info("Draining: answers that run are finished, new connections go elsewhere")
    seconds = settings.drain_grace_seconds + settings.drain_timeout_seconds
    asyncio.get_running_loop().call_later(seconds, _end_overdue, app, gateway)


def _end_overdue(app: FastAPI, gateway: Gateway) -> None:
    """Cut short what still runs, unless the gateway has ended and started again since."""
    if app.state.gateway is gateway:
        app.state.plane.shut()


async def _start(parts: Parts, stack: AsyncExitStack) -> tuple[Gateway, Duty]:
    settings, plane = parts.settings, parts.plane
    database, repository = await _open_registry_database(settings, stack)
    thresholds = Thresholds(unhealthy=settings.unhealthy_threshold, healthy=settings.healthy_threshold)
    book = HealthBook(
        repository,
        thresholds,
        on_change=lambda: registry.publish(),  # noqa: PLW0108 - there is no registry yet
        may_write=lambda: not database.lent,
    )
    stack.push_async_callback(_last_flush, book)

    def install(servers: tuple[Server, ...]) -> None:
        plane.install(build_snapshot(servers))
        canary.review(servers)

    fetcher = Fetcher(parts.link, plane.reception.via)
    inspector = Inspector(fetcher, settings.health_check_timeout_seconds)
    registry = Registry(repository, inspector, book, Publisher(book, install), _utc_now)
    places = BoardPlaces(plane.board, plane.clock, plane.place_freed)
    canary = Canary(fetcher, registry, parts.tasks, places=places, enabled=settings.continuation_enabled)
    registry.on_version = canary.versioned
    stack.push_async_callback(registry.settle)
    await registry.load()
    cadence = Cadence(interval_seconds=settings.health_check_interval_seconds, thresholds=thresholds)
    pace = Pace(cadence, settings.health_check_concurrency)
    prober = Prober(
        inspector,
        book,
        parts.tasks,
        pace,
        targets=Targets(registry),
        on_models=registry.apply_discovered,
        on_version=canary.versioned,
        on_returned=plane.returned,
    )
    watching = Watching(settings, plane, parts.open_spans)
    stack.push_async_callback(watching.close)
    parts.observer.attach(watching.ledger, book, prober, canary)
    stack.push_async_callback(parts.tasks.close)
    _spawn_services(parts, registry, watching)
    duty = Duty(database, book, lambda: parts.tasks.spawn(_look_after(prober, canary), name="prober"), registry)
    gateway = Gateway(
        registry=registry,
        book=book,
        prober=prober,
        database=database,
        key_ring=parts.key_ring,
        plane=plane,
        render_metrics=watching.ledger.render,
        version=__version__,
        metrics_key=_secret(settings.metrics_key),
    )
    return gateway, duty


async def _open_registry_database(settings: Settings, stack: AsyncExitStack) -> tuple[Database, ServerRepository]:
    encryption_key = await asyncio.to_thread(
        load_or_create_encryption_key, _secret(settings.encryption_key), settings.gateway_data_dir / "encryption.key"
    )
    database = await Database.open(
        settings.database_url, _MIGRATIONS, timeout_seconds=settings.database_timeout_seconds
    )
    stack.push_async_callback(database.close)
    return database, ServerRepository(database, SecretBox(encryption_key))


async def _look_after(prober: Prober, canary: Canary) -> None:
    """Check the servers, and try them for how they continue, for as long as this process is on duty."""
    await asyncio.gather(_for_ever(prober.run, "prober"), _for_ever(canary.run, "canary"))


def _spawn_services(parts: Parts, registry: Registry, watching: Watching) -> None:
    services = {
        "sweeper": lambda: _sweep(parts.plane, watching.lateness),
        "housekeeping": lambda: _keep_house(parts.settings, registry, watching),
    }
    for name, run in services.items():
        parts.tasks.spawn(_for_ever(run, name), name=name)


async def _for_ever(run: Callable[[], Awaitable[None]], name: str) -> None:
    """Run what must not end: a bug in it is logged, and it goes on."""
    while True:
        try:
            await run()
        except Exception:
            logger.exception("A background service failed and is started again", service=name)
        await asyncio.sleep(_RESTART_SECONDS)


async def _sweep(plane: DataPlane, lateness: Lateness) -> None:
    """Turn the sweeper ten times a second. A blocked loop makes late turns, not missed ones."""
    while True:
        due = time.monotonic() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        lateness.turned(due, time.monotonic())
        plane.tick()


async def _keep_house(settings: Settings, registry: Registry, watching: Watching) -> None:
    """Write the request log, publish holds that ran out, and purge what retention no longer covers."""
    turn = 0
    while True:
        if turn % _FLUSH_TICKS == 0:
            await watching.flush()
        if turn % _EXPIRY_TICKS == 0:
            registry.publish_if_due()
        if turn % _PURGE_TICKS == 0:
            await _purge(settings, registry)
        turn += 1
        await asyncio.sleep(TICK_SECONDS)


async def _purge(settings: Settings, registry: Registry) -> None:
    now = _utc_now()
    try:
        await registry.purge(
            removed_before=now - timedelta(days=settings.removed_server_retention_days),
            checks_before=now - timedelta(days=settings.health_history_retention_days),
        )
    except StorageUnavailable as error:
        logger.warning("Old rows were not purged; it is tried again in an hour", reason=error.message)


async def _last_flush(book: HealthBook) -> None:
    try:
        await book.flush()
    except StorageUnavailable as error:
        logger.warning("The last health results were not written", reason=error.message)


def _drain_on_signal(app: FastAPI, settings: Settings) -> Callable[[], None]:
    """Drain before the server's own handler of SIGTERM runs; return what puts that handler back."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    loop = asyncio.get_running_loop()
    previous = signal.getsignal(signal.SIGTERM)  # the ASGI server's: it ends the process

    def pass_on(number: int) -> None:
        if callable(previous):
            previous(number, None)

    def drain(number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(begin_drain, app, settings)
        loop.call_soon_threadsafe(loop.call_later, settings.drain_grace_seconds, pass_on, number)

    def restore() -> None:
        signal.signal(signal.SIGTERM, previous)

    signal.signal(signal.SIGTERM, drain)
    return restore


def _secret(value: Any) -> str | None:
    return None if value is None else value.get_secret_value()


def _utc_now() -> datetime:
    return datetime.now(UTC)
