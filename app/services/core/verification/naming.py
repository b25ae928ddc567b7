"""Does a server answer under the name that it was asked by?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from app.services.core.verification.findings import Judgement, Subject, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from app.services.core.verification.asking import Speaks

__all__ = ["aliases_in", "is_same_name", "judge_name", "lacks_model"]

_REFUSE_OTHERS: Final = frozenset({"vllm", "ollama"})
"""Engines that answer 404 to a name that they don't have, so that an answer under it is worth something."""
_LACKING: Final = re.compile(
    r"model\b.{0,300}?(?:not (?:be )?found|not exist|unknown|no such)", re.IGNORECASE | re.DOTALL
)
_LACKING_FIRST: Final = re.compile(r"(?:unknown|no such|invalid) model|model[_ ]not[_ ]found", re.IGNORECASE)
_DATED: Final = re.compile(r"[-@:](?:\d{4}-?\d{2}-?\d{2}|\d{4}|\d{6}|latest)")
_SCANNED_CHARACTERS: Final = 2000
_SHOWN_CHARACTERS: Final = 120


def judge_name(asked: str, answered: str, engine: str, aliases: Collection[str]) -> Judgement:
    """Judge the name that an answer bears.

    Args:
        asked: the name that the model was asked by.
        answered: the answer's ``model``; empty where it bears none.
        engine: which engine answered.
        aliases: further names that the server lists for the same model.
    """
    if not answered:
        return Judgement(Subject.NAME, Verdict.UNCLEAR, "its answers bear no model's name")
    if is_same_name(asked, answered):
        echo = "" if engine in _REFUSE_OTHERS else "; this engine may repeat whatever name it is asked by"
        return Judgement(Subject.NAME, Verdict.OK, f"answers under its name{echo}")
    shown = _shown(answered)
    if any(is_same_name(alias, answered) for alias in aliases):
        return Judgement(Subject.NAME, Verdict.OK, f"answers as {shown}, which it lists as the same model")
    return Judgement(
        Subject.NAME,
        Verdict.MISMATCH,
        f"asked for {_shown(asked)}, it answers as {shown}: register it under that name, or serve the right model",
    )


def is_same_name(one: str, other: str) -> bool:
    """Whether two names stand for one model beyond doubt: but for case, a path, ``.gguf``, a date or ``latest``."""
    first, second = _plain(one), _plain(other)
    if first == second:
        return True
    if "/" in one and "/" in other and not (_is_path(one) or _is_path(other)):
        return False  # two owners' models of the same name
    first, second = first.rpartition("/")[2], second.rpartition("/")[2]
    return first == second or _is_dated(first, second) or _is_dated(second, first)


def lacks_model(status: int, message: str) -> bool:
    """Whether a refusal says that the server does not have the model."""
    text = message[:_SCANNED_CHARACTERS]
    return status in {400, 404} and bool(_LACKING.search(text) or _LACKING_FIRST.search(text))


def aliases_in(listing: Iterable[Mapping[str, object]], asked: str, engine: Speaks) -> frozenset[str]:
    """Return what else a server's list calls the model: aliases, and the weights that a served name stands for."""
    for entry in listing:
        names = frozenset(name for name in _names(entry, engine) if isinstance(name, str))
        if asked in names or f"{asked}:latest" in names:
            return names
    return frozenset()


def _names(entry: Mapping[str, object], engine: Speaks) -> Iterator[object]:
    yield from engine.names(entry)
    yield entry.get("root")


def _plain(name: str) -> str:
    return name.strip().casefold().replace("\\", "/").removesuffix(".gguf").removesuffix(":latest")


def _is_path(name: str) -> bool:
    return name.startswith(("/", "./", "~", "\\")) or name.casefold().endswith(".gguf") or name[1:3] in {":\\", ":/"}


def _is_dated(name: str, longer: str) -> bool:
    return longer.startswith(name) and _DATED.fullmatch(longer, len(name)) is not None


def _shown(name: str) -> str:
    line = "".join(character if character.isprintable() else " " for character in name[:_SHOWN_CHARACTERS])
    return f"'{line}'"
