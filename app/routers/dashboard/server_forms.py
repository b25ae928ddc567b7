"""What does the form of a server say, and what would it change? Texts in, a ``ChangeServer`` out. Pure.

Every field is a text; what differs from how the server is now is changed, and nothing else is sent on. So a form that
was open for long takes back nothing that somebody else changed meanwhile but what its visitor changed too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from app.routers.dashboard.hours_text import lines_of, windows_in
from app.routers.dashboard.plain_words import words_of
from app.routers.schemas import ChangeServer
from app.services.core.errors import FieldsInvalid
from app.services.registry.terms import hours_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.routers.dashboard.forms import Form
    from app.services.core.types import ModelEntry
    from app.services.registry.records import ServerRecord

Model = TypeVar("Model", bound=BaseModel)

__all__ = ["LABELS", "NEW", "Difference", "change_in", "differences", "field_of", "texts_in", "texts_of", "validated"]

LABELS: Final = {
    "endpoint_url": "Address",
    "api_key": "The server's own key",
    "models": "Models",
    "share": "Who may use it",
    "max_concurrency": "Requests at once",
    "priority": "Priority",
    "weight": "Weight",
    "context_length": "Context length",
    "max_tokens": "Longest answer",
    "streaming": "Streams",
    "timezone": "Time zone",
    "windows": "Hours",
    "owner": "Owner",
    "description": "Description",
    "metadata": "More notes",
}
"""What the fields are called, in the order of the form."""
KEEP, NEW, NONE = "keep", "new", "none"
"""What becomes of the server's own key."""
_CAPABILITIES: Final = ("context_length", "max_tokens", "streaming")
_METADATA: Final = ("owner", "description")
_NUMBERS: Final = ("max_concurrency", "priority", "weight")
_ARROW: Final = "=>"
_A_NEW_ONE: Final = "(a new one)"
_FLAGS: Final = {"True": "yes", "False": "no"}
_MOST_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is to change: as it is, and as it is to be. Neither ever holds a key."""

    name: str
    before: str
    after: str

    @property
    def label(self) -> str:
        """What the field is called."""
        return LABELS[self.name]


def texts_of(record: ServerRecord) -> dict[str, str]:
    """Write a server as the fields of the form have it; its key is never among them."""
    hours = None if record.hours is None else hours_document(record.hours)
    plain = {name: str(value) for name, value in record.metadata.items() if _is_plain(name, value)}
    notes = {name: value for name, value in record.metadata.items() if name not in plain}
    return {
        "endpoint_url": record.endpoint.url,
        "api_key": KEEP,
        "models": "" if record.discovers_models else "\n".join(map(_line_of, record.models)),
        "share": record.share,
        "max_concurrency": _number(record.max_concurrency),
        "priority": _number(record.priority),
        "weight": _number(record.weight),
        "context_length": _number(record.capabilities.get("context_length")),
        "max_tokens": _number(record.capabilities.get("max_tokens")),
        "streaming": _FLAGS.get(str(record.capabilities.get("streaming")), ""),
        "timezone": "" if hours is None else hours["timezone"],
        "windows": "" if hours is None else lines_of(hours["windows"]),
        **{name: plain.get(name, "") for name in _METADATA},
        "metadata": json.dumps(notes, ensure_ascii=False, indent=2) if notes else "",
    }


def texts_in(form: Form, record: ServerRecord) -> dict[str, str]:
    """Read the fields of the form; one that was not sent is as the server is."""
    now = texts_of(record)
    several = {"models", "windows"}
    return {
        name: now[name] if name not in form else "\n".join(form.lines(name)) if name in several else form.text(name)
        for name in LABELS
    }


def differences(texts: Mapping[str, str], record: ServerRecord) -> list[Difference]:
    """Say which fields are to change, in the order of the form."""
    now = texts_of(record)
    found = [Difference(name, now[name], texts[name]) for name in LABELS if texts[name] != now[name]]
    found = [difference for difference in found if difference.name != "api_key"]
    has_key = record.api_key is not None or record.key_unreadable
    if texts["api_key"] == NEW:
        found.insert(0, Difference("api_key", "(one is stored)" if has_key else "none", _A_NEW_ONE))
    elif texts["api_key"] == NONE and has_key:
        found.insert(0, Difference("api_key", "(one is stored)", "none"))
    return found


def change_in(texts: Mapping[str, str], record: ServerRecord, api_key: str = "") -> ChangeServer:
    """Make the change of what differs.

    Args:
        texts: the fields of the form.
        record: the server as it is.
        api_key: the new key, where there is to be one.

    Raises:
        FieldsInvalid: a field can't be read, or is not as it should be; ``param`` names it as the form does.
    """
    changed = {difference.name for difference in differences(texts, record)}
    body: dict[str, Any] = {name: texts[name] for name in ("endpoint_url", "share") if name in changed}
    if "api_key" in changed:
        body["api_key"] = api_key if texts["api_key"] == NEW else None
    if "models" in changed:
        body["models"] = [_mapping(line) for line in texts["models"].splitlines()] or None
    for name in changed.intersection(_NUMBERS):
        body[name] = _read_number(name, texts[name], is_needed=name != "max_concurrency")
    if changed.intersection(_CAPABILITIES):
        body["capabilities"] = _capabilities(texts, record)
    if changed & {*_METADATA, "metadata"}:
        body["metadata"] = _metadata(texts)
    if changed & {"timezone", "windows"}:
        body["hours"] = _hours(texts)
    return validated(ChangeServer, body)


def validated(model: type[Model], body: Mapping[str, Any]) -> Model:
    """Make one of the admin API's bodies.

    Raises:
        FieldsInvalid: a field is not as it should be; ``param`` names the first one. What was sent is not repeated.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        told = [words_of(fault) for fault in faults]
        path = ".".join(str(step) for step in faults[0]["loc"])
        raise FieldsInvalid(" ".join(dict.fromkeys(told[:_MOST_TOLD])), param=path or None) from error


def field_of(param: str | None) -> str:
    """Say which field of the form an error is about; empty for none of them."""
    steps = (param or "").replace("[", ".").split(".")
    if steps[0] in {"capabilities", "hours"} and len(steps) > 1:
        return steps[1] if steps[1] in LABELS else ""
    return steps[0] if steps[0] in LABELS else ""


def _is_plain(name: str, value: object) -> bool:
    """Whether a note has a field of its own: one line of text."""
    return name in _METADATA and isinstance(value, str) and value == " ".join(value.split())


def _number(value: object) -> str:
    """Write a number as people type it: 8, 0.5; what is none is left to be said."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read_number(name: str, text: str, *, is_needed: bool = False) -> float | int | None:
    """Read a number as people type it; None where there is none.

    Raises:
        FieldsInvalid: it is none, or is needed.
    """
    plain = text.replace(" ", "").replace("_", "").replace("\N{NARROW NO-BREAK SPACE}", "")
    if not plain and not is_needed:
        return None
    try:
        return int(plain)
    except ValueError:
        pass
    try:
        return float(plain)
    except ValueError as error:
        message = "Should be a number, such as 1."
        raise FieldsInvalid(message, param=name) from error


def _line_of(model: ModelEntry) -> str:
    return model.name if model.name == model.upstream_name else f"{model.name} {_ARROW} {model.upstream_name}"


def _mapping(line: str) -> dict[str, str]:
    name, arrow, upstream = (part.strip() for part in line.partition(_ARROW))
    return {"name": name, "upstream_name": upstream} if arrow else {"name": name}


def _capabilities(texts: Mapping[str, str], record: ServerRecord) -> dict[str, Any]:
    """Write what a server can do, with all that the form has no field for as it is."""
    said: dict[str, Any] = {name: value for name, value in record.capabilities.items() if name not in _CAPABILITIES}
    for name in ("context_length", "max_tokens"):
        number = _read_number(name, texts[name])
        said |= {} if number is None else {name: number}
    streams = {"yes": True, "no": False}.get(texts["streaming"])
    return said if streams is None else said | {"streaming": streams}


def _metadata(texts: Mapping[str, str]) -> dict[str, Any]:
    """Write the notes.

    Raises:
        FieldsInvalid: those without a field of their own are no JSON object.
    """
    message = 'Should be a JSON object, such as {"rack": 4}.'
    try:
        notes = json.loads(texts["metadata"] or "{}")
    except (ValueError, RecursionError) as error:
        raise FieldsInvalid(message, param="metadata") from error
    if not isinstance(notes, dict):
        raise FieldsInvalid(message, param="metadata")
    return notes | {name: texts[name] for name in _METADATA if texts[name]}


def _hours(texts: Mapping[str, str]) -> dict[str, Any] | None:
    """Write when it is lent; None for always.

    Raises:
        FieldsInvalid: one of the two is missing, or a line can't be read.
    """
    zone, lines = texts["timezone"], texts["windows"].splitlines()
    if not zone and not lines:
        return None
    if not zone:
        message = "Name the time zone of these hours, such as Europe/Berlin."
        raise FieldsInvalid(message, param="timezone")
    if not lines:
        message = "Say when it is lent, such as mon-fri 18:00-08:00; or leave the time zone out too: then it always is."
        raise FieldsInvalid(message, param="windows")
    return {"timezone": zone, "windows": windows_in(lines)}
