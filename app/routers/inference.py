"""What does the API's description say of inference? The data plane serves these paths; FastAPI never sees them.

The operations are written out here and merged into the OpenAPI document, so that ``/docs`` describes and tries them
like all others.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from app.routers.deps import SECURITY
from app.routers.inference_schemas import ChatRequest, CompletionRequest, EmbeddingsRequest, ModelList, ModelObject

__all__ = ["TAG", "ApiWithInference", "add_inference"]

TAG: Final = {
    "name": "inference",
    "description": "Use models, with any OpenAI client: the base URL is this gateway's, with `/v1`. Needs any key.",
}
REFERENCE: Final = "#/components/schemas/{model}"
MODEL_PARAMETER: Final = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "The model's name. It may hold slashes, plain or percent-encoded.",
    "schema": {"type": "string", "minLength": 1, "examples": ["llama-3-8b"]},
}
ERRORS: Final[dict[int, tuple[str, str, str, str]]] = {
    400: (
        "The body is no JSON, a field that routing needs has the wrong type, or the server refuses the request so.",
        "invalid_request_error",
        "missing_model",
        "'model' is missing. Name the model to use; GET /v1/models lists those available.",
    ),
    401: (
        "No key, or one unknown, expired or revoked.",
        "authentication_error",
        "invalid_api_key",
        "This request has no key. Send your key as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'.",
    ),
    403: (
        "The key may not ask for this model or call this route, or no server that is trusted so far has the model.",
        "permission_error",
        "model_not_in_scope",
        "This key may not use model 'llama-3-70b'. It may use: llama-3-8b.",
    ),
    404: (
        "No registered server has this model.",
        "invalid_request_error",
        "model_not_found",
        "Model 'gpt-5' not found. Available: llama-3-8b, nomic-embed-text.",
    ),
    405: (
        "The path takes another method; Allow names it.",
        "invalid_request_error",
        "method_not_allowed",
        "/v1/chat/completions takes POST, OPTIONS, not GET.",
    ),
    408: (
        "Headers or body came too slowly.",
        "invalid_request_error",
        "request_timeout",
        "The request's body did not come in time.",
    ),
    413: (
        "The body is larger than `MAX_REQUEST_BYTES`.",
        "invalid_request_error",
        "request_too_large",
        "The body is larger than the limit of 20971520 bytes. Send a shorter one.",
    ),
    422: (
        "The server does not take a field's value; its own words are passed on.",
        "invalid_request_error",
        "refused_by_server",
        "temperature must be at most 2.",
    ),
    429: (
        "A limit is reached, or no server got free in time. Retry-After and `x-ratelimit-*` say when to try again.",
        "rate_limit_error",
        "rate_limited",
        "Every server of model 'llama-3-8b' is at its limit. Try again in 5 seconds.",
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
        "The gateway failed on this request. Its log says more.",
    ),
    502: (
        "The servers that were tried failed or misbehaved, and no other could take over.",
        "server_error",
        "server_misbehaved",
        "The server of model 'llama-3-8b' answered 500, and no other could take over. Try again.",
    ),
    503: (
        "The model is registered, but no server can serve it now. Retry-After says when to try again.",
        "server_error",
        "unavailable",
        "Model 'llama-3-8b' is registered on 2 servers, but none can serve it now. Try again in 5 seconds.",
    ),
    504: (
        "No server began to answer in time.",
        "server_error",
        "timeout",
        "No server of model 'llama-3-8b' began to answer in time. Try again, or send a shorter prompt.",
    ),
}
READING: Final = (400, 401, 403, 405, 408, 413, 431, 500)
FORWARDED: Final = tuple(ERRORS)
FAILOVER: Final = (
    "If a server fails before its first byte, another one that has the model is tried, unseen. `X-Gateway-Server-ID` "
    "names the server that answered, `X-Gateway-Attempts` how many were tried. "
)
STREAMED: Final = (
    "With `stream: true` the answer is a stream of server-sent events: `data: {...}` for each piece, `data: [DONE]` "
    "at the end. A stream that breaks ends with an event that holds the error envelope, and without `[DONE]`. Lines "
    "that begin with a colon keep the connection alive."
)
EVENT_SCHEMA: Final = {
    "type": "object",
    "description": "One event; `data` is a piece of the answer as JSON, or `[DONE]`.",
    "required": ["data"],
    "properties": {"data": {"type": "string"}},
}
EVENT: Final = 'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
CHAT_ANSWER: Final = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "llama-3-8b",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}
TEXT_ANSWER: Final = {
    "id": "cmpl-1",
    "object": "text_completion",
    "model": "llama-3-8b",
    "choices": [{"index": 0, "text": ", there was a gateway.", "finish_reason": "length"}],
    "usage": {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10},
}
EMBEDDINGS_ANSWER: Final = {
    "object": "list",
    "model": "nomic-embed-text",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.01, -0.02, 0.03]}],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}


class ApiWithInference(FastAPI):
    """An application whose description also tells of what the data plane serves beside it."""

    def openapi(self) -> dict[str, Any]:
        """Give the OpenAPI document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = add_inference(super().openapi())
        return self.openapi_schema


def add_inference(document: dict[str, Any]) -> dict[str, Any]:
    """Add the operations under ``/v1/`` and the schemas that they need to a document; it is changed and returned."""
    models = (ChatRequest, CompletionRequest, EmbeddingsRequest, ModelList, ModelObject)
    _references, described = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    document.setdefault("components", {}).setdefault("schemas", {}).update(described["$defs"])
    document["paths"] = _operations() | document["paths"]
    return document


def _operations() -> dict[str, Any]:
    return {
        "/v1/models": {
            "get": _reading("list_models", "List Models", "List the models that can be asked for.", ModelList)
        },
        "/v1/models/{model}": {
            "get": _reading("show_model", "Show Model", "Show one model.", ModelObject, 404)
            | {"parameters": [MODEL_PARAMETER]}
        },
        "/v1/chat/completions": {
            "post": _forwarding("chat", "Chat", "Continue a conversation.", ChatRequest, CHAT_ANSWER)
        },
        "/v1/completions": {
            "post": _forwarding("complete", "Complete", "Continue a text.", CompletionRequest, TEXT_ANSWER)
        },
        "/v1/embeddings": {
            "post": _forwarding("embed", "Embed", "Turn texts into vectors.", EmbeddingsRequest, EMBEDDINGS_ANSWER)
        },
    }


def _reading(name: str, summary: str, description: str, answer: type, *more_errors: int) -> dict[str, Any]:
    """Describe a route that is answered from memory."""
    whole = {
        "description": "Found.",
        "content": {"application/json": {"schema": _reference(answer)}},
    }
    return _operation(name, summary, f"{description} Never rate-limited.", whole, (*READING, *more_errors))


def _forwarding(name: str, summary: str, description: str, body: type, example: dict[str, Any]) -> dict[str, Any]:
    """Describe a route whose body goes to a server."""
    streams = "stream" in getattr(body, "model_fields", {})
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}, "example": example}}
    if streams:
        content["text/event-stream"] = {"schema": EVENT_SCHEMA, "example": EVENT}
    words = f"{description} {FAILOVER}{STREAMED if streams else ''}".strip()
    whole = {"description": "The server's answer, as it came.", "content": content}
    taken = {"required": True, "content": {"application/json": {"schema": _reference(body)}}}
    return _operation(name, summary, words, whole, FORWARDED) | {"requestBody": taken}


def _operation(
    name: str, summary: str, description: str, answer: dict[str, Any], errors: tuple[int, ...]
) -> dict[str, Any]:
    return {
        "tags": [TAG["name"]],
        "operationId": name,
        "summary": summary,
        "description": description,
        "security": SECURITY,
        "responses": {"200": answer} | {str(status): _error(status) for status in sorted(errors)},
    }


def _error(status: int) -> dict[str, Any]:
    description, error_type, code, message = ERRORS[status]
    example = {"error": {"message": message, "type": error_type, "param": None, "code": code}}
    schema = {"$ref": REFERENCE.format(model="ErrorEnvelope")}
    return {"description": description, "content": {"application/json": {"schema": schema, "example": example}}}


def _reference(model: type) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model.__name__)}
