"""How is the gateway put together? The composition root: settings -> services -> the FastAPI ``app``.

Here everything is built that needs neither the database nor an event loop; ``app.lifespan`` builds the rest at the
start, and no other module wires objects together. ``uvicorn app.main:app`` serves everything through plain ASGI;
``multiverse serve`` runs the same application behind the door, which takes ``/v1/`` in before ASGI does.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from random import getrandbits
from secrets import token_bytes
from typing import TYPE_CHECKING, Any

from starlette.middleware.cors import CORSMiddleware

from app import __version__
from app.lifespan import Parts, begin_drain, make_lifespan
from app.routers.api import create_api
from app.routers.middleware import Bounds as HttpBounds
from app.services.core.http.cors import CorsPolicy
from app.services.core.http.surfaces import PREFIX, is_account
from app.services.core.http.trace_context import TakePart, pass_on
from app.services.core.keys import KeyRing, mint
from app.services.core.network.addresses import AddressPolicy
from app.services.dataplane.asgi import AsgiDoor
from app.services.dataplane.demands import Demands
from app.services.dataplane.fetch import Fetcher
from app.services.dataplane.link import Link, SystemResolver, default_tls_context
from app.services.dataplane.plane import TICK_SECONDS, DataPlane
from app.services.dataplane.reception import Reception
from app.services.dataplane.sides import Bounds, Limits
from app.services.observer import Observer
from app.services.preparation import Preparation
from app.services.registry.secrets import load_or_create_admin_key
from app.startup_words import EXPECTED_FAILURES, StartupWords
from app.utils.config import Problem, Settings, SettingsInvalid, load_settings
from app.utils.logger import configure_logging, get_logger
from app.utils.own_addresses import own_listeners
from app.utils.tasks import TaskKeeper

if TYPE_CHECKING:
    import ssl

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

    from app.services.dataplane.resolver import Resolver
    from app.watching import OpenSpans

__all__ = ["create_app"]

logger = get_logger("gateway")

_INFERENCE = PREFIX.decode()
_USAGE = 2
"""The exit code for settings that can't be used; that of the commands."""
_ADMIN_BODY_BYTES = 1_048_576
"""Documents of the admin API are small; only inference takes MAX_REQUEST_BYTES."""


class InferenceFirst:
    """Hands ``/v1/`` to the data plane and everything else on to FastAPI."""

    def __init__(self, app: ASGIApp, inference: AsgiDoor) -> None:
        self._app = app
        self._inference = inference

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        path: str = scope.get("path", "")
        if (
            scope["type"] == "http"
            and path.startswith(_INFERENCE)
            and not is_account(path.encode("latin-1", "replace"))
        ):
            await self._inference(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def create_app(settings: Settings, *, resolver: Resolver | None = None, plain_asgi: bool = False) -> FastAPI:
    """Build the gateway. ``app.state.plane`` is there at once, ``app.state.gateway`` once it has started.

    It can be started again after it has ended.

    Args:
        settings: validated; nothing else is read from the environment.
        resolver: turns names into addresses; the system's when left out.
        plain_asgi: it is for a server that knows nothing of this project: SIGTERM drains by a handler of our own, and
            a start that fails is told in the log.

    Raises:
        SettingsInvalid: a file that a setting names doesn't hold what it should.
        EncryptionKeyInvalid: a key file can't be used.
        OSError: a file or folder can't be read or made.
    """
    _configure_log(settings, settings.secret_values())
    admin_key = _admin_key(settings)
    _configure_log(settings, (*settings.secret_values(), admin_key))
    for unknown in settings.unknown_names():
        logger.warning("A setting has an unknown name", setting=unknown)
    parts = _parts(settings, resolver or SystemResolver(), KeyRing.with_admin(admin_key))
    app = create_api(__version__, lifespan=make_lifespan(parts, own_signals=plain_asgi), bounds=_admin_bounds(settings))
    app.state.plane = parts.plane
    app.state.begin_drain = lambda: begin_drain(app, settings)
    _add_middleware(app, settings, parts.plane)
    if plain_asgi:
        app.add_middleware(StartupWords, on_failure=_tell_failed_start)
        if settings.tls_cert_file is not None:
            logger.warning(
                "TLS_CERT_FILE and TLS_KEY_FILE have no effect here: give them to the ASGI server by its own options "
                "(uvicorn: --ssl-certfile, --ssl-keyfile), or start the gateway with `multiverse serve`"
            )
    return app


def _add_middleware(app: FastAPI, settings: Settings, plane: DataPlane) -> None:
    """Put in front of the routes what comes before them; the last one added is the first to see a request."""
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID"],
        )
    app.add_middleware(InferenceFirst, inference=AsgiDoor(plane))


def _tell_failed_start(failure: BaseException) -> None:
    logger.critical("The gateway can't start", reason=str(failure))


def _admin_bounds(settings: Settings) -> HttpBounds:
    return HttpBounds(
        body_bytes=min(settings.max_request_bytes, _ADMIN_BODY_BYTES),
        head_bytes=settings.max_header_bytes,
        headers=settings.max_header_count,
        body_seconds=settings.body_timeout_seconds,
        trusted_proxies=settings.trusted_proxies,
    )


def _configure_log(settings: Settings, secrets: tuple[str, ...]) -> None:
    configure_logging(
        level=settings.log_level,
        log_format=settings.log_format,
        file=settings.log_file,
        max_bytes=settings.log_max_bytes,
        backup_count=settings.log_backup_count,
        secrets=secrets,
    )


def _admin_key(settings: Settings) -> str:
    if settings.admin_api_key is not None:
        return settings.admin_api_key.get_secret_value()
    path = settings.gateway_data_dir / "admin.key"
    made = not path.exists()
    key = load_or_create_admin_key(path, lambda: mint(token_bytes(32)))
    if made:
        logger.info("An admin key was made; read it from this file", path=str(path.resolve()))
    return key


def _parts(settings: Settings, names: Resolver, key_ring: KeyRing) -> Parts:
    tasks, observer = TaskKeeper(), Observer()
    link = _link(settings, names)
    plane = _plane(settings, link, tasks, observer, key_ring)
    return Parts(
        settings=settings,
        key_ring=key_ring,
        names=names,
        link=link,
        plane=plane,
        tasks=tasks,
        observer=observer,
        open_spans=_open_spans(settings),
    )


def _open_spans(settings: Settings) -> OpenSpans | None:
    """Give what begins to send spans, None where tracing is off. Its library is imported only where it is on."""
    if not settings.otel_enabled:
        return None
    try:
        from app.services.tracing import Collector, SpanExport  # noqa: PLC0415 - the extra may not be installed
    except ImportError as error:
        fix = "takes an extra: pip install 'multiverse-inference-gateway[otel]', or set it to false"
        raise SettingsInvalid([Problem("OTEL_ENABLED", "true", fix)]) from error
    headers = settings.otel_exporter_otlp_headers
    collector = Collector(
        settings.otel_exporter_otlp_endpoint,
        headers.get_secret_value() if headers is not None else "",
        settings.otel_service_name,
    )
    return partial(SpanExport, collector)


def _upstream_tls(settings: Settings) -> ssl.SSLContext:
    context = default_tls_context()
    if settings.upstream_ca_file is not None:
        try:
            context.load_verify_locations(settings.upstream_ca_file)
        except OSError as error:  # ssl.SSLError is one
            fix = f"must hold certificates in PEM, and be readable by the gateway's user ({error})"
            raise SettingsInvalid([Problem("UPSTREAM_CA_FILE", str(settings.upstream_ca_file), fix)]) from error
    return context


def _link(settings: Settings, resolver: Resolver) -> Link:
    listeners = own_listeners(settings.host, settings.port)
    policy = AddressPolicy(allowed_networks=settings.allowed_server_networks, own_listeners=listeners)
    return Link(
        policy, resolver, connect_timeout_seconds=settings.connect_timeout_seconds, tls_context=_upstream_tls(settings)
    )


def _plane(settings: Settings, link: Link, tasks: TaskKeeper, observer: Observer, key_ring: KeyRing) -> DataPlane:
    limits = Limits(
        request_ticks=_ticks(settings.request_timeout_seconds),
        first_token_ticks=_ticks(settings.first_token_timeout_seconds),
        idle_ticks=_ticks(settings.stream_idle_timeout_seconds),
        keepalive_ticks=_ticks(settings.sse_keepalive_seconds),
        queue_ticks=_ticks(settings.queue_max_wait_seconds),
        queue_size=settings.queue_max_size,
        max_attempts=settings.max_attempts,
        max_json_depth=settings.max_json_depth,
        hold_bytes=settings.max_answer_hold_bytes,
        suspect_ticks=_ticks(settings.stall_suspect_seconds),
        model_load_ticks=_ticks(settings.model_load_timeout_seconds),
        max_continuations=settings.max_continuations if settings.continuation_enabled else 0,
        hold_tool_calls=settings.hold_tool_calls,
    )
    bounds = Bounds(
        header_count=settings.max_header_count,
        header_bytes=settings.max_header_bytes,
        body_bytes=settings.max_request_bytes,
        header_ticks=_ticks(settings.header_timeout_seconds),
        body_ticks=_ticks(settings.body_timeout_seconds),
    )
    reception = Reception(
        key_ring,
        CorsPolicy(settings.cors_origins),
        require_auth=settings.require_client_auth,
        max_body_bytes=settings.max_request_bytes,
        trusted_proxies=settings.trusted_proxies,
        trace=TakePart(getrandbits, settings.otel_sample_ratio) if settings.otel_enabled else pass_on,
        user_headers=settings.user_headers,
    )
    return DataPlane(
        link=link,
        reception=reception,
        limits=limits,
        bounds=bounds,
        tasks=tasks,
        observer=observer,
        preparer=Preparation(Fetcher(link, reception.via)),
        pool_keepalive_ticks=_ticks(settings.upstream_keepalive_seconds),
        retry_ratio=settings.retry_budget_ratio,
        demands=Demands(follows=settings.prefix_affinity_enabled, shared=settings.prefix_affinity_shared),
    )


def _ticks(seconds: float) -> int:
    return max(1, math.ceil(seconds / TICK_SECONDS))


def __getattr__(name: str) -> Any:
    """Build ``app`` when it is first asked for, as ``uvicorn app.main:app`` does, and not on every import."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        built = create_app(load_settings(), plain_asgi=True)
    except EXPECTED_FAILURES as error:
        sys.stderr.write(f"The gateway can't start: {error}\n")
        raise SystemExit(_USAGE) from error
    globals()["app"] = built
    return built
