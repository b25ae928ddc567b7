"""Who comes in, and what for? All that is decided from the head of a request, before its body is read.

Both ways in ask here, so that a key, a path or a size is judged alike by both, and a stranger's body is never read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import getrandbits
from typing import TYPE_CHECKING

import msgspec

from app.services.core.answer.answers import model_object, models_list
from app.services.core.choice.sight import Views, sight_of
from app.services.core.errors import GatewayError, MethodNotAllowed, NotAuthenticated, render
from app.services.core.http.http_rules import FRAMING_HEADERS, judge_head
from app.services.core.http.proxies import client_address
from app.services.core.http.surfaces import INFERENCE_PATHS, Inference, ListModels, OneModel, Preflight, match
from app.services.core.http.trace_context import NO_TRACE, Trace, pass_on
from app.services.core.http.via import passed_on, pseudonym
from app.services.core.keys import CREDENTIAL_HEADERS, KeyRing, Principal, Role, extract_credential
from app.services.core.people.principal import Trust
from app.services.core.people.refusals import model_not_in_scope, route_not_in_scope
from app.services.core.people.said import named_person, reach_of, session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from app.services.core.choice.snapshot import Snapshot
    from app.services.core.http.cors import CorsPolicy
    from app.services.core.http.known_message import Variation

__all__ = ["ANONYMOUS", "READ_HEADERS", "Call", "Reception", "Reply", "error_reply", "stranger_reply"]

ANONYMOUS = Principal(key_id="anonymous", name="anonymous", role=Role.USER)
_MODELS = "/v1/models"
_LISTS = frozenset((b"x-forwarded-for", b"via", b"traceparent", b"tracestate"))
"""A second ``traceparent`` makes the joined value one that is none, as it has to be."""
_SESSION, _ROUTE, _TRUST = b"x-session-id", b"x-gateway-route", b"x-gateway-trust"
READ_HEADERS = (
    FRAMING_HEADERS
    | CREDENTIAL_HEADERS
    | _LISTS
    | {b"x-request-id", b"origin", b"access-control-request-headers", _SESSION, _ROUTE, _TRUST}
)
"""All that is looked at, but for those in which a front end names its user. Others cost one look each."""
_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that needs no server. ``lines`` are header lines, each ending in CRLF, without framing."""

    status: int
    lines: bytes
    body: bytes
    path: str = ""
    client: str = ""
    request_id: bytes = b""
    code: str | None = None


class Call(msgspec.Struct, frozen=True, gc=False):
    """An inference request whose body may now be read."""

    path: str
    principal: Principal
    request_id: bytes
    client: str
    via: bytes
    """The header line that goes on to the server, with the line end before it."""
    lines: bytes
    """Header lines that every answer to this request carries: its id and what CORS asks for."""
    cors: bytes = b""
    """Those of them that CORS asks for."""
    trace: Trace = NO_TRACE
    session: bytes = b""
    """What ``X-Session-ID`` says; empty where that is nothing that can be taken."""
    asks_why: bool = False
    """Whether the answer is to say why it came from where it did (``X-Gateway-Route: why``)."""
    person: str = ""
    """Whose use it is: the key's person, or whom a front end named."""
    named: bool = False
    """Whether a front end named the person: the key's limits then count for each that it names."""
    reach: Trust = Trust.PUBLIC
    """How far it may go."""
    marks: bool = False
    """Whether the gateway's own comments in the stream are to be told from a model server's."""

    @property
    def weight(self) -> float:
        """How large its person's share is beside others'."""
        return self.principal.weight

    @property
    def background(self) -> bool:
        """Whether it yields to people's requests."""
        return self.principal.background


class Reception:
    """Judges heads. Holds only frozen values, so one instance serves all connections.

    ``key_ring`` is swapped whole when a key changes; ``read_headers`` are all that is looked at.
    """

    __slots__ = (
        "_cors", "_max_body_bytes", "_require_auth", "_trace", "_trusted_proxies", "_user_headers", "_views",
        "key_ring", "read_headers", "via",
    )  # fmt: skip

    def __init__(
        self,
        key_ring: KeyRing,
        cors: CorsPolicy,
        *,
        require_auth: bool,
        max_body_bytes: int,
        trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = (),
        trace: Callable[[bytes, bytes], Trace] = pass_on,
        user_headers: Sequence[str] = (),
    ) -> None:
        """Judge heads.

        Args:
            key_ring: all keys that are good.
            cors: which origins may call from a browser.
            require_auth: whether calling models takes a key.
            max_body_bytes: the longest body.
            trusted_proxies: whose X-Forwarded-For is believed.
            trace: what to make of a client's ``traceparent`` and ``tracestate``.
            user_headers: in which a front end names its user, in lower case; the first that is there counts.
        """
        self.key_ring = key_ring
        self._user_headers = tuple(name.encode() for name in user_headers)
        self.read_headers = READ_HEADERS | frozenset(self._user_headers)
        self._views = Views()
        self._trace = trace
        self._cors = cors
        self._require_auth = require_auth
        self._max_body_bytes = max_body_bytes
        self._trusted_proxies = trusted_proxies
        self.via = pseudonym(getrandbits(64))

    def receive(
        self,
        method: bytes,
        path: str,
        headers: Sequence[tuple[bytes, bytes]],
        http_version: str,
        peer: str,
        snapshot: Snapshot,
    ) -> Reply | Call:
        """Judge one head.

        Args:
            method: as on the request line.
            path: raw, without the query.
            headers: names in lower case.
            http_version: ``1.0`` or ``1.1``.
            peer: the address that the connection came from.
            snapshot: the registry now, for the routes that list models.
        """
        read_headers = self.read_headers
        headers = [header for header in headers if header[0] in read_headers]
        noted = _noted(headers)
        request_id, origin = noted.get(b"x-request-id", b""), noted.get(b"origin", b"")
        if not _SANE_REQUEST_ID.fullmatch(request_id):
            request_id = _fresh_id()
        cors = self._cors.answer_headers(origin) if origin else b""
        lines = b"x-request-id: %b\r\n%b" % (request_id, cors)
        client = client_address(peer, noted.get(b"x-forwarded-for", b""), self._trusted_proxies)
        try:
            judge_head(headers, http_version, self._max_body_bytes)
            surface = match(method, path)
            if isinstance(surface, Preflight):
                requested = noted.get(b"access-control-request-headers", b"")
                return self._preflight(surface, request_id, origin, requested)
            principal = self._authenticate(headers)
            if principal.routes is not None and not principal.may_call(path):
                raise route_not_in_scope(path, principal.routes)
            via = passed_on(noted.get(b"via", b""), self.via)
            if isinstance(surface, Inference):
                return self._call(surface, principal, noted, request_id, client, via, cors)
            reach = reach_of(principal, noted.get(_TRUST))
            body = _models(surface, self._views.of(snapshot, sight_of(principal, reach)), principal.models)
            return Reply(200, lines + b"content-type: application/json\r\n", body, _MODELS, client, request_id)
        except GatewayError as error:
            return error_reply(error, lines, path=path, client=client, request_id=request_id)

    def _call(
        self,
        surface: Inference,
        principal: Principal,
        noted: Mapping[bytes, bytes],
        request_id: bytes,
        client: str,
        via: bytes,
        cors: bytes,
    ) -> Call:
        named = named_person(principal, noted, self._user_headers)
        return Call(
            path=surface.path,
            principal=principal,
            request_id=request_id,
            client=client,
            via=b"\r\nvia: %b\r\n" % via,
            lines=b"x-request-id: %b\r\n%b" % (request_id, cors),
            cors=cors,
            trace=self._trace(noted.get(b"traceparent", b""), noted.get(b"tracestate", b"")),
            session=session_of(noted.get(_SESSION, b"")),
            asks_why=noted.get(_ROUTE, b"").strip().lower() == b"why",
            person=named or principal.person,
            named=bool(named),
            reach=reach_of(principal, noted.get(_TRUST)),
        )

    def again(self, known: Call, variation: Variation) -> Call:
        """Make the call of a request that differs from a known one in this alone."""
        request_id = variation.request_id
        if not request_id or not _SANE_REQUEST_ID.fullmatch(request_id):
            request_id = _fresh_id()
        trace = self._trace(variation.traceparent, variation.tracestate)
        lines = b"x-request-id: %b\r\n%b" % (request_id, known.cors)
        return Call(
            known.path,
            known.principal,
            request_id,
            known.client,
            known.via,
            lines,
            known.cors,
            trace,
            known.session,
            known.asks_why,
            known.person,
            known.named,
            known.reach,
        )

    def _authenticate(self, headers: Sequence[tuple[bytes, bytes]]) -> Principal:
        credential = extract_credential(headers)
        if credential is None and not self._require_auth:
            return ANONYMOUS
        try:
            return self.key_ring.authenticate(credential)
        except NotAuthenticated:
            if self._require_auth:
                raise
            return ANONYMOUS  # clients must send some key; an open gateway takes any

    def _preflight(self, surface: Preflight, request_id: bytes, origin: bytes, requested: bytes) -> Reply:
        lines = self._cors.preflight_headers(origin, surface.methods, requested)
        return Reply(204, b"x-request-id: %b\r\nallow: %b\r\n%b" % (request_id, surface.methods, lines), b"")


def _noted(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The values of a few headers; lists that came in several lines are joined, of others the last line counts."""
    noted: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in noted and name in _LISTS:
            noted[name] = b"%b,%b" % (noted[name], value)
        else:
            noted[name] = value
    return noted


def _fresh_id() -> bytes:
    return b"%032x" % getrandbits(128)


def stranger_reply(error: GatewayError, client: str) -> Reply:
    """Render an error for a request whose head could not be read: with an id of ours, nothing of the client's."""
    request_id = _fresh_id()
    return error_reply(error, b"x-request-id: %b\r\n" % request_id, client=client, request_id=request_id)


def error_reply(
    error: GatewayError, lines: bytes, *, path: str = "", client: str = "", request_id: bytes = b""
) -> Reply:
    """Render an error with the headers that its status calls for. A path that does not exist is not repeated."""
    extra = b"content-type: application/json\r\n"
    if error.retry_after_seconds is not None:
        extra += b"retry-after: %d\r\n" % error.retry_after_seconds
    if isinstance(error, NotAuthenticated):
        extra += b"www-authenticate: Bearer\r\n"
    if isinstance(error, MethodNotAllowed) and error.param:
        extra += b"allow: %b\r\n" % error.param.encode()
    shown = path if path in INFERENCE_PATHS else _MODELS if path.startswith(_MODELS) else ""
    return Reply(error.status, lines + extra, render(error), shown, client, request_id, error.code)


def _models(surface: ListModels | OneModel, seen: Snapshot, allowed: frozenset[str] | None) -> bytes:
    if isinstance(surface, ListModels):
        return models_list(seen, allowed)
    if allowed is not None and surface.name not in allowed:
        raise model_not_in_scope(surface.name, allowed)
    return msgspec.json.encode(model_object(seen, surface.name))
