"""How does this process become the gateway: which server runs the app, and how does it start, drain and end?"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import signal
import time
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from app.cli.exits import CommandFailed, ExitCode
from app.cli.handover_farewell import LINGER_SECONDS, Farewell
from app.cli.listener import bind_listeners, close_all
from app.cli.open_files import on_loop_error, raise_open_file_limit, warn_of_low_limit
from app.services.dataplane.door import door_factory
from app.startup_words import EXPECTED_FAILURES, StartupWords
from app.utils.config import SettingsInvalid
from app.utils.logger import quiet_on_console

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence
    from types import FrameType

    from fastapi import FastAPI
    from starlette.types import ASGIApp

    from app.utils.config import Settings

__all__ = ["GatewayServer", "run_gateway"]

LAST_WORDS_SECONDS: Final = 1
UVICORN_LOGGER: Final = "uvicorn.error"
"""Where uvicorn tells of each step of its start and end; the commands have words of their own for that."""


class GatewayServer(uvicorn.Server):
    """uvicorn's server with three differences: a signal drains first, is not raised again at the end, and it may leave.

    uvicorn closes the listeners as soon as it is told to stop. Here ``/ready`` turns 503 first and
    ``grace_seconds`` pass, so that a load balancer notices before connections are refused. A second Ctrl-C ends at
    once. The process is left to choose its exit code by ``stopped_by``.

    A server that leaves has given its listeners to another process: it accepts no more, ``/ready`` stays 200, and it
    has ``answer_seconds`` to finish, as long as any answer may take. ``on_ending`` is awaited before the app's end.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        grace_seconds: float = 0.0,
        answer_seconds: float = math.inf,
        begin_drain: Callable[[], None] | None = None,
        on_started: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config)
        self.stopped_by: int | None = None
        self.on_ending: Callable[[], Awaitable[None]] | None = None
        self._grace_seconds = grace_seconds
        self._answer_seconds = answer_seconds
        self._begin_drain = begin_drain
        self._on_started = on_started
        self._stop_at_monotonic: float | None = None
        self._listeners: Sequence[socket.socket] = ()
        self._farewell: Farewell | None = None
        self._finish_by_monotonic = math.inf

    @property
    def listeners(self) -> Sequence[socket.socket]:
        """What it was given to listen on."""
        return self._listeners

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app and the listeners, then tell whoever waits for it."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(on_loop_error)
        self._listeners = sockets or ()
        await super().startup(sockets=sockets)
        if self._on_started is not None and not self.should_exit:
            self._on_started()

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """Remember the first signal; a second one ends without waiting."""
        if self.stopped_by is None:
            self.stopped_by = sig
        elif sig == signal.SIGINT:
            self.should_exit = self.force_exit = True

    def stop(self) -> None:
        """End as SIGTERM would; may be called from any thread."""
        if self.stopped_by is None:
            self.stopped_by = signal.SIGTERM

    def leave(self) -> None:
        """Another process accepts from now on: answer what is here already, and end. To be called in the event loop."""
        self._stop_accepting()
        self._farewell = Farewell(self.server_state.connections, asyncio.get_running_loop(), LINGER_SECONDS)
        self._finish_by_monotonic = time.monotonic() + self._answer_seconds + LINGER_SECONDS

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what stands beside the server, then the server, then the app."""
        if self.on_ending is not None:
            await self.on_ending()
        self._stop_accepting()
        await super().shutdown(sockets=sockets)

    def _stop_accepting(self) -> None:
        for server in self.servers:
            server.close()
        close_all(self._listeners)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: begins the drain, and ends the loop once the grace is over."""
        over = await super().on_tick(counter)
        if self._farewell is not None:
            self.should_exit = self.should_exit or self._farewell.tick()
            if time.monotonic() > self._finish_by_monotonic:
                self.stop()
        if self.stopped_by is not None:
            now = time.monotonic()
            if self._stop_at_monotonic is None:
                self._stop_at_monotonic = now + self._grace_seconds
                if self._begin_drain is not None:
                    self._begin_drain()
            self.should_exit = self.should_exit or now >= self._stop_at_monotonic
        return over or self.should_exit


def run_gateway(
    settings: Settings,
    *,
    sockets: list[socket.socket] | None = None,
    on_created: Callable[[FastAPI], None] | None = None,
    before_start: Callable[[], None] | None = None,
    on_started: Callable[[GatewayServer], None] | None = None,
) -> int | None:
    """Serve until a signal comes; blocks, and must run in the main thread.

    Args:
        settings: what the gateway is made of; its port is the one that ``sockets`` have.
        sockets: bound listeners, to be closed here; bound from the settings when left out.
        on_created: called with the app, the log configured, before anything is started.
        before_start: called when all is made that needs neither the database nor the event loop.
        on_started: called in the event loop once requests are served.

    Returns:
        The signal that ended it, or None.

    Raises:
        CommandFailed: the port is taken, a setting can't be used or the start failed; in words.
    """
    bound = bind_listeners(settings.host, settings.port) if sockets is None else sockets
    try:
        app = _create_app(settings)
        if on_created is not None:
            on_created(app)
        front = StartupWords(app)
        server = _make_server(app, front, settings, on_started)
        if before_start is not None:
            before_start()
        try:
            server.run(sockets=bound)
        except SystemExit as error:  # uvicorn's way to say that the app's start failed
            raise _start_failed(settings, front.failure) from error
        return server.stopped_by
    finally:
        close_all(bound)


def _create_app(settings: Settings) -> FastAPI:
    from app.main import create_app  # noqa: PLC0415 - the module makes an app of its own for uvicorn's sake

    limit = raise_open_file_limit()
    try:
        app = create_app(settings)
    except EXPECTED_FAILURES as error:
        raise _start_failed(settings, error) from error
    warn_of_low_limit(limit)  # only now is there a log
    quiet_on_console(UVICORN_LOGGER)
    return app


def _make_server(
    app: FastAPI, front: ASGIApp, settings: Settings, on_started: Callable[[GatewayServer], None] | None
) -> GatewayServer:
    try:
        config = make_config(app, front, settings)
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise _bad_certificate(settings, error) from error
    server = GatewayServer(
        config,
        grace_seconds=settings.drain_grace_seconds,
        answer_seconds=settings.request_timeout_seconds,
        begin_drain=app.state.begin_drain,
        on_started=None if on_started is None else lambda: on_started(server),
    )
    return server


def make_config(app: FastAPI, front: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Configure uvicorn: the door as its protocol, our own log, and nothing believed that a client says.

    ``front`` is what it serves, ``app`` whose data plane the door leads to.
    """
    # The door's factory makes protocols as a class would; uvicorn calls it with the arguments of its own classes.
    door: Any = door_factory(app.state.plane)
    return uvicorn.Config(
        front,
        host=settings.host,
        port=settings.port,
        http=door,
        loop="uvloop" if importlib.util.find_spec("uvloop") is not None else "asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=max(1, math.ceil(settings.keepalive_timeout_seconds)),
        # The data plane itself ends what still runs when the time is over; the rest is for those errors to go out.
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout_seconds) + LAST_WORDS_SECONDS,
        ssl_certfile=settings.tls_cert_file,
        ssl_keyfile=settings.tls_key_file,
    )


def _start_failed(settings: Settings, failure: BaseException | None) -> CommandFailed:
    if failure is not None:
        code = ExitCode.USAGE if isinstance(failure, SettingsInvalid) else ExitCode.FAILED
        return CommandFailed(str(failure), code=code)
    return CommandFailed(
        "The gateway could not start; the reason stands above.",
        fix=f"Run `multiverse doctor`, and look into {settings.log_file}.",
    )


def _bad_certificate(settings: Settings, error: OSError) -> CommandFailed:
    return CommandFailed(
        f"TLS_CERT_FILE={settings.tls_cert_file} and TLS_KEY_FILE={settings.tls_key_file} can't be used: {error}.",
        fix="Both must be PEM, and the key must be the certificate's own, without a password.",
        code=ExitCode.USAGE,
    )
