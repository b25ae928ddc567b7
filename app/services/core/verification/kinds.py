"""Which models must say the same? Those of one name or one confirmed class, and of one quantization if names tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core.naming.reading import read_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.services.core.choice.classes import ModelClass

__all__ = ["Kinds"]


class Kinds:
    """Tells kinds of models apart, by what their servers call them. Without classes by their names alone."""

    __slots__ = ("_class_of",)

    def __init__(self, classes: Iterable[ModelClass] = ()) -> None:
        self._class_of: dict[str, str] = {}
        self.confirmed(classes)

    def confirmed(self, classes: Iterable[ModelClass]) -> None:
        """Take over the classes that the operator has confirmed, in place of those before."""
        self._class_of = {name: one.name for one in classes for name in one.names}

    def __call__(self, upstream_name: str) -> tuple[str, str, str]:
        """Return what two models have in common that are compared: class, name, quantization."""
        confirmed = self._class_of.get(upstream_name)
        if confirmed is None:
            return "", upstream_name.casefold().removesuffix(":latest"), ""
        return confirmed, "", read_name(upstream_name).quantization
