"""Why could a server not be reached, in words that its owner understands?

The operating system's, the resolver's and the TLS library's errors are translated here and nowhere else. The words hold
no address of the server: they are shown to others than its owner too.
"""

from __future__ import annotations

import errno
import socket
import ssl
from enum import StrEnum

__all__ = ["ConnectFailed", "ConnectFailure", "ConnectStage", "explain", "explain_all"]


class ConnectFailure(StrEnum):
    """What kind of failure it was, as far as the next step depends on it."""

    REFUSED = "refused"
    TIMEOUT = "timeout"
    DNS = "dns"
    TLS = "tls"
    RESET = "reset"
    OWN = "own"
    """The gateway's own machine is out of something: no server is at fault."""
    OTHER = "other"


class ConnectStage(StrEnum):
    """How far a dial had come when it failed."""

    RESOLVING = "resolving"
    CONNECTING = "connecting"
    SECURING = "securing"


class ConnectFailed(Exception):
    """No connection came about. ``reason`` is for the owner: "connection refused", "no answer within 5 s"."""

    def __init__(self, reason: str, kind: ConnectFailure) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


_BY_ERRNO = {
    errno.ECONNREFUSED: ("connection refused", ConnectFailure.REFUSED),
    errno.ECONNRESET: ("connection reset", ConnectFailure.RESET),
    errno.ECONNABORTED: ("connection reset", ConnectFailure.RESET),
    errno.EPIPE: ("connection reset", ConnectFailure.RESET),
    errno.ETIMEDOUT: ("no answer", ConnectFailure.TIMEOUT),
    errno.EHOSTUNREACH: ("no route to host", ConnectFailure.OTHER),
    errno.EHOSTDOWN: ("no route to host", ConnectFailure.OTHER),
    errno.ENETUNREACH: ("no route to the network", ConnectFailure.OTHER),
    errno.EACCES: ("a firewall on the gateway's machine forbids the connection", ConnectFailure.OTHER),
    errno.EPERM: ("a firewall on the gateway's machine forbids the connection", ConnectFailure.OTHER),
    errno.EAFNOSUPPORT: ("the gateway's machine has no IPv6", ConnectFailure.OTHER),
    errno.EADDRNOTAVAIL: ("the gateway's machine has no free port or no address of this kind", ConnectFailure.OWN),
    errno.EMFILE: ("the gateway is out of file descriptors; raise its limit (ulimit -n)", ConnectFailure.OWN),
    errno.ENFILE: ("the gateway's machine is out of file descriptors; raise fs.file-max", ConnectFailure.OWN),
    errno.ENOBUFS: ("the gateway's machine is out of network buffers", ConnectFailure.OWN),
    errno.ENOMEM: ("the gateway's machine is out of memory", ConnectFailure.OWN),
}
# What one address told beats what another failed with here: in a container without IPv6 every dial to ::1 ends with
# EADDRNOTAVAIL, and a server that refuses on IPv4 is down all the same.
_TELLING = (
    ConnectFailure.TLS,
    ConnectFailure.REFUSED,
    ConnectFailure.RESET,
    ConnectFailure.TIMEOUT,
    ConnectFailure.OTHER,
    ConnectFailure.OWN,
)
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})
"""OpenSSL's X509_V_ERR_* (x509_vfy.h): self-signed, alone or in a chain; issuer not found; first one not verified."""
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


def explain(error: OSError, stage: ConnectStage, host: str, limit_seconds: float) -> ConnectFailed:
    """Translate one error of a dial to ``host`` that had ``limit_seconds`` in all."""
    if isinstance(error, socket.gaierror):
        missing = error.errno in _NO_SUCH_NAME
        reason = f"name does not resolve: {host}" if missing else f"the name server gave no answer for {host}"
        return ConnectFailed(reason, ConnectFailure.DNS)
    if isinstance(error, ssl.SSLError):
        return ConnectFailed(f"TLS: {_tls_reason(error)}", ConnectFailure.TLS)
    if isinstance(error, TimeoutError) and error.errno is None:
        return _explain_deadline(stage, host, limit_seconds)
    if stage is ConnectStage.SECURING and isinstance(error, ConnectionError):
        return ConnectFailed("TLS: the server closed the connection during the handshake", ConnectFailure.RESET)
    known = _BY_ERRNO.get(error.errno or 0)
    if known is None and isinstance(error, ConnectionError):
        known = _BY_ERRNO[errno.ECONNRESET]
    return ConnectFailed(*(known or (error.strerror or "the connection failed", ConnectFailure.OTHER)))


def explain_all(errors: list[OSError], host: str, limit_seconds: float) -> ConnectFailed:
    """Translate the errors of several addresses of one ``host`` into one failure: its kind is the most telling."""
    failures = [explain(error, ConnectStage.CONNECTING, host, limit_seconds) for error in errors]
    reasons = dict.fromkeys(failure.reason for failure in failures)
    kinds = {failure.kind for failure in failures}
    return ConnectFailed("; ".join(reasons), next((kind for kind in _TELLING if kind in kinds), ConnectFailure.OTHER))


def _explain_deadline(stage: ConnectStage, host: str, limit_seconds: float) -> ConnectFailed:
    match stage:
        case ConnectStage.RESOLVING:
            reason = f"the name server gave no answer for {host} within {limit_seconds:g} s"
            return ConnectFailed(reason, ConnectFailure.DNS)
        case ConnectStage.CONNECTING:
            return ConnectFailed(f"no answer within {limit_seconds:g} s", ConnectFailure.TIMEOUT)
        case ConnectStage.SECURING:
            reason = f"connected, but no TLS handshake within {limit_seconds:g} s"
            return ConnectFailed(reason, ConnectFailure.TIMEOUT)


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        fix = "; the gateway's operator can trust its authority by UPSTREAM_CA_FILE"
        unknown_authority = error.verify_code in _UNKNOWN_AUTHORITY
        return f"certificate verify failed: {error.verify_message.rstrip('.')}{fix if unknown_authority else ''}"
    if error.reason in _NOT_TLS:
        return "the server does not speak TLS on this port; register it with http://"
    return (error.reason or "handshake failed").replace("_", " ").lower()
