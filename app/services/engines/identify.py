"""Which engine is this? The marks are tried in one fixed order, from the surest to the vaguest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.engines.generic import Generic
from app.services.engines.llama_cpp_python import LlamaCppPython
from app.services.engines.llamacpp import LlamaCpp
from app.services.engines.lmstudio import LmStudio
from app.services.engines.mlx_lm import MlxLm
from app.services.engines.ollama import Ollama
from app.services.engines.sglang import Sglang
from app.services.engines.tabbyapi import TabbyApi
from app.services.engines.tgi import Tgi
from app.services.engines.vllm import Vllm

if TYPE_CHECKING:
    from app.services.engines.interface import Engine, Evidence

__all__ = ["ENGINES", "UNKNOWN", "engine_named", "identify"]

UNKNOWN: Final[Engine] = Generic()

ENGINES: Final[tuple[Engine, ...]] = (
    LlamaCpp(),  # the Server header
    Vllm(),  # the owner of the first model, down to Ollama
    Sglang(),
    TabbyApi(),
    Ollama(),  # or the greeting at /
    LlamaCppPython(),  # an owner that others could have, and what stands beside it
    Tgi(),  # /info
    LmStudio(),  # the framework's header, which others may bear too
    MlxLm(),  # the absence of every other mark
    UNKNOWN,
)


def identify(evidence: Evidence) -> Engine:
    """Return the engine whose mark the evidence bears; ``UNKNOWN`` if it bears none."""
    return next(engine for engine in ENGINES if engine.recognises(evidence))


def engine_named(name: str) -> Engine:
    """Return the engine of that name; ``UNKNOWN`` for a name that no engine has."""
    return next((engine for engine in ENGINES if engine.name == name), UNKNOWN)
