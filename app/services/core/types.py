"""What is a server, a model, a check? The frozen values that every room of the gateway shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from app.services.core.people.principal import Trust

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.services.core.continuation.ability import Ability

__all__ = [
    "CheckFailure",
    "DiscoveredModel",
    "Endpoint",
    "HealthStatus",
    "Inspection",
    "ModelEntry",
    "Server",
]


class HealthStatus(StrEnum):
    """What the health checks last found. Pause, quarantine, block and drain are kept apart from it."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens, in canonical form (``core.network.addresses.parse_endpoint`` makes it).

    ``host`` is a lower-case ASCII name (IDNA A-label) or an IP literal without brackets; ``base_path`` is what
    stands before ``/v1``: empty, or ``/prefix`` without a trailing slash.
    """

    scheme: str
    host: str
    port: int
    base_path: str = ""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: where a key that is sent there arrives (RFC 6454, 4)."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """``host[:port]`` as the Host header carries it: default ports left out, IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The canonical URL, without ``/v1`` and without a trailing slash. Two equal URLs are one endpoint."""
        return f"{self.scheme}://{self.authority}{self.base_path}"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model as users ask for it (``name``) and as the server calls it (``upstream_name``)."""

    name: str
    upstream_name: str
    context_length: int | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """One registered server as routing sees it. Live figures (in flight, cool-down) stand on the board instead."""

    id: str
    endpoint: Endpoint
    models: tuple[ModelEntry, ...]
    api_key: str | None = field(default=None, repr=False)
    engine: str = "unknown"
    max_concurrency: int | None = None
    priority: int = 0
    weight: float = 1.0
    health: HealthStatus = HealthStatus.UNKNOWN
    missing_models: frozenset[str] = frozenset()
    """Upstream names that the last check did not find in the server's list."""
    paused: bool = False
    quarantined: bool = False
    blocked: bool = False
    draining: bool = False
    loading: bool = False
    """It said that it is still loading its model: it is not ill, and will be back by itself."""
    misconfigured: bool = False
    """It refuses the gateway's key, so it takes no work until somebody changes something."""
    abilities: Mapping[str, Ability] = field(default_factory=dict)
    """How it goes on with a broken answer, by a model's upstream name. What is absent was not judged yet."""
    places: int | None = None
    """How many requests it computes at once, by its own word."""
    loaded: frozenset[str] | None = None
    """The upstream names of the models in its memory, by its own word; None where it does not tell."""
    swaps_models: bool = False
    """Whether its engine loads a model inside a request, and may put another out of memory for it."""
    contexts: Mapping[str, int] = field(default_factory=dict)
    """Context lengths in effect by upstream name, in tokens: they go before what was registered."""
    pending: bool = False
    """It waits for the operator's approval."""
    off_hours: bool = False
    """Its owner lends it at other hours."""
    owner: str = ""
    """The id of the key that registered it."""
    group: str | None = None
    """The id of its owner's group."""
    share: str = "everyone"
    """Who may use it: ``everyone``, its owner's ``group``, or its owner alone (``me``)."""
    trust: Trust = Trust.TRUSTED
    """How far it is trusted."""

    @property
    def accepts_work(self) -> bool:
        """Whether owner, gateway and operator let new requests go here. Says nothing of health."""
        held = self.paused or self.quarantined or self.blocked or self.draining
        return not (held or self.pending or self.off_hours)


@dataclass(frozen=True, slots=True)
class DiscoveredModel:
    """A model that a server lists. ``context_length`` in tokens, if the server tells it."""

    name: str
    context_length: int | None = None


class CheckFailure(StrEnum):
    """Why a check failed, as far as the next step depends on it."""

    REFUSED_ADDRESS = "refused_address"
    """The SSRF judgement forbids the address: a registration answers 400."""
    UNREACHABLE = "unreachable"
    """No connection, a reset, or no answer in time."""
    TLS = "tls"
    """Connected, but TLS failed: a certificate that is not trusted, or no TLS at all."""
    NOT_READY = "not_ready"
    """Reached, but still loading or overloaded (503)."""
    LOADING = "loading"
    """Reached, and its engine says that it is loading the model: not ill, only not ready."""
    CREDENTIALS = "credentials"
    """The server answered 401 or 403."""
    BAD_ANSWER = "bad_answer"
    """Reached, but what it said is not a list of models."""
    MODEL_MISSING = "model_missing"
    """Reached, but it lists none of the models it is registered for."""
    NOT_MADE = "not_made"
    """The gateway itself could not look, out of file descriptors for one: this says nothing of the server."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one look at a server found. ``failure`` is None when it passed.

    ``reason`` is empty on a clean pass, else words that an owner understands: "connection refused",
    "lists models a, b but not c", "answered 503: Loading model".
    """

    failure: CheckFailure | None
    reason: str
    models: tuple[DiscoveredModel, ...] = ()
    engine: str = "unknown"
    latency_ms: float = 0.0
    missing_models: frozenset[str] = frozenset()
    """Upstream names that were expected and not listed."""
    code: str | None = None
    """Which rule refused the address (``DenialCode``), where one did."""
    version: str = ""
    """The engine's own version, where it was asked for and told."""

    @property
    def passed(self) -> bool:
        """Whether the server was reached and gave a list of models."""
        return self.failure is None
