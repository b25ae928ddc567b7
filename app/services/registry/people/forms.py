"""Is what a key, a group or a limit says well-formed? Pure: values in, the same values or a refusal out."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Final

from app.services.core.errors import FieldsInvalid
from app.services.registry.specification import MAX_MODEL_NAME_LENGTH, MAX_MODELS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from app.services.core.people.principal import Limits
    from app.services.registry.people.records import GroupRecord, KeyRecord

__all__ = [
    "MAX_DESCRIPTION_LENGTH",
    "MAX_LIMIT",
    "MAX_MODEL_LIMITS",
    "MAX_NAME_LENGTH",
    "MAX_PERSON_LENGTH",
    "MAX_ROUTES",
    "MAX_ROUTE_LENGTH",
    "MAX_WEIGHT",
    "checked_group",
    "checked_key",
    "checked_limits",
    "checked_model_name",
    "refuse_reserved_person",
]

MAX_NAME_LENGTH: Final = 128
MAX_PERSON_LENGTH: Final = 256
MAX_DESCRIPTION_LENGTH: Final = 2000
MAX_ROUTES: Final = 100
MAX_ROUTE_LENGTH: Final = 256
MAX_MODEL_LIMITS: Final = 100
MAX_WEIGHT: Final = 1000.0
MAX_LIMIT: Final = 10**15
"""Of requests, tokens or places: nobody means a number beyond it, and sums of such stay exact as floats."""


def refuse_reserved_person(person: object, own: str) -> None:
    """Let nobody give a person that stands for a key, or for somebody whom a front end named.

    Args:
        person: what was given, if anything.
        own: the person of the key that asks, which it may give.

    Raises:
        FieldsInvalid: it is another key's, or a front end's.
    """
    if isinstance(person, str) and person != own and (person.startswith("key:") or "/" in person):
        message = "A person is a name or an address: without a slash, and not beginning with 'key:'."
        raise FieldsInvalid(message, param="person")


def checked_key(key: KeyRecord) -> KeyRecord:
    """Return a key whose values all can be stored, shown and compared; routes without a slash at their ends, UTC.

    Raises:
        FieldsInvalid: one of them can't be.
    """
    _refuse_unfit(key.name, "name", MAX_NAME_LENGTH)
    if key.person is not None:
        _refuse_unfit(key.person, "person", MAX_PERSON_LENGTH)
    _refuse_models(key.models)
    _refuse_weight(key.weight)
    return replace(
        key,
        routes=_checked_routes(key.routes),
        limits=checked_limits(key.limits, "limits"),
        model_limits=_checked_model_limits(key.model_limits),
        expires_at=_checked_instant(key.expires_at),
    )


def checked_group(group: GroupRecord) -> GroupRecord:
    """Return a group likewise.

    Raises:
        FieldsInvalid: one of its values can't be.
    """
    _refuse_unfit(group.name, "name", MAX_NAME_LENGTH)
    lines = group.description.replace("\n", " ").replace("\t", " ")
    if len(group.description) > MAX_DESCRIPTION_LENGTH or not lines.isprintable():
        message = f"A description has at most {MAX_DESCRIPTION_LENGTH} printable characters. Shorten it."
        raise FieldsInvalid(message, param="description")
    _refuse_models(group.models)
    _refuse_weight(group.weight)
    return replace(
        group,
        limits=checked_limits(group.limits, "limits"),
        person_limits=checked_limits(group.person_limits, "person_limits"),
        model_limits=_checked_model_limits(group.model_limits),
    )


def checked_limits(limits: Limits, param: str) -> Limits:
    """Return limits that can be counted.

    Raises:
        FieldsInvalid: one is no whole number of 1 to ``MAX_LIMIT``.
    """
    for part in fields(limits):
        value = getattr(limits, part.name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_LIMIT:
            rule = f"{part.name} is a whole number of 1 to {MAX_LIMIT}"
            raise FieldsInvalid(f"{rule}. Leave it out, or send null, for no limit.", param=param)
    return limits


def checked_model_name(name: str, param: str) -> str:
    """Return what a model can be called.

    Raises:
        FieldsInvalid: none can be called so.
    """
    _refuse_unfit(name, param, MAX_MODEL_NAME_LENGTH)
    return name


def _checked_model_limits(limits: Mapping[str, Limits]) -> dict[str, Limits]:
    """Check limits by model, and leave out those that limit nothing."""
    if len(limits) > MAX_MODEL_LIMITS:
        message = f"model_limits names at most {MAX_MODEL_LIMITS} models, and these are {len(limits)}. Name fewer."
        raise FieldsInvalid(message, param="model_limits")
    return {
        checked_model_name(model, "model_limits"): checked_limits(bound, "model_limits")
        for model, bound in limits.items()
        if bound
    }


def _checked_routes(routes: frozenset[str] | None) -> frozenset[str] | None:
    if routes is None:
        return None
    _refuse_size(routes, "routes", MAX_ROUTES)
    for route in routes:
        fits = route.startswith("/") and len(route) <= MAX_ROUTE_LENGTH and route.isascii() and route.isprintable()
        if not fits or not {" ", "?", "#", "%"}.isdisjoint(route) or not {".", "..", ""}.isdisjoint(_steps(route)):
            message = (
                "A route is a path as it stands in a URL, such as /v1/chat/completions or /admin/servers: it begins "
                "with /, and has no query, no escapes and no . or .. for a part. All below it is meant as well."
            )
            raise FieldsInvalid(message, param="routes")
    return frozenset(route.rstrip("/") or "/" for route in routes)


def _steps(route: str) -> list[str]:
    """The parts of a path; one slash at its end makes none."""
    return route.removeprefix("/").removesuffix("/").split("/") if route != "/" else []


def _checked_instant(instant: datetime | None) -> datetime | None:
    if instant is None:
        return None
    if instant.tzinfo is None:
        message = "expires_at needs a time zone, such as 2027-02-28T23:59:59Z."
        raise FieldsInvalid(message, param="expires_at")
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        message = "expires_at lies outside the years 1 to 9999. Send null for a key that never expires."
        raise FieldsInvalid(message, param="expires_at") from error


def _refuse_models(models: frozenset[str] | None) -> None:
    if models is None:
        return
    _refuse_size(models, "models", MAX_MODELS)
    for model in models:
        checked_model_name(model, "models")


def _refuse_size(names: Collection[str], param: str, most: int) -> None:
    if not 1 <= len(names) <= most:
        raise FieldsInvalid(f"{param} names 1 to {most}. Send null for all.", param=param)


def _refuse_weight(weight: float) -> None:
    if isinstance(weight, bool) or not (isfinite(weight) and 0 < weight <= MAX_WEIGHT):
        raise FieldsInvalid(f"weight is above 0 and at most {MAX_WEIGHT:g}; 1 is usual.", param="weight")


def _refuse_unfit(text: str, param: str, longest: int) -> None:
    if not (0 < len(text) <= longest and text.isprintable() and text == text.strip()):
        message = f"{param} has 1 to {longest} printable characters and no space at its ends."
        raise FieldsInvalid(message, param=param)
