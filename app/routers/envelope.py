"""How does whatever went wrong become the one envelope that clients read?

Four sources: the gateway's own errors, fields that do not validate, the framework's own refusals (no such path, wrong
method), and a body that is no JSON. What a client sent is never repeated but for the names of fields: a value may be a
key.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.services.core.errors import (
    FieldsInvalid,
    GatewayError,
    Internal,
    MethodNotAllowed,
    NotFound,
    RequestInvalid,
    Unavailable,
    render,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastapi import FastAPI, Request

__all__ = ["error_response", "install_error_handlers"]

MAX_FAULTS_TOLD: Final = 5
MAX_NAME_LENGTH: Final = 64
NOT_JSON: Final = frozenset({"json_invalid"})
PLACES: Final = frozenset({"body", "query", "path", "header", "cookie"})


def error_response(error: GatewayError, headers: Mapping[str, str] | None = None) -> Response:
    """Make the answer that an error is, with the headers that its status calls for.

    Args:
        error: what went wrong.
        headers: more headers, such as ``Allow``.
    """
    sent = dict(headers or {})
    if error.retry_after_seconds is not None:
        sent["retry-after"] = str(error.retry_after_seconds)
    if error.status == HTTPStatus.UNAUTHORIZED:
        sent["www-authenticate"] = 'Bearer realm="multiverse"'
    return Response(render(error), status_code=error.status, headers=sent, media_type="application/json")


def install_error_handlers(app: FastAPI, error_page: Callable[[Request, GatewayError], Response | None]) -> None:
    """Let every error of the application answer in the envelope. What nobody catches is ``RequestGuard``'s.

    Args:
        app: the application.
        error_page: tells a person who looks at a page; None where the envelope is the answer.
    """

    def told(request: Request, error: GatewayError, headers: Mapping[str, str] | None = None) -> Response:
        return error_page(request, error) or error_response(error, headers)

    async def gateway_error(request: Request, error: Exception) -> Response:
        return told(request, error if isinstance(error, GatewayError) else Internal("The gateway failed at this."))

    async def fields_invalid(request: Request, error: Exception) -> Response:
        return told(request, _of_validation(error.errors() if isinstance(error, RequestValidationError) else []))

    async def refused_by_framework(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            return await gateway_error(request, error)
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = ", ".join(sorted(_methods(app, request)))
            message = f"{request.method} does not work here. Use {allowed}."
            return told(request, MethodNotAllowed(message), {"allow": allowed})
        return told(request, _of_framework(error), error.headers)

    app.add_exception_handler(GatewayError, gateway_error)
    app.add_exception_handler(RequestValidationError, fields_invalid)
    app.add_exception_handler(HTTPException, refused_by_framework)


def _of_framework(error: HTTPException) -> GatewayError:
    """Translate what FastAPI and Starlette raise by themselves."""
    if error.status_code == HTTPStatus.NOT_FOUND:
        return NotFound("There is nothing at this path. GET / names the paths that exist, /docs describes them.")
    if error.status_code == HTTPStatus.BAD_REQUEST:
        if isinstance(error.__cause__, RecursionError):
            return RequestInvalid("The body is nested too deeply. Send flat JSON.", code="json_too_deep")
        return RequestInvalid("The body is not valid JSON in UTF-8. Correct it and send it again.", code="invalid_json")
    if error.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        return Unavailable("The gateway cannot answer this now. Try again.")
    return Internal("The gateway failed at this.")


def _of_validation(faults: Sequence[Any]) -> GatewayError:
    """Name the fields at fault, the first one as ``param``."""
    if any(fault["type"] in NOT_JSON for fault in faults):
        position = next(fault["loc"][-1] for fault in faults if fault["type"] in NOT_JSON)
        message = f"The body is not valid JSON: the error is near character {position}. Correct it and send it again."
        return RequestInvalid(message, code="invalid_json")
    told = [_told(fault) for fault in faults[:MAX_FAULTS_TOLD]]
    more = len(faults) - len(told)
    message = "; ".join(told) + (f"; and {more} more faults" if more > 0 else "") + "."
    return FieldsInvalid(message, param=_field(faults[0]) or None if faults else None)


def _told(fault: Mapping[str, Any]) -> str:
    """Put one fault into words: the field, then what it should be."""
    field = _field(fault)
    if fault["type"] == "missing":
        return f"{field or 'the JSON body'} is missing"
    text = str(fault["msg"]).removeprefix("Value error, ")
    text = text.replace("Input should", "should", 1) if text.startswith("Input should") else text
    return _printable(f"{field or 'the body'}: {text}")


def _field(fault: Mapping[str, Any]) -> str:
    """Write where a fault is as ``models[0].name``."""
    path = ""
    for step in fault["loc"][1:] if fault["loc"] and fault["loc"][0] in PLACES else fault["loc"]:
        name = _printable(str(step))[:MAX_NAME_LENGTH]
        path += f"[{step}]" if isinstance(step, int) else f".{name}" if path else name
    return path


def _printable(text: str) -> str:
    """Replace what cannot be shown or encoded: names of unknown fields come from the client."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _methods(app: FastAPI, request: Request) -> set[str]:
    """Gather the methods that a path takes, over all routes that stand at it."""
    path = getattr(request.scope.get("route"), "path", None)
    found = {
        method
        for context in iter_route_contexts(app.routes)
        if context.path == path
        for method in context.methods or ()
    }
    return found | {"HEAD"} if "GET" in found else found or {"GET", "HEAD"}
