"""Who is asking, and how does a route reach the services?"""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Protocol, cast

from fastapi import Depends, FastAPI, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from app.routers.absent import NothingSaid, NothingVerified
from app.services.core.errors import NotAuthenticated, Unavailable
from app.services.core.keys import KeyRing, Principal, Role, extract_credential
from app.services.core.people.refusals import route_not_in_scope
from app.services.registry.access import require_operator, require_operators_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Scope

    from app.services.core.choice.explain import Explanation
    from app.services.core.live.loading import Loading
    from app.services.core.signals import Signals
    from app.services.core.types import Inspection
    from app.services.core.verification.findings import VerificationFinding
    from app.services.registry.book import HealthBook
    from app.services.registry.records import EngineFacts
    from app.services.registry.service import Registry
    from app.utils.database import DatabaseHealth

__all__ = [
    "SECURITY",
    "Admin",
    "Board",
    "Checker",
    "DatabaseState",
    "Gateway",
    "GatewayHere",
    "MetricsReader",
    "Operator",
    "Phase",
    "Plane",
    "Said",
    "current_principal",
    "refuse_strangers",
    "require_admin",
    "require_metrics_reader",
    "require_operator_key",
    "started_gateway",
]


class Phase(StrEnum):
    """Where the gateway is in its life; ``/ready`` says 200 in ``READY`` alone."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Checker(Protocol):
    """Checks a server out of its turn (``Prober``)."""

    async def check_now(self, server_id: str) -> Inspection:
        """Check a server and take in what was found."""
        ...

    def check_soon(self, server_id: str) -> None:
        """Check a server in the background, at once."""
        ...


class DatabaseState(Protocol):
    """Says whether the database answers (``Database``)."""

    async def check(self) -> DatabaseHealth:
        """Look at the database; never raises."""
        ...


class Board(Protocol):
    """How busy servers are."""

    def in_flight(self, server_id: str) -> int:
        """Return the number of requests that run on a server now."""
        ...

    def loading(self, server_id: str) -> tuple[Loading, ...]:
        """Return the models that a server loads now."""
        ...


class Plane(Protocol):
    """The part of the data plane that pages show."""

    @property
    def board(self) -> Board:
        """The live figures."""
        ...

    @property
    def clock(self) -> Callable[[], float]:
        """Monotonic seconds, those that the live figures are kept in."""
        ...

    def explain(
        self, model: str, prompt_tokens: int, answer_tokens: int, session: str | None, key_id: str
    ) -> Explanation:
        """Say where a request would go now; raises ``ModelNotFound``."""
        ...


class Said(Protocol):
    """What engines say of themselves (``Survey``)."""

    def signals(self, server_id: str, /) -> Signals:
        """Return what a server last said of itself."""
        ...

    def told_at(self, server_id: str, /) -> datetime | None:
        """Return when it said that; None if it said nothing."""
        ...

    def facts(self, server_id: str, /) -> EngineFacts:
        """Return what routing follows of it."""
        ...


class Verified(Protocol):
    """What was found of servers' claims (``Verifications``)."""

    def of(self, server_id: str, /) -> Mapping[str, tuple[VerificationFinding, ...]]:
        """Return what was found of a server's models, by what it calls them."""
        ...


@dataclass(slots=True)
class Gateway:
    """All that routes may call. Built once by the composition root and put at ``app.state.gateway``.

    ``key_ring`` is swapped whole when a key changes.
    ``metrics_key`` opens ``/metrics`` and nothing else. ``started_at`` is a reading of ``time.monotonic()``; ``now``
    tells the present moment in UTC.
    """

    registry: Registry
    book: HealthBook
    prober: Checker
    database: DatabaseState
    key_ring: KeyRing
    plane: Plane
    render_metrics: Callable[[], bytes]
    version: str
    metrics_key: str | None = field(default=None, repr=False)
    started_at: float = field(default_factory=time.monotonic)
    now: Callable[[], datetime] = field(default=partial(datetime.now, UTC))
    phase: Phase = Phase.STARTING
    said: Said = field(default_factory=NothingSaid)
    verifications: Verified = field(default_factory=NothingVerified)


_USERS_BODY_BYTES: Final = 4096
CLOSED_TO_STRANGERS: Final = ("/admin", "/v1/")

bearer_scheme = HTTPBearer(
    auto_error=False, scheme_name="BearerKey", description="`Authorization: Bearer <key>`, as OpenAI clients send it."
)
header_scheme = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="X-API-Key", description="The same key in a header of its own."
)
"""These two document how keys are sent. ``extract_credential`` alone reads them."""


def started_gateway(app: FastAPI) -> Gateway | None:
    """Return the services; None while they start."""
    return cast("Gateway | None", getattr(app.state, "gateway", None))


def gateway_of(request: Request) -> Gateway:
    """Return the services.

    Raises:
        Unavailable: they are not there yet.
    """
    return _required(request.app)


GatewayHere = Annotated[Gateway, Depends(gateway_of)]


def current_principal(request: Request, gateway: GatewayHere) -> Principal:
    """Say whose key the request carries.

    Raises:
        NotAuthenticated: no key, two different ones, or one that is not good.
        NotAllowed: a good key whose scope does not reach this path.
    """
    return _principal(gateway, request.scope)


def refuse_strangers(scope: Scope) -> int | None:
    """Ask for a good key before a body for the admin API is read: closed by default, whatever a route asks for.

    Returns:
        How long the body may be at most, where that is less than for others: users' keys have little to say there.

    Raises:
        NotAuthenticated: no key, two different ones, or one that is not good.
        NotAllowed: a good key whose scope does not reach this path.
        Unavailable: the gateway is starting.
    """
    if scope["path"].startswith(CLOSED_TO_STRANGERS):
        principal = _principal(_required(scope["app"]), scope)
        return _USERS_BODY_BYTES if principal.role is Role.USER else None
    return None


def _principal(gateway: Gateway, scope: Scope) -> Principal:
    """Say whose key a request carries, if its scope reaches the path."""
    principal = gateway.key_ring.authenticate(extract_credential(scope["headers"]))
    path: str = scope["path"]
    if principal.routes is not None and not principal.may_call(path):
        raise route_not_in_scope(path, principal.routes)
    return principal


def _required(app: FastAPI) -> Gateway:
    gateway = started_gateway(app)
    if gateway is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return gateway


def require_admin(principal: Annotated[Principal, Depends(current_principal)]) -> Principal:
    """Let admin keys pass.

    Raises:
        NotAllowed: another role.
    """
    require_operator(principal)
    return principal


def require_operator_key(principal: Annotated[Principal, Depends(current_principal)]) -> Principal:
    """Let admin keys pass that are bound to no group: what is told concerns all of them.

    Raises:
        NotAllowed: another role, or a group's admin.
    """
    require_operators_word(principal)
    return principal


def require_metrics_reader(request: Request, gateway: GatewayHere) -> Principal:
    """Let the metrics key and admin keys pass.

    Raises:
        NotAuthenticated: no good key.
        NotAllowed: a good key of another role.
    """
    credential = extract_credential(request.headers.raw)
    if credential and gateway.metrics_key and hmac.compare_digest(credential, gateway.metrics_key.encode()):
        return Principal("metrics", "metrics key", Role.USER)
    try:
        return require_operator_key(_principal(gateway, request.scope))
    except NotAuthenticated as error:
        message = "Metrics need METRICS_KEY or an admin key, as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'."
        raise NotAuthenticated(message) from error


DOCUMENTED_SCHEMES = [Security(bearer_scheme), Security(header_scheme)]
SECURITY: Final[list[dict[str, list[str]]]] = [{scheme.scheme_name: []} for scheme in (bearer_scheme, header_scheme)]
"""The same as the OpenAPI document writes it, for routes that FastAPI does not serve: either of the two will do."""
Admin = Annotated[Principal, Depends(require_admin)]
Operator = Annotated[Principal, Depends(require_operator_key)]
MetricsReader = Annotated[Principal, Depends(require_metrics_reader)]
