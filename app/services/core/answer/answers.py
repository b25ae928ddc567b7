"""What does a client see of a server's own words? Its error in our envelope, and the list of models.

Error shapes differ (vLLM 0.33: ``{"error": {..., "code": int}}``, its 401 a bare string; SGLang 0.5: flat
``{"object": "error", ...}``; TGI 3.3: ``{"error": str, "error_type": str}``; FastAPI: ``{"detail": ...}``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.services.core.choice.aliases import leads_nowhere
from app.services.core.choice.plan import unknown_model

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from app.services.core.choice.aliases import Alias
    from app.services.core.choice.snapshot import Route, Snapshot

__all__ = ["client_error", "model_object", "models_list"]

_LONGEST_MESSAGE = 2000
_SHORTEST_SECRET = 6
_REDACTED = "[redacted]"
_LONGEST_WORD = 200


class _Words(msgspec.Struct):
    error: object = None
    message: object = None
    detail: object = None
    type: object = None
    error_type: object = None
    param: object = None
    code: object = None


_decode = msgspec.json.Decoder(_Words).decode


def client_error(status: int, body: bytes, secret: str | None = None) -> bytes:
    """Render a server's 4xx body, whatever its shape, as the one envelope. ``code`` becomes a string or null.

    ``secret`` is the key that the server was called with: some repeat it in their errors, and clients may not see it.
    """
    try:
        words = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        words = _Words()
    inner = words.error if isinstance(words.error, dict) else {}
    message = _first_text(inner.get("message"), words.error, words.message, words.detail)
    if message is None and words.detail is not None:
        message = msgspec.json.encode(words.detail).decode()
    kind = _first_text(inner.get("type"), words.type, words.error_type) or "invalid_request_error"
    param = _first_text(inner.get("param"), words.param)
    code = inner.get("code", words.code)
    if isinstance(code, int | float) and not isinstance(code, bool):
        code = str(code)
    message = message or f"The model server refused the request with status {status}."
    error = {
        "message": _without(secret, message)[:_LONGEST_MESSAGE],
        "type": _without(secret, kind)[:_LONGEST_WORD],
        "param": None if param is None else _without(secret, param)[:_LONGEST_WORD],
        "code": _without(secret, code)[:_LONGEST_WORD] if isinstance(code, str) else None,
    }
    return msgspec.json.encode({"error": error})


def _without(secret: str | None, text: str) -> str:
    """Take a key out of a text before it is cut: half a key is a leak too. Placeholders such as "none" stay."""
    if secret is None or len(secret) < _SHORTEST_SECRET:
        return text
    return text.replace(secret, _REDACTED).replace(msgspec.json.encode(secret)[1:-1].decode(), _REDACTED)


def _first_text(*values: object) -> str | None:
    return next((value for value in values if isinstance(value, str) and value), None)


def model_object(snapshot: Snapshot, name: str) -> dict[str, object]:
    """OpenAI's model object, plus what the pool knows of it. ``context_length`` in tokens, null if no server tells.

    An alias tells of every server that its requests may go to, and the models it leads to, the targets first.

    Args:
        snapshot: what the client sees of the registry.
        name: of a model or an alias.

    Raises:
        ModelNotFound: there is neither, or the alias leads to nothing that a server has.
    """
    known = snapshot.aliases.get(name)
    if known is not None:
        return _alias_object(known.alias, snapshot)
    route = snapshot.routes.get(name)
    if route is None:
        raise unknown_model(name, snapshot)
    return _object(name, route.registered, len(route.ready), route.context_length)


def models_list(snapshot: Snapshot, allowed: Container[str] | None = None) -> bytes:
    """OpenAI's list of models as JSON, aliases among them, sorted by name.

    Args:
        snapshot: what the client sees of the registry.
        allowed: the only names that it may ask for; None for all.
    """
    names = [name for name in snapshot.names if allowed is None or name in allowed]
    return msgspec.json.encode({"object": "list", "data": [model_object(snapshot, name) for name in names]})


def _alias_object(alias: Alias, snapshot: Snapshot) -> dict[str, object]:
    routes = {model: route for model in alias.models if (route := snapshot.routes.get(model)) is not None}
    if not routes:
        raise leads_nowhere(alias, snapshot)
    lengths = [
        min(length, target.max_context_tokens or length)
        for target in (*alias.targets, *alias.fallbacks)
        if target.model in routes and (length := routes[target.model].context_length)
    ]
    registered, healthy = _servers(list(routes.values()))
    return {**_object(alias.name, registered, healthy, max(lengths, default=None)), "alias_for": list(alias.models)}


def _servers(routes: Sequence[Route]) -> tuple[int, int]:
    """How many servers some routes have together, and how many of these are well; each counts once."""
    if len(routes) == 1:
        return routes[0].registered, len(routes[0].ready)
    healthy = {candidate.server.id for route in routes for candidate in route.ready}
    others = (candidate for route in routes for candidate in (*route.standby, *route.down, *route.held))
    return len(healthy.union(candidate.server.id for candidate in others)), len(healthy)


def _object(name: str, servers: int, healthy_servers: int, context_length: int | None) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "multiverse",
        "servers": servers,
        "healthy_servers": healthy_servers,
        "context_length": context_length,
    }
