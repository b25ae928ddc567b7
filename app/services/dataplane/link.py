"""How do bytes reach a server?

The one way out of the gateway, for traffic, health checks and registrations alike: resolve, judge every answer, connect
to the very literal that was judged, speak TLS for the name that the owner gave. Nothing can get round the judgement,
because nothing else opens a connection; a name that changes its address later is judged again at the next dial.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import ssl
from typing import TYPE_CHECKING, TypeVar, assert_never

from app.services.core.errors import EndpointRefused
from app.services.core.network.addresses import AddressPolicy, Allowed, Denied, judge_all
from app.services.dataplane.connect_failures import ConnectFailed, ConnectFailure, ConnectStage, explain, explain_all
from app.services.dataplane.descriptors import Descriptors
from app.services.dataplane.resolver import Resolver, SystemResolver
from app.services.dataplane.sockets import AllFailed, connect_first, secure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.services.core.types import Endpoint
    from app.services.dataplane.sockets import Doorstep

__all__ = ["ConnectFailed", "ConnectFailure", "Link", "Resolver", "SystemResolver", "default_tls_context"]

Opened = TypeVar("Opened", bound=asyncio.BaseProtocol)


def default_tls_context() -> ssl.SSLContext:
    """Certificates and names verified by the system's trust store, TLS 1.2 or later, HTTP/1.1 alone offered by ALPN.

    Reads files: build it at the start, not inside the event loop. ``SSL_CERT_FILE`` adds a CA of one's own.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class Link:
    """Opens connections to servers.

    Args:
        policy: the operator's word on addresses.
        resolver: turns names into addresses; asked at each dial.
        connect_timeout_seconds: for resolving, connecting and the TLS handshake together.
        tls_context: for ``https`` endpoints; ``default_tls_context()`` when left out.
    """

    __slots__ = ("_connect_timeout_seconds", "_policy", "_resolver", "_tls_context", "descriptors")

    def __init__(
        self,
        policy: AddressPolicy,
        resolver: Resolver,
        *,
        connect_timeout_seconds: float,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self.descriptors = Descriptors()
        """What may still be opened; whoever takes connections in asks the same."""
        self._policy = policy
        self._resolver = resolver
        self._connect_timeout_seconds = connect_timeout_seconds
        self._tls_context = default_tls_context() if tls_context is None else tls_context

    async def dial(self, endpoint: Endpoint, protocol_factory: Callable[[], Opened]) -> Opened:
        """Connect to ``endpoint`` and return the protocol, whose ``connection_made`` has been called.

        SNI and the certificate's name are those of ``endpoint.host``, whichever literal was dialled. Cancelling leaves
        no socket behind.

        Raises:
            EndpointRefused: an address that the name has now may not be dialled.
            ConnectFailed: no connection came about; the reason is in an owner's words.
        """
        stage = ConnectStage.RESOLVING
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                addresses = self._judged(endpoint, await self._addresses(endpoint))
                stage = ConnectStage.CONNECTING
                doorstep = await connect_first(addresses, endpoint.port, has_room=self.descriptors.has_room)
                stage = ConnectStage.SECURING if endpoint.scheme == "https" else stage
                return await self._hand_over(endpoint, doorstep, protocol_factory)
        except AllFailed as failure:
            for error in failure.errors:
                self.descriptors.judge(error)
            raise explain_all(failure.errors, endpoint.host, self._connect_timeout_seconds) from failure
        except OSError as error:
            cause = self._cause(error, stage)
            raise explain(cause, stage, endpoint.host, self._connect_timeout_seconds) from error

    def _cause(self, error: OSError, stage: ConnectStage) -> OSError:
        """What is at fault. Without a descriptor a resolver can't read its files, and knows no name."""
        self.descriptors.judge(error)
        if stage is ConnectStage.RESOLVING and (not self.descriptors.has_room() or self.descriptors.felt_lately):
            return _out_of_descriptors()
        return error

    async def _addresses(self, endpoint: Endpoint) -> Sequence[str]:
        """What ``endpoint`` resolves to; a literal is its own and only answer, and no resolver sees it."""
        try:
            return (str(ipaddress.ip_address(endpoint.host)),)
        except ValueError:
            if not self.descriptors.has_room():
                raise _out_of_descriptors() from None
            return await self._resolver.resolve(endpoint.host, endpoint.port)

    def _judged(self, endpoint: Endpoint, addresses: Sequence[str]) -> Sequence[str]:
        verdict = judge_all(endpoint.host, addresses, endpoint.port, self._policy)
        match verdict:
            case Allowed(literals):
                return literals
            case Denied(reason, code):
                raise EndpointRefused(f"{reason}.", param="endpoint_url", code=code.value)
            case _:
                assert_never(verdict)

    async def _hand_over(self, endpoint: Endpoint, plain: Doorstep, protocol_factory: Callable[[], Opened]) -> Opened:
        """Give a fresh connection, with TLS over it for ``https``, to a new protocol."""
        try:
            doorstep = plain
            if endpoint.scheme == "https":
                # Our deadline ends before this one: it counts the whole dial, and its words tell how far that came.
                handshake_seconds = 2 * self._connect_timeout_seconds
                doorstep = await secure(plain, self._tls_context, endpoint.host, handshake_seconds)
            protocol = protocol_factory()
            doorstep.hand_over(protocol)
        except BaseException:
            plain.abort()
            raise
        return protocol


def _out_of_descriptors() -> OSError:
    return OSError(errno.EMFILE, os.strerror(errno.EMFILE))
