"""Which aliases may there be? Pure: values in, a verdict out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from app.services.core.errors import Conflict, FieldsInvalid
from app.services.registry.class_rules import checked_name, refuse_unfit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from app.services.core.choice.aliases import Alias, Target

__all__ = [
    "MAX_ALIASES",
    "MAX_FALLBACKS",
    "MAX_TARGETS",
    "MAX_TOKENS",
    "MAX_WEIGHT",
    "checked",
    "refuse_conflicts",
    "refuse_idle_fallbacks",
    "refuse_name_in_use",
    "shown",
]

MAX_ALIASES: Final = 1000
MAX_TARGETS: Final = 32
MAX_FALLBACKS: Final = 32
MAX_WEIGHT: Final = 1000.0
MAX_TOKENS: Final = 2**31 - 1


def checked(alias: Alias) -> Alias:
    """Return an alias that is sound in itself.

    Raises:
        FieldsInvalid: its name is none, it has too few or too many targets, or one of these is not sound.
    """
    checked_name(alias.name)
    if not alias.targets:
        raise FieldsInvalid("An alias leads somewhere. Give it at least one target.", param="targets")
    for targets, param, most in (
        (alias.targets, "targets", MAX_TARGETS),
        (alias.fallbacks, "fallbacks", MAX_FALLBACKS),
    ):
        if len(targets) > most:
            message = f"An alias has at most {most} {param}, and these are {len(targets)}. Name fewer."
            raise FieldsInvalid(message, param=param)
        for target in targets:
            _refuse_unsound(alias.name, target, param)
        _refuse_twice(targets, param)
    return alias


def refuse_idle_fallbacks(wanted: Alias) -> None:
    """Let pass an alias each of whose fallbacks takes what no target of the same model does.

    Raises:
        FieldsInvalid: where the targets cannot serve, one of the fallbacks cannot either.
    """
    targets = {target.model: target for target in wanted.targets}
    for fallback in wanted.fallbacks:
        target = targets.get(fallback.model)
        if target is not None and _takes_all_of(target, fallback):
            message = (
                f"{fallback.model} is a target already, and fallbacks are tried when no target can serve. "
                "Leave it out of one of the two."
            )
            raise FieldsInvalid(message, param="fallbacks")


def refuse_name_in_use(name: str, registered: Collection[str], classed: Collection[str]) -> None:
    """Let pass a name that no model bears.

    Args:
        name: what a new alias is to be called.
        registered: the names of the models that servers are registered for.
        classed: the names that confirmed classes of models have, their members' too.

    Raises:
        Conflict: a model has it.
    """
    if name in registered:
        message = f"Servers are registered for a model called {name}, which the alias would hide. Choose another name."
        raise Conflict(message, param="name")
    if name in classed:
        message = f"{name} is in a class of models, which the alias would hide. Choose another name."
        raise Conflict(message, param="name")


def refuse_conflicts(wanted: Alias, others: Iterable[Alias]) -> None:
    """Let pass an alias whose name is its own, and which no alias leads to nor is led to.

    Args:
        wanted: the alias.
        others: all other aliases.

    Raises:
        Conflict: there is one of this name, or one leads to this name as to a model.
        FieldsInvalid: it leads to an alias.
    """
    for other in others:
        if other.name == wanted.name:
            path = f"/admin/aliases/{quote(other.name, safe='')}"
            message = (
                f"There is an alias called {other.name} already. Change it with PUT {path}, or choose another name."
            )
            raise Conflict(message, param="name")
        if wanted.name in other.models:
            message = (
                f"The alias {other.name} leads to {wanted.name} as to a model, and aliases do not lead to aliases. "
                "Change that one first, or choose another name."
            )
            raise Conflict(message, param="name")
        if other.name in wanted.models:
            is_target = any(target.model == other.name for target in wanted.targets)
            message = (
                f"{other.name} is an alias itself, and aliases lead to models only. "
                f"Name what it leads to: {', '.join(other.models)}."
            )
            raise FieldsInvalid(message, param="targets" if is_target else "fallbacks")


def shown(alias: Alias) -> dict[str, Any]:
    """An alias as the audit and the database have it: what is not set is left out, and fallbacks have no weight."""
    return {
        "name": alias.name,
        "targets": [{"model": target.model, "weight": target.weight} | _bounds(target) for target in alias.targets],
        "fallbacks": [{"model": target.model} | _bounds(target) for target in alias.fallbacks],
    }


def _takes_all_of(target: Target, other: Target) -> bool:
    """Whether a target takes every length of request that another one does."""
    least, most = target.min_context_tokens, target.max_context_tokens
    return (other.min_context_tokens or 1) >= (least or 1) and (other.max_context_tokens or MAX_TOKENS) <= (
        most or MAX_TOKENS
    )


def _bounds(target: Target) -> dict[str, int]:
    bounds = {"min_context_tokens": target.min_context_tokens, "max_context_tokens": target.max_context_tokens}
    return {name: tokens for name, tokens in bounds.items() if tokens is not None}


def _refuse_unsound(name: str, target: Target, param: str) -> None:
    refuse_unfit(target.model, param)
    if target.model == name:
        raise FieldsInvalid(f"The alias {name} cannot lead to itself. Name models.", param=param)
    if not (math.isfinite(target.weight) and 0.0 < target.weight <= MAX_WEIGHT):
        message = f"The weight of {target.model} should be greater than 0 and at most {MAX_WEIGHT:g}."
        raise FieldsInvalid(message, param=param)
    least, most = target.min_context_tokens, target.max_context_tokens
    for tokens in (least, most):
        if tokens is not None and not 1 <= tokens <= MAX_TOKENS:
            raise FieldsInvalid(f"The bounds of {target.model} should be 1 to {MAX_TOKENS} tokens.", param=param)
    if least is not None and most is not None and least > most:
        message = (
            f"{target.model} takes {least:,} tokens at least and {most:,} at most, so it takes nothing. "
            "Make min_context_tokens the smaller one."
        )
        raise FieldsInvalid(message, param=param)


def _refuse_twice(targets: Sequence[Target], param: str) -> None:
    seen: set[str] = set()
    for target in targets:
        if target.model in seen:
            message = f"{target.model} is named twice. Name it once, with the weight that it should have."
            raise FieldsInvalid(message, param=param)
        seen.add(target.model)
