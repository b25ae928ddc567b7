"""Engines' words for what a model can do become ours."""

from __future__ import annotations

import pytest

from app.services.engines.abilities import abilities_in

OURS = {"chat", "completions", "embeddings", "rerank", "tools", "vision", "audio", "thinking"}


@pytest.mark.parametrize(
    ("words", "abilities"),
    [
        (
            ["completion", "tools", "vision", "thinking", "insert"],
            {"chat", "completions", "tools", "vision", "thinking"},
        ),
        (["embedding"], {"embeddings"}),
        (["vlm", "tool_use"], {"chat", "completions", "vision", "tools"}),
        (["embeddings"], {"embeddings"}),
        (["text", "image", "audio", "video"], {"vision", "audio"}),
        (["supports_tools", "supports_system_role"], {"tools"}),
        ([], set()),
        (["", "no such word", "COMPLETION"], set()),
    ],
)
def test_words(words: list[str], abilities: set[str]) -> None:
    assert abilities_in(words) == abilities
    assert abilities <= OURS
