"""What does the API's description say of errors? Every status that a route may answer with, in words and by example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DATABASE_FAILS", "ErrorBody", "ErrorEnvelope", "errors", "errors_in_words"]


class ErrorBody(BaseModel):
    """What went wrong, for a person (`message`) and for a program (`type`, `code`)."""

    message: str = Field(description="What is wrong and what to do.")
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(default=None, description="The field at fault, if one is.", examples=["endpoint_url"])
    code: str | None = Field(examples=["endpoint_refused"])


class ErrorEnvelope(BaseModel):
    """The one form of every error."""

    error: ErrorBody


EXAMPLES: Final[dict[int, tuple[str, str, str, str]]] = {
    400: (
        "The body is no JSON, the request is malformed, or the URL is refused.",
        "invalid_request_error",
        "address_not_public",
        "The address 10.0.0.5 is private. Add its network to ALLOWED_SERVER_NETWORKS.",
    ),
    401: (
        "No key, or one unknown, expired or revoked.",
        "authentication_error",
        "invalid_api_key",
        "This request has no key. Send your key as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'.",
    ),
    403: (
        "The key's role does not reach this.",
        "permission_error",
        "not_allowed",
        "Only an admin key may do this.",
    ),
    404: (
        "There is no server with this id.",
        "not_found_error",
        "not_found",
        "There is no server with this id. GET /admin/servers lists those that exist.",
    ),
    408: (
        "The body came too slowly.",
        "invalid_request_error",
        "request_timeout",
        "The body did not arrive within 30 seconds. Send it again, faster.",
    ),
    409: (
        "The endpoint is registered already.",
        "conflict_error",
        "conflict",
        "The endpoint http://10.0.0.5:8000 is already registered.",
    ),
    413: (
        "The body is too large.",
        "invalid_request_error",
        "request_too_large",
        "The body is larger than the limit of 1048576 bytes. Send a shorter one.",
    ),
    422: (
        "Fields are missing, unknown, or have wrong types or values.",
        "invalid_request_error",
        "invalid_fields",
        "weight: should be greater than 0.",
    ),
    431: (
        "Too many or too long headers.",
        "invalid_request_error",
        "headers_too_large",
        "The request has more than 100 headers. Send fewer.",
    ),
    500: (
        "A bug of the gateway's; the log has it under the request id.",
        "server_error",
        "internal_error",
        "The gateway failed at this. The operator finds the cause in the log under 9f3c...",
    ),
    503: (
        "The server failed its check, or the database does not answer. Retry-After says when to try again.",
        "server_error",
        "server_unreachable",
        "The server at http://10.0.0.5:8000 failed its check: connection refused. Check that it is running.",
    ),
}

DATABASE_FAILS: Final[dict[int, tuple[str, str]]] = {
    503: (
        "The database does not answer. Retry-After says when to try again.",
        "The database did not answer. Try again.",
    ),
}
"""What 503 means where no server is looked at."""
ANY_ROUTE: Final = (400, 408, 413, 431, 500)
"""What the guard before all routes may answer."""


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the statuses of a route, those of every route included."""
    return {status: _described(status) for status in sorted({*ANY_ROUTE, *statuses})}


def errors_in_words(words: Mapping[int, tuple[str, str]], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the statuses of a route, some of them in words of its own.

    Args:
        words: by status, what it means here and an example of a message.
        statuses: those of the route.
    """
    described = errors(*statuses)
    for status in words.keys() & set(statuses):
        description, message = words[status]
        error = described[status]["content"]["application/json"]["example"]["error"] | {"message": message}
        content = {"application/json": {"example": {"error": error}}}
        described[status] = {**described[status], "description": description, "content": content}
    return described


def _described(status: int) -> dict[str, Any]:
    description, error_type, code, message = EXAMPLES[status]
    example = {"error": {"message": message, "type": error_type, "param": None, "code": code}}
    return {
        "model": ErrorEnvelope,
        "description": description,
        "content": {"application/json": {"example": example}},
    }
