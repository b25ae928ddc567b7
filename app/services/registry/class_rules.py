"""Which classes of names may there be? Pure: values in, a verdict out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from app.services.core.choice.classes import MAX_MEMBERS
from app.services.core.errors import Conflict, FieldsInvalid
from app.services.registry.specification import MAX_MODEL_NAME_LENGTH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from app.services.registry.class_store import ClassRecord

__all__ = ["MAX_CLASSES", "checked_members", "checked_name", "refuse_conflicts", "refuse_unfit"]

MAX_CLASSES: Final = 1000
_STEPS: Final = frozenset({".", ".."})


def checked_name(name: str) -> str:
    """Return what a class can be called.

    Raises:
        FieldsInvalid: it is no name, or could not be asked for by a URL.
    """
    refuse_unfit(name, "name")
    if not _STEPS.isdisjoint(name.split("/")):
        message = f"The name {name} has a . or .. for a part, which URLs leave out. Choose another name."
        raise FieldsInvalid(message, param="name")
    return name


def checked_members(name: str, members: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a class, each once, sorted.

    Args:
        name: of the class; empty where it has none.
        members: as they were given.

    Raises:
        FieldsInvalid: one is no name, or there are too few to be one model under many names, or too many.
    """
    chosen = set(members)
    for member in sorted(chosen):
        refuse_unfit(member, "members")
    if len(chosen) > MAX_MEMBERS:
        message = f"A class has at most {MAX_MEMBERS} members, and these are {len(chosen)}. Name fewer."
        raise FieldsInvalid(message, param="members")
    if not chosen or chosen | ({name} if name else set()) == {next(iter(chosen))}:
        message = "One name alone is no class. Give at least two members, or one and another name for the class."
        raise FieldsInvalid(message, param="members")
    return tuple(sorted(chosen))


def refuse_conflicts(
    wanted: ClassRecord, others: Iterable[ClassRecord], registered: Collection[str], aliases: Collection[str] = ()
) -> None:
    """Let pass a class that takes no name from another and hides no model.

    Args:
        wanted: the class.
        others: all other confirmed classes.
        registered: the names of the models that servers are registered for.
        aliases: the names of the aliases, which go before models.

    Raises:
        Conflict: it may not be.
    """
    if wanted.name in registered and wanted.name not in wanted.members:
        message = (
            f"A server is registered for a model called {wanted.name}, which the class would hide. "
            "Make that one of its members, or choose another name for the class."
        )
        raise Conflict(message, param="name")
    aliased = sorted({wanted.name, *wanted.members}.intersection(aliases))
    if aliased:
        message = (
            f"{aliased[0]} is an alias, which would hide the class under that name. "
            f"Leave it out, or remove the alias first: DELETE /admin/aliases/{quote(aliased[0], safe='')}."
        )
        raise Conflict(message, param="name" if aliased[0] == wanted.name else "members")
    for other in others:
        if wanted.name == other.name:
            message = f"There is a class called {other.name} already. Change that with PUT, or choose another name."
            raise Conflict(message, param="name")
        taken = sorted({wanted.name, *wanted.members} & {other.name, *other.members})
        if taken:
            message = (
                f"{taken[0]} is in the class {other.name} already, and a name means one model. "
                "Leave it out, or dissolve that class first."
            )
            raise Conflict(message, param="name" if taken[0] == wanted.name else "members")


def refuse_unfit(name: str, param: str) -> None:
    """Let pass what can be the name of a model.

    Raises:
        FieldsInvalid: it is none; ``param`` is the field that holds it.
    """
    fits = 0 < len(name) <= MAX_MODEL_NAME_LENGTH and name.isprintable() and name == name.strip()
    if not fits:
        message = (
            f"A model's name has 1 to {MAX_MODEL_NAME_LENGTH} printable characters and no space at its ends. "
            "Write it as GET /v1/models shows it."
        )
        raise FieldsInvalid(message, param=param)
