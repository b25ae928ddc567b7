"""Which errors can the gateway answer with, and what does a client see of them?

The tree (every class fixes status, ``type`` and ``code``; the message is the caller's and names the fix)::

    GatewayError                500  server_error           internal_error
    ├── RequestInvalid          400  invalid_request_error  invalid_request
    │   ├── EndpointRefused     400  invalid_request_error  endpoint_refused     may not be dialled
    │   ├── BodyTooLarge        413  invalid_request_error  request_too_large
    │   ├── RequestTimeout      408  invalid_request_error  request_timeout      head or body came too slowly
    │   ├── MethodNotAllowed    405  invalid_request_error  method_not_allowed
    │   ├── FieldsInvalid       422  invalid_request_error  invalid_fields
    │   └── HeadTooLarge        431  invalid_request_error  headers_too_large
    ├── NotAuthenticated        401  authentication_error   invalid_api_key
    ├── NotAllowed              403  permission_error       not_allowed
    ├── NotFound                404  not_found_error        not_found
    │   └── ModelNotFound       404  invalid_request_error  model_not_found
    ├── Conflict                409  conflict_error         conflict
    ├── TooMany                 429  rate_limit_error       rate_limited         with Retry-After
    ├── Internal                500  server_error           internal_error
    ├── ServerMisbehaved        502  server_error           server_misbehaved    broke the protocol or refused us
    ├── Unavailable             503  server_error           unavailable          with Retry-After
    │   ├── ServerUnreachable   503  server_error           server_unreachable   the check at registration failed
    │   └── StorageUnavailable  503  server_error           storage_unavailable
    └── TooSlow                 504  server_error           timeout

The envelope is the one that the OpenAI clients parse (openai-python 3.54, ``APIStatusError.body``):
``{"error": {"message", "type", "param", "code"}}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BodyTooLarge",
    "Conflict",
    "EndpointRefused",
    "FieldsInvalid",
    "GatewayError",
    "HeadTooLarge",
    "Internal",
    "MethodNotAllowed",
    "ModelNotFound",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "RequestInvalid",
    "RequestTimeout",
    "ServerMisbehaved",
    "ServerUnreachable",
    "StorageUnavailable",
    "TooMany",
    "TooSlow",
    "Unavailable",
    "error_event",
    "render",
]


class GatewayError(Exception):
    """An answer that is an error.

    Args:
        message: one or two sentences for the caller: what is wrong and what to do. Nothing internal.
        param: the field or header at fault, if one is.
        code: a finer word than the class's own.
        retry_after_seconds: how long the client should wait; sent as ``Retry-After`` (RFC 9110, 10.2.3).
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.retry_after_seconds = retry_after_seconds


class RequestInvalid(GatewayError):
    """The request cannot be understood or is refused as it stands."""

    status = 400
    type = "invalid_request_error"
    default_code = "invalid_request"


class EndpointRefused(RequestInvalid):
    """A URL whose form is refused, or an address that the operator's rules forbid to dial."""

    default_code = "endpoint_refused"


class BodyTooLarge(RequestInvalid):
    """The body is larger than ``MAX_REQUEST_BYTES``."""

    status = 413
    default_code = "request_too_large"


class RequestTimeout(RequestInvalid):
    """The head or the body of the request did not come in time."""

    status = 408
    default_code = "request_timeout"


class MethodNotAllowed(RequestInvalid):
    """The path exists, but not for this method."""

    status = 405
    default_code = "method_not_allowed"


class FieldsInvalid(RequestInvalid):
    """Well-formed JSON whose fields have wrong types or values."""

    status = 422
    default_code = "invalid_fields"


class HeadTooLarge(RequestInvalid):
    """Too many header bytes or too many headers (RFC 6585, 5)."""

    status = 431
    default_code = "headers_too_large"


class NotAuthenticated(GatewayError):
    """No key, or one unknown, expired or revoked."""

    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"


class NotAllowed(GatewayError):
    """The key is good, but its role does not reach this."""

    status = 403
    type = "permission_error"
    default_code = "not_allowed"


class NotFound(GatewayError):
    """No such path or object."""

    status = 404
    type = "not_found_error"
    default_code = "not_found"


class ModelNotFound(NotFound):
    """A model that no registered server has."""

    type = "invalid_request_error"
    default_code = "model_not_found"


class Conflict(GatewayError):
    """The object is there already."""

    status = 409
    type = "conflict_error"
    default_code = "conflict"


class TooMany(GatewayError):
    """A limit was reached, or no server got free in time."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limited"


class Internal(GatewayError):
    """A bug of ours; the log has the traceback under the same request id."""


class ServerMisbehaved(GatewayError):
    """A model server broke the protocol, refused our credentials or failed."""

    status = 502
    default_code = "server_misbehaved"


class Unavailable(GatewayError):
    """A registered model that no server can serve now."""

    status = 503
    default_code = "unavailable"


class ServerUnreachable(Unavailable):
    """The check that precedes a registration failed."""

    default_code = "server_unreachable"


class StorageUnavailable(Unavailable):
    """The database does not answer; inference goes on from memory."""

    default_code = "storage_unavailable"


class TooSlow(GatewayError):
    """A deadline passed before an answer began."""

    status = 504
    default_code = "timeout"


def render(error: GatewayError, more: Mapping[str, str | int | bool] | None = None) -> bytes:
    """Encode the envelope that every erroneous answer carries, as UTF-8 JSON.

    Args:
        error: what it says.
        more: further members beside ``message``, ``type``, ``param`` and ``code``.
    """
    told: dict[str, str | int | bool | None] = {
        "message": _encodable(error.message),
        "type": error.type,
        "param": None if error.param is None else _encodable(error.param),
        "code": error.code,
    }
    for name, value in (more or {}).items():
        told[name] = _encodable(value) if isinstance(value, str) else value
    return msgspec.json.encode({"error": told})


def _encodable(text: str) -> str:
    """Spell out lone surrogates, which a caller's JSON can bring in by escapes and UTF-8 can't carry."""
    return text.encode(errors="backslashreplace").decode()


def error_event(error: GatewayError, more: Mapping[str, str | int | bool] | None = None) -> bytes:
    """Encode the same envelope as one server-sent event: what ends a stream that cannot go on.

    openai-python raises ``APIError`` on an event with a truthy ``error``; no ``[DONE]`` follows.
    """
    return b"data: " + render(error, more) + b"\n\n"
