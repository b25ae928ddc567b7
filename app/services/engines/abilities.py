"""Which words do engines use for what a model can do, and which are ours?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from app.services.core.signals import Capability

__all__ = ["abilities_in"]

_OURS: Final[Mapping[str, frozenset[Capability]]] = {
    "completion": frozenset({"chat", "completions"}),  # llama.cpp 0c1e570, Ollama 0.33
    "llm": frozenset({"chat", "completions"}),  # LM Studio's types
    "vlm": frozenset({"chat", "completions", "vision"}),
    "tools": frozenset({"tools"}),  # Ollama
    "tool_use": frozenset({"tools"}),  # LM Studio
    "supports_tools": frozenset({"tools"}),  # llama.cpp's caps of a template
    "vision": frozenset({"vision"}),  # Ollama, and llama.cpp's modalities
    "image": frozenset({"vision"}),  # llama.cpp's architecture: what goes in
    "audio": frozenset({"audio"}),
    "thinking": frozenset({"thinking"}),  # Ollama
    "embedding": frozenset({"embeddings"}),  # Ollama, llama.cpp
    "embeddings": frozenset({"embeddings"}),  # LM Studio
    "rerank": frozenset({"rerank"}),
}


def abilities_in(words: Iterable[str]) -> frozenset[Capability]:
    """Translate an engine's words; those that nobody knows say nothing."""
    return frozenset(ours for word in words for ours in _OURS.get(word, ()))
