"""Which fake stands for which engine? One constructor for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.fakes.engines.interface import FakeEngine, Page
from tests.fakes.engines.llama_cpp_python import FakeLlamaCppPython
from tests.fakes.engines.llamacpp import FakeLlamaCpp
from tests.fakes.engines.lmstudio import FakeLmStudio
from tests.fakes.engines.mlx_lm import FakeMlxLm
from tests.fakes.engines.ollama import FakeOllama
from tests.fakes.engines.sglang import FakeSglang
from tests.fakes.engines.tabbyapi import FakeTabbyApi
from tests.fakes.engines.tgi import FakeTgi
from tests.fakes.engines.vllm import FakeVllm

__all__ = ["FAKE_ENGINES", "FakeUnknown", "fake_engine"]


class FakeUnknown(FakeEngine):
    """A server of the common ground: a list of models, and nothing that gives it away."""

    def pages(self) -> dict[str, Page]:
        return {"/v1/models": self.listing(owned_by="someone", context_length=self.context)}

    def error(self, status: str, message: str) -> Page:
        return Page({"detail": message}, status)


FAKE_ENGINES: Final[Mapping[str, type[FakeEngine]]] = {
    "vllm": FakeVllm,
    "sglang": FakeSglang,
    "llama.cpp": FakeLlamaCpp,
    "ollama": FakeOllama,
    "tgi": FakeTgi,
    "lmstudio": FakeLmStudio,
    "tabbyapi": FakeTabbyApi,
    "mlx-lm": FakeMlxLm,
    "llama-cpp-python": FakeLlamaCppPython,
    "unknown": FakeUnknown,
}
"""By the name that the API gives an engine."""


def fake_engine(kind: str, **knobs: Any) -> FakeEngine:
    """Make a fake of one kind: ``fake_engine("ollama", models=["a", "b"], loaded=["a"], context=4096)``.

    Start it with ``tests.fakes.model_server.serving``; the knobs are those of ``FakeEngine`` and of the kind.
    """
    return FAKE_ENGINES[kind](**knobs)
