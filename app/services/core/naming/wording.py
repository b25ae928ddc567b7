"""Why are names taken for one model, and in what do they differ? In words for who decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.services.core.naming.observed import Identity, Known

__all__ = ["agreement", "differences", "enumerated", "left_out"]

_NAMES_SHOWN: Final = 5
_VALUES_SHOWN: Final = 8


def agreement(identity: Identity, names: Sequence[Known]) -> str:
    """Say what the names have in common."""
    tell_size = all(known.identity.size for known in names)
    parts = ["family", *(["version"] if identity.version else []), *(["size"] if tell_size else [])]
    return f"same {_joined(parts)}" + ("" if identity.size else "; no name tells the size")


def differences(names: Sequence[Known]) -> list[str]:
    """Say in what models of these names differ, as far as it is known."""
    return [*_quantizations(names), *_templates(names), *_contexts(names), *_engines(names), *_vectors(names)]


def left_out(identity: Identity, names: Sequence[Known]) -> list[str]:
    """Say what names leave out that would tell whether they mean this model."""
    told = []
    for part in ("size", "variant"):
        silent = [known.name for known in names if getattr(identity, part) and not getattr(known.identity, part)]
        told += [f"{part} not told by {enumerated(silent)}"] if silent else []
    return told


def enumerated(names: Sequence[str]) -> str:
    """Write a list of names, cut short."""
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"


def _quantizations(names: Sequence[Known]) -> list[str]:
    told = sorted({one for known in names for one in known.quantizations if one})
    silent = [known.name for known in names if not any(known.quantizations)]
    words = [f"quantizations differ: {_cut(told, ', ')}"] if len(told) > 1 else []
    if len(told) == 1:
        words.append(f"quantization {told[0]}")
    return [*words, f"quantization not told by {enumerated(silent)}"] if told and silent else words


def _templates(names: Sequence[Known]) -> list[str]:
    """Say whether chats are put before the models in the same way, as far as two of them tell."""
    telling = [known for known in names if known.templates]
    if len({mark for known in telling for mark in known.templates}) > 1:
        return [f"chat templates differ between {enumerated([known.name for known in telling])}"]
    if len(telling) < 2:
        return []
    return ["same chat template" if len(telling) == len(names) else "same chat template where told"]


def _contexts(names: Sequence[Known]) -> list[str]:
    lengths = sorted({length for known in names for length in known.contexts})
    if len(lengths) < 2:
        return []
    if len(lengths) > _VALUES_SHOWN:
        return [f"contexts from {lengths[0]:,} to {lengths[-1]:,}"]
    return [f"contexts {_joined([f'{length:,}' for length in lengths])}"]


def _engines(names: Sequence[Known]) -> list[str]:
    engines = sorted({engine for known in names for engine in known.engines})
    return [f"engines {_joined(engines[:_VALUES_SHOWN])}"] if len(engines) > 1 else []


def _vectors(names: Sequence[Known]) -> list[str]:
    """Warn where what is stored was made by another quantization than what is compared with it."""
    quantizations = {one for known in names for one in known.quantizations}
    if not any(known.makes_vectors for known in names) or (len(quantizations) == 1 and quantizations != {""}):
        return []
    return ["vectors of different quantizations differ: confirm only if those of one index may come from any of them"]


def _joined(words: Sequence[str]) -> str:
    """Write ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _cut(words: Sequence[str], separator: str) -> str:
    return separator.join(words[:_VALUES_SHOWN]) + (" ..." if len(words) > _VALUES_SHOWN else "")
