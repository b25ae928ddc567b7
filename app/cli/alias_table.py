"""How do aliases read in a terminal, and how are they said on a command line?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from app.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["alias_sentence", "alias_table", "alias_warnings", "bounded", "parsed_fallbacks", "parsed_targets"]

_NONE: Final = "-"


def parsed_targets(words: Iterable[str]) -> list[dict[str, Any]]:
    """Read ``MODEL`` and ``MODEL=WEIGHT``. What follows the last ``=`` is a weight if it is a number."""
    targets: list[dict[str, Any]] = []
    for word in words:
        model, _equals, weight = word.rpartition("=")
        number = _number(weight) if model else None
        targets.append({"model": word} if number is None else {"model": model, "weight": number})
    return targets


def parsed_fallbacks(words: Iterable[str]) -> list[dict[str, Any]]:
    """Read the names of fallbacks."""
    return [{"model": word} for word in words]


def bounded(body: dict[str, Any], least: Sequence[str], most: Sequence[str]) -> dict[str, Any]:
    """Put bounds on the models of an alias.

    Args:
        body: the alias, as the gateway takes it; its fallbacks may be plain names.
        least: ``MODEL=TOKENS``, each the least that a model takes.
        most: likewise, the largest.

    Raises:
        CommandFailed: a bound is not one, or of a model that the alias does not lead to.
    """
    fallbacks: list[dict[str, Any]] = [
        {"model": each} if isinstance(each, str) else dict(each) for each in body["fallbacks"]
    ]
    targets: list[dict[str, Any]] = [dict(each) for each in body["targets"]]
    for words, option, member in (
        (least, "--min-context", "min_context_tokens"),
        (most, "--max-context", "max_context_tokens"),
    ):
        for word in words:
            model, tokens = _bound(word, option)
            meant = [each for each in (*targets, *fallbacks) if each["model"] == model]
            if not meant:
                raise CommandFailed(
                    f"{option} {word}: the alias does not lead to {model}.",
                    fix=f"It leads to: {', '.join(each['model'] for each in (*targets, *fallbacks))}.",
                    code=ExitCode.USAGE,
                )
            for each in meant:
                each[member] = tokens
    return {**body, "targets": targets, "fallbacks": fallbacks}


def alias_table(aliases: Sequence[Mapping[str, Any]]) -> Table:
    """One row an alias; what is amiss in a column that is there only where something is."""
    warnings = [list(alias_warnings(alias)) for alias in aliases]
    table = Table(box=None, pad_edge=False, highlight=False)
    table.add_column("Alias", overflow="fold")
    table.add_column("Leads to", overflow="fold")
    table.add_column("Fallbacks", overflow="fold")
    if any(warnings):
        table.add_column("Warning", overflow="fold")
    for alias, warned in zip(aliases, warnings, strict=True):
        table.add_row(
            Text(str(alias["name"])),
            Text(", ".join(_targets(alias))),
            Text(", ".join(_fallbacks(alias)) or _NONE),
            *([Text(" ".join(warned) or _NONE, style="yellow" if warned else "")] if any(warnings) else []),
        )
    return table


def alias_sentence(alias: Mapping[str, Any]) -> str:
    """Say in a line where an alias leads."""
    fallbacks = _fallbacks(alias)
    return f"{alias['name']}: {', '.join(_targets(alias))}" + (f", else {', '.join(fallbacks)}" if fallbacks else "")


def alias_warnings(alias: Mapping[str, Any]) -> Iterator[str]:
    """Say what keeps an alias from leading where it says."""
    missing = alias.get("missing") or []
    if missing:
        yield f"No server has {', '.join(missing)} now."
    if alias.get("hides_model"):
        yield f"It hides a model that is called {alias['name']} too."


def _targets(alias: Mapping[str, Any]) -> list[str]:
    total = math.fsum(target.get("weight", 1.0) for target in alias["targets"])
    return [
        f"{target['model']} {target.get('weight', 1.0) / total:.0%}{_bounds(target)}" for target in alias["targets"]
    ]


def _fallbacks(alias: Mapping[str, Any]) -> list[str]:
    return [each if isinstance(each, str) else f"{each['model']}{_bounds(each)}" for each in alias["fallbacks"]]


def _bounds(target: Mapping[str, Any]) -> str:
    least, most = target.get("min_context_tokens"), target.get("max_context_tokens")
    if least and most:
        return f" ({least:,} to {most:,} tokens)"
    if most:
        return f" (up to {most:,} tokens)"
    return f" (from {least:,} tokens)" if least else ""


def _bound(word: str, option: str) -> tuple[str, int]:
    model, _equals, tokens = word.rpartition("=")
    if not model or not (tokens.isascii() and tokens.isdigit()) or not int(tokens[:_MOST_DIGITS]):
        raise CommandFailed(
            f"{option} {word} is no bound.", fix=f"Write MODEL=TOKENS: {option} qwen=8000", code=ExitCode.USAGE
        )
    return model, int(tokens[:_MOST_DIGITS])


_MOST_DIGITS: Final = 12
"""More are too many tokens in any case, and the gateway says so."""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
