"""What does a path under ``/v1/`` ask for? The table of inference routes, for both ways in."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from app.services.core.errors import MethodNotAllowed, NotFound

__all__ = [
    "CHAT",
    "COMPLETIONS",
    "INFERENCE_PATHS",
    "PREFIX",
    "STREAMING_PATHS",
    "Inference",
    "ListModels",
    "OneModel",
    "Preflight",
    "is_account",
    "match",
]

PREFIX = b"/v1/"
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
"""The one that takes several prompts at once."""
INFERENCE_PATHS = frozenset((CHAT, COMPLETIONS, "/v1/embeddings"))
"""Forwarded with POST to the same path of a server."""
STREAMING_PATHS = INFERENCE_PATHS - {"/v1/embeddings"}
"""Those whose answers may come as events."""

_MODELS = "/v1/models"
_USAGE = b"/v1/usage"


def is_account(target: bytes) -> bool:
    """Whether a request's target is a key's own account: no business of the data plane's, for it takes the database."""
    return target.startswith(_USAGE) and target[len(_USAGE) : len(_USAGE) + 1] in (b"", b"?")


@dataclass(frozen=True, slots=True)
class Inference:
    """Forward a body to a server."""

    path: str


@dataclass(frozen=True, slots=True)
class ListModels:
    """Answer with the list of models."""


@dataclass(frozen=True, slots=True)
class OneModel:
    """Answer with one model. The id may hold slashes."""

    name: str


@dataclass(frozen=True, slots=True)
class Preflight:
    """Answer a CORS preflight; ``methods`` as the Allow header lists them."""

    methods: bytes


Surface = Inference | ListModels | OneModel | Preflight
_INFERENCE = {path: Inference(path) for path in INFERENCE_PATHS}
_LIST = ListModels()


def match(method: bytes, path: str) -> Surface:
    """Find what a request is for.

    Args:
        method: as on the request line.
        path: the raw path without the query, percent-encoding kept, bytes read as Latin-1.

    Raises:
        NotFound: no such path; the message names those there are.
        MethodNotAllowed: the path takes another method; ``param`` carries the Allow header.
    """
    known = _INFERENCE.get(path)
    if known is not None:
        if method == b"POST":
            return known
        return _other(method, b"POST, OPTIONS", path)
    if path == _MODELS or path.startswith(_MODELS + "/"):
        if method in (b"GET", b"HEAD"):
            name = path[len(_MODELS) + 1 :]
            return OneModel(_unquoted(name)) if name else _LIST
        return _other(method, b"GET, HEAD, OPTIONS", path)
    available = ", ".join(sorted((*INFERENCE_PATHS, _MODELS, _USAGE.decode())))
    raise NotFound(f"There is no {path[:200]}. Available: {available}.", code="unknown_path")


def _unquoted(name: str) -> str:
    return unquote_to_bytes(name.encode("latin-1", "replace")).decode("utf-8", "replace")


def _other(method: bytes, allowed: bytes, path: str) -> Preflight:
    if method == b"OPTIONS":
        return Preflight(allowed)
    message = f"{path[:200]} takes {allowed.decode()}, not {method.decode('latin-1')[:20]}."
    raise MethodNotAllowed(message, param=allowed.decode())
