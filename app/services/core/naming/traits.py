"""What does a model's name say of the model?"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["UNKNOWN", "ModelTraits"]


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """What a name tells. An empty text means that it does not tell.

    Attributes:
        family: such as ``llama`` or ``qwen``; empty for a name that can't be placed, and then nothing is claimed of it.
        version: such as ``3.1`` or ``r1``.
        size: parameters: ``8b``, ``270m``, ``8x7b``.
        active: parameters that one token takes, where the name tells them apart: ``a3b``.
        variant: ``instruct``, ``base``, ``thinking``, ``embed``; with what it was made for: ``coder-instruct``. Where
            the name leaves it out, what its publisher means by that, if that is known.
        variant_told: whether the name itself says so.
        quantization: as it is mostly written: ``Q4_K_M``, ``FP16``, ``AWQ-INT4``.
        others: all other words, sorted: names of fine-tunes, dates, ``mini``. Two models that differ here are two.
    """

    family: str = ""
    version: str = ""
    size: str = ""
    active: str = ""
    variant: str = ""
    variant_told: bool = False
    quantization: str = ""
    others: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether enough is known of the name to compare it with others."""
        return bool(self.family)

    @property
    def makes_vectors(self) -> bool:
        """Whether its answers are vectors that are stored and compared with one another."""
        return "embed" in self.variant.split("-")


UNKNOWN = ModelTraits()
