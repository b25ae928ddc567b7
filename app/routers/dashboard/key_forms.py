"""What do the forms on keys and groups say, and what stands in them at first? Pure: fields in, bodies of the API out.

A field of a form is called as the field of the API's body is, ``limits.tokens_per_day`` for one inside another: what is
refused is told at its place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError

from app.routers.dashboard.plain_words import for_people, words_of
from app.routers.key_schemas import LimitsBody
from app.services.core.errors import FieldsInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from app.routers.dashboard.forms import Form
    from app.routers.strict_model import StrictModel
    from app.services.core.errors import GatewayError
    from app.services.core.people.principal import Limits
    from app.services.registry.people.records import GroupRecord, KeyRecord

__all__ = [
    "GROUP_FIELDS",
    "KEY_FIELDS",
    "LIMIT_NAMES",
    "FormInvalid",
    "changed_fields",
    "checked",
    "faults_of",
    "given_fields",
    "group_fields",
    "key_fields",
    "shown_form",
    "shown_group",
    "shown_key",
    "what_changed",
]

LIMIT_NAMES: Final = tuple(LimitsBody.model_fields)
FLAGS: Final = ("tools_anywhere", "names_people", "background")
KEY_FIELDS: Final = (
    *("name", "role", "group", "person", "models", "routes", "reach", "weight", "expires_at", "model_limits"),
    *(f"limits.{name}" for name in LIMIT_NAMES),
    *FLAGS,
)
GROUP_FIELDS: Final = (
    *("name", "description", "models", "reach", "weight", "model_limits"),
    *(f"{part}.{name}" for part in ("limits", "person_limits") for name in LIMIT_NAMES),
)
_CALLED: Final[Mapping[str, str]] = {
    "routes": "paths that it may call",
    "weight": "share beside others",
    "expires_at": "last day",
    "model_limits": "limits of single models",
    "person_limits": "limits of each person",
    "tools_anywhere": "where its requests with tools may go",
    "names_people": "whether it says whom it asks for",
    "background": "whether its requests yield to people's",
}
"""What forms call fields that the API names otherwise."""
_LIMIT: Final = re.compile(rf"({'|'.join(LIMIT_NAMES)})=([0-9]{{1,18}})", re.ASCII)
_MODEL_LIMIT_FORM: Final = (
    "Write one model a line, its limits after it: llama-3-70b requests_per_minute=10 concurrency=2"
)

Body = TypeVar("Body", bound="StrictModel")


def what_changed(fields: Iterable[str]) -> str:
    """Say in a sentence which fields of a key or a group were changed, as its form calls them."""
    named = ", ".join(_CALLED.get(name, name) for name in fields)
    return f"Changed: {named}." if named else "Nothing was changed."


def key_fields(form: Form) -> dict[str, Any]:
    """Read the fields of a key; what is empty is None, a box that is not set False.

    Raises:
        FieldsInvalid: one of them is no such number, or no list of limits.
    """
    return {
        "name": form.optional("name"),
        "role": form.optional("role"),
        "group": form.optional("group"),
        "person": form.optional("person"),
        "models": form.lines("models") or None,
        "routes": form.lines("routes") or None,
        "reach": form.optional("reach"),
        "weight": form.number("weight"),
        "expires_at": form.optional("expires_at"),
        "limits": _limits(form, "limits"),
        "model_limits": _model_limits(form.lines("model_limits")),
        **{name: form.flag(name) for name in FLAGS},
    }


def group_fields(form: Form) -> dict[str, Any]:
    """Read the fields of a group. Raises as ``key_fields`` does."""
    return {
        "name": form.optional("name"),
        "description": " ".join(form.lines("description")),
        "models": form.lines("models") or None,
        "reach": form.optional("reach"),
        "weight": form.number("weight"),
        "limits": _limits(form, "limits"),
        "person_limits": _limits(form, "person_limits"),
        "model_limits": _model_limits(form.lines("model_limits")),
    }


def given_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is empty: the gateway has its own for that."""
    return {name: value for name, value in fields.items() if not (value is None or value is False or value == "")}


def changed_fields(wanted: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs from what stood in the form; None clears, but for what can't be without."""
    changed = {name: value for name, value in wanted.items() if value != shown[name]}
    return {name: value for name, value in changed.items() if value is not None or name not in _NEEDED}


_NEEDED: Final = frozenset({"role", "reach", "weight"})


class FormInvalid(FieldsInvalid):
    """Fields of a form that the API would refuse. ``faults`` says what is wrong at which."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        name, words = next(iter(faults.items()))
        super().__init__(f"{name}: {words}", param=name or None)
        self.faults = dict(faults)


def checked(body: type[Body], fields: Mapping[str, Any]) -> Body:
    """Make the body that the API would take of these fields.

    Raises:
        FormInvalid: it would refuse them.
    """
    try:
        return body.model_validate(dict(fields))
    except ValidationError as error:
        raise FormInvalid(_faults(error)) from error


def faults_of(error: GatewayError) -> dict[str, str]:
    """Say what is wrong at which field, for who sees a form; under an empty name what concerns no field alone."""
    if isinstance(error, FormInvalid):
        return error.faults
    return {re.sub(r"\[\d+\]$", "", error.param or ""): for_people(error.message, error.param)}


def _faults(error: ValidationError) -> dict[str, str]:
    faults: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_input=False):
        steps = [str(step) for step in fault["loc"]]
        nested = len(steps) > 1 and steps[0] in {"limits", "person_limits"}
        name = ".".join(steps[:2]) if nested else (steps[0] if steps else "")
        faults.setdefault(name, words_of(fault))
    return faults


def shown_form(form: Form, names: Iterable[str]) -> dict[str, str]:
    """Return what was sent, for the form to be shown again."""
    return {name: form.raw(name) for name in names}


def shown_key(record: KeyRecord, group: GroupRecord | None) -> dict[str, str]:
    """Return what stands in the form of a key."""
    return {
        "name": record.name,
        "role": record.role.value,
        "group": group.name if group else "",
        "person": record.person or "",
        "models": _lines(record.models),
        "routes": _lines(record.routes),
        "reach": record.reach.value,
        "weight": f"{record.weight:g}",
        "expires_at": f"{record.expires_at:%Y-%m-%d}" if record.expires_at else "",
        "model_limits": _model_lines(record.model_limits),
        **_shown_limits("limits", record.limits),
        **{name: "on" if getattr(record, name) else "" for name in FLAGS},
    }


def shown_group(record: GroupRecord) -> dict[str, str]:
    """Return what stands in the form of a group."""
    return {
        "name": record.name,
        "description": record.description,
        "models": _lines(record.models),
        "reach": record.reach.value,
        "weight": f"{record.weight:g}",
        "model_limits": _model_lines(record.model_limits),
        **_shown_limits("limits", record.limits),
        **_shown_limits("person_limits", record.person_limits),
    }


def _limits(form: Form, part: str) -> dict[str, int] | None:
    """Read limits; None where none is set."""
    given = {name: form.whole(f"{part}.{name}") for name in LIMIT_NAMES}
    return {name: value for name, value in given.items() if value is not None} or None


def _model_limits(lines: Iterable[str]) -> dict[str, dict[str, int]] | None:
    """Read limits by model: a model's name, then what limits it.

    Raises:
        FieldsInvalid: a line is written otherwise, or a model stands there twice.
    """
    found: dict[str, dict[str, int]] = {}
    for line in lines:
        model, limits = _model_with_limits(line)
        if not limits or model in found:
            message = f"One of the lines is no model with its limits, or names a model again. {_MODEL_LIMIT_FORM}"
            raise FieldsInvalid(message, param="model_limits")
        found[model] = limits
    return found or None


def _model_with_limits(line: str) -> tuple[str, dict[str, int]]:
    """Take the limits off the end of a line, word by word: each name once, so that a line of any length takes no time.

    Returns:
        What is left, a model's name, which may hold spaces; and the limits, none where the line is no such.
    """
    model, limits = line, dict[str, int]()
    for _ in LIMIT_NAMES:
        words = model.rsplit(maxsplit=1)
        limit = _LIMIT.fullmatch(words[1]) if len(words) > 1 else None
        if limit is None or limit[1] in limits:
            break
        limits[limit[1]] = int(limit[2])
        model = words[0]
    return model.rstrip(), limits


def _shown_limits(part: str, limits: Limits) -> dict[str, str]:
    return {f"{part}.{name}": "" if (value := getattr(limits, name)) is None else str(value) for name in LIMIT_NAMES}


def _model_lines(by_model: Mapping[str, Limits]) -> str:
    lines = []
    for model, limits in sorted(by_model.items()):
        words = [f"{name}={value}" for name in LIMIT_NAMES if (value := getattr(limits, name)) is not None]
        lines.append(" ".join([model, *words]))
    return "\n".join(lines)


def _lines(names: Iterable[str] | None) -> str:
    return "\n".join(sorted(names or ()))
