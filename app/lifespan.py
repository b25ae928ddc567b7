"""How does the gateway start, keep house and end?

Start: database, keys, registry, first snapshot, prober; only then is ``/ready`` 200. End: what still runs is told so,
the last results are written, the database is closed. What was acquired is given back in reverse order, also when a
later step of the start fails. What has ended may start again, also in another event loop.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import __version__
from app.accounts import Accounts
from app.assembly import Services
from app.duty import Duty
from app.housekeeping import House, keep_going, look_after
from app.lookback import Lookback
from app.looking import Looking
from app.routers.deps import Gateway, Phase
from app.services.core.errors import StorageUnavailable
from app.services.dataplane.resolver import SystemResolver
from app.services.registry.repository import ServerRepository
from app.services.registry.secrets import SecretBox, load_or_create_encryption_key
from app.services.registry.tables import metadata
from app.utils.database import Database, Migrations
from app.utils.logger import get_logger
from app.watching import Watching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import FrameType

    from fastapi import FastAPI

    from app.services.core.keys import KeyRing
    from app.services.dataplane.link import Link
    from app.services.dataplane.plane import DataPlane
    from app.services.dataplane.resolver import Resolver
    from app.services.observer import Observer
    from app.services.registry.book import HealthBook
    from app.utils.config import Settings
    from app.utils.tasks import TaskKeeper
    from app.watching import OpenSpans

__all__ = ["Parts", "begin_drain", "make_lifespan"]

logger = get_logger("gateway")

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
            gateway = await _start(app, parts, stack)
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
    app.state.feed.close()
    logger.info("Draining: answers that run are finished, new connections go elsewhere")
    seconds = settings.drain_grace_seconds + settings.drain_timeout_seconds
    asyncio.get_running_loop().call_later(seconds, _end_overdue, app, gateway)


def _end_overdue(app: FastAPI, gateway: Gateway) -> None:
    """Cut short what still runs, unless the gateway has ended and started again since."""
    if app.state.gateway is gateway:
        app.state.plane.shut()


async def _start(app: FastAPI, parts: Parts, stack: AsyncExitStack) -> Gateway:
    settings, plane = parts.settings, parts.plane
    database, repository = await _open_registry_database(settings, stack)
    accounts = Accounts(parts, database)
    services = Services(parts, database, repository, accounts)
    registry, book = services.registry, services.book
    stack.push_async_callback(_last_flush, book)
    for settle in (registry.settle, services.classes.settle, services.aliases.settle, accounts.close):
        stack.push_async_callback(settle)
    await services.load()
    lookback = Lookback(parts, database, services, accounts)  # what is there by now is no news
    stack.push_async_callback(lookback.close)
    looking = Looking(parts, services, lookback)
    stack.callback(looking.close)
    watching = Watching(settings, plane, parts.open_spans, accounts.usage.tally, lookback.recent)
    accounts.usage.fold, lookback.tallies = watching.ledger.fold, watching.ledger.tallies
    stack.push_async_callback(watching.close)
    parts.observer.attach(watching.ledger, book, services.prober, services.canary)
    if services.quarantine is not None:
        services.quarantine.good_answers = watching.ledger.good_answers
        parts.observer.ejections = services.quarantine
    stack.push_async_callback(parts.tasks.close)
    keep_going(House(settings, plane, registry, watching, accounts, looking, lookback), parts.tasks)
    app.state.duty = Duty(
        database,
        book,
        lambda: parts.tasks.spawn(look_after(services.looking), name="prober"),
        services,
        accounts,
        partial(lookback.traffic.flush, everything=True),
    )
    app.state.classes, app.state.aliases = services.classes, services.aliases
    app.state.keys, app.state.invites = accounts.keys, accounts.invites
    app.state.usage, app.state.audit = accounts.usage, accounts.audit
    app.state.settings, app.state.sessions = settings, accounts.sessions
    app.state.gateway = gateway = _gateway(parts, database, services, accounts, watching)
    looking.show(app, gateway)
    await accounts.note_settings()
    return gateway


def _gateway(parts: Parts, database: Database, services: Services, accounts: Accounts, watching: Watching) -> Gateway:
    """Put together what the routes call."""
    gateway = Gateway(
        registry=services.registry,
        book=services.book,
        prober=services.prober,
        database=database,
        key_ring=accounts.keys.ring,
        plane=parts.plane,
        render_metrics=watching.ledger.render,
        version=__version__,
        metrics_key=_secret(parts.settings.metrics_key),
        said=services.survey,
        verifications=services.verifications,
    )
    accounts.on_ring = partial(setattr, gateway, "key_ring")
    return gateway


async def _open_registry_database(settings: Settings, stack: AsyncExitStack) -> tuple[Database, ServerRepository]:
    encryption_key = await asyncio.to_thread(
        load_or_create_encryption_key, _secret(settings.encryption_key), settings.gateway_data_dir / "encryption.key"
    )
    database = await Database.open(
        settings.database_url, _MIGRATIONS, timeout_seconds=settings.database_timeout_seconds
    )
    stack.push_async_callback(database.close)
    return database, ServerRepository(database, SecretBox(encryption_key))


async def _last_flush(book: HealthBook) -> None:
    try:
        await book.flush()
    except StorageUnavailable as error:
        logger.warning("The last health results were not written", reason=error.message)


def _drain_on_signal(app: FastAPI, settings: Settings) -> Callable[[], None]:
    """Drain before the server's own handler of SIGTERM runs, and end what streams for ever before that of SIGINT.

    Returns:
        What puts their handlers back.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    loop = asyncio.get_running_loop()
    previous = signal.getsignal(signal.SIGTERM)  # the ASGI server's: it ends the process
    interrupted = signal.getsignal(signal.SIGINT)

    def pass_on(number: int) -> None:
        if callable(previous):
            previous(number, None)

    def drain(number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(begin_drain, app, settings)
        loop.call_soon_threadsafe(loop.call_later, settings.drain_grace_seconds, pass_on, number)

    def interrupt(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(app.state.feed.close)
        if callable(interrupted):
            interrupted(number, frame)

    def restore() -> None:
        signal.signal(signal.SIGTERM, previous)
        signal.signal(signal.SIGINT, interrupted)

    signal.signal(signal.SIGTERM, drain)
    signal.signal(signal.SIGINT, interrupt)
    return restore


def _secret(value: Any) -> str | None:
    return None if value is None else value.get_secret_value()
