"""What does the form of a registration say, and is it right? Field by field, by the admin API's own judgement. Pure.

A server's key is read from the form and handed on, and is no part of what the form shows again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import ValidationError

from app.routers.dashboard.plain_words import words_of
from app.routers.schemas import RegisterServer
from app.routers.terms_schemas import Day
from app.services.core.errors import EndpointRefused
from app.services.core.network.addresses import parse_endpoint
from app.services.registry.specification import MAX_MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.routers.dashboard.forms import Form
    from app.services.core.errors import GatewayError
    from app.services.registry.specification import ServerSpec

__all__ = ["DAYS", "Draft", "Judged", "ModelRow", "WindowRow", "drafted", "faults_of", "judged", "plain"]

DAYS: Final[tuple[Day, ...]] = get_args(Day)
MORE_ROWS: Final = 3
_WINDOWS: Final = 3
_MOST_DIGITS: Final = 18
MISSING_URL: Final = "Say where the server listens, such as http://10.0.0.5:8000."
_FIELDS: Final[dict[tuple[int | str, ...], str]] = {
    ("capabilities", "context_length"): "context_length",
    ("hours", "timezone"): "timezone",
    ("metadata",): "description",
    (): "models",
}
_PARAMS: Final = {"hours.timezone": "timezone", "metadata": "description"}


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model as the form has it: what the server calls it, and what users are to ask for (empty: the same)."""

    upstream: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class WindowRow:
    """Hours of some days, as the form has them."""

    days: tuple[str, ...] = DAYS
    opens: str = ""
    closes: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """All that the form shows again: texts as they were typed, and no key."""

    endpoint_url: str = ""
    which: str = "all"
    models: tuple[ModelRow, ...] = (ModelRow(),) * MORE_ROWS
    owner: str = ""
    description: str = ""
    context_length: str = ""
    max_concurrency: str = ""
    priority: str = ""
    weight: str = ""
    share: str = "everyone"
    lent: str = "always"
    timezone: str = ""
    windows: tuple[WindowRow, ...] = (WindowRow(),) * _WINDOWS

    @property
    def says_more(self) -> bool:
        """Whether something is said beyond what most registrations say."""
        texts = (self.context_length, self.max_concurrency, self.priority, self.weight)
        return any(texts) or self.share != "everyone" or self.lent != "always"


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a form: a description of a server where nothing is wrong, else what is, by field."""

    spec: ServerSpec | None
    faults: Mapping[str, str] = field(default_factory=dict)


def drafted(form: Form, more_rows: int = 0) -> Draft:
    """Read the form."""
    count = min(max(form.whole("rows") or MORE_ROWS, MORE_ROWS) + more_rows, MAX_MODELS)
    models = tuple(
        ModelRow(form.text(f"models-{index}-upstream"), form.text(f"models-{index}-name")) for index in range(count)
    )
    windows = tuple(
        WindowRow(
            tuple(day for day in DAYS if day in form.list(f"hours-{index}-days")),
            form.text(f"hours-{index}-from"),
            form.text(f"hours-{index}-to"),
        )
        for index in range(_WINDOWS)
    )
    texts = ("endpoint_url", "owner", "description", "context_length", "max_concurrency", "priority", "weight")
    return Draft(
        **{name: form.text(name) for name in (*texts, "timezone")},
        which="chosen" if form.text("which") == "chosen" else "all",
        models=models,
        share=form.text("share", "everyone"),
        lent="windows" if form.text("lent") == "windows" else "always",
        windows=windows,
    )


def judged(draft: Draft, api_key: str | None, *, is_unfinished: bool = False) -> Judged:
    """Judge a registration by its form alone.

    Args:
        draft: what the form says.
        api_key: the server's own key.
        is_unfinished: somebody types still: what is merely missing is no fault yet.
    """
    faults: dict[str, str] = {}
    rows = [index for index, row in enumerate(draft.models) if row.upstream or row.name]
    body = _body(draft, api_key, rows, faults)
    if draft.which == "chosen" and not rows and not is_unfinished:
        faults["models"] = "Name at least one model, or take all that the server lists."
    spec = None
    try:
        spec = RegisterServer.model_validate(body).spec()
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            name = _field_at(fault["loc"], rows, _said_windows(draft))
            if not (is_unfinished and _is_missing(draft, name, fault)):
                faults.setdefault(name, _words(name, fault))
    if draft.endpoint_url:
        faults |= _judged_url(draft.endpoint_url)
    return Judged(None if faults else spec, faults)


def faults_of(error: GatewayError) -> dict[str, str]:
    """Put an error beside the field that it names; nothing where it names none of the form's."""
    param = _PARAMS.get(error.param or "", error.param or "")
    return {param: plain(error.message)} if param in _NAMES else {}


def plain(message: str) -> str:
    """Write a message of the admin API for somebody who sees a form: fields by their labels, no JSON."""
    for pattern, words in _LABELS:
        message = pattern.sub(words, message)
    return message


_LABELS: Final = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"(the server calls it): \"models\": .*", r"\1, beside the name that people ask for."),
        (r"\bas api_key\b", "in its field"),
        (r"\bapi_key\b", "key"),
        (r"\bendpoint_url\b", "URL"),
    )
)
_NAMES: Final = frozenset(
    {
        "endpoint_url", "api_key", "models", "description", "context_length", "max_concurrency", "priority", "weight",
        "share", "timezone",
    }
)  # fmt: skip


def _body(draft: Draft, api_key: str | None, rows: Sequence[int], faults: dict[str, str]) -> dict[str, Any]:
    """Write what the form says as the admin API takes it; what is no number is noted as a fault."""
    body: dict[str, Any] = {"share": draft.share}
    if draft.endpoint_url:
        body["endpoint_url"] = draft.endpoint_url
    if api_key:
        body["api_key"] = api_key
    if draft.which == "chosen" and rows:
        body["models"] = [_mapping(draft.models[index]) for index in rows]
    metadata = {"owner": draft.owner, "description": draft.description}
    if any(metadata.values()):
        body["metadata"] = {name: text for name, text in metadata.items() if text}
    for name in ("max_concurrency", "priority", "weight", "context_length"):
        number = _number(name, getattr(draft, name), faults)
        if number is not None and name == "context_length":
            body["capabilities"] = {name: number}
        elif number is not None:
            body[name] = number
    if draft.lent == "windows":
        body["hours"] = {"timezone": draft.timezone, "windows": _windows(draft)}
    return body


def _mapping(row: ModelRow) -> dict[str, str]:
    mapping = {"name": row.name or row.upstream}
    return mapping | ({"upstream_name": row.upstream} if row.upstream else {})


def _windows(draft: Draft) -> list[dict[str, Any]]:
    """Write the windows that say something."""
    said = [draft.windows[index] for index in _said_windows(draft)]
    return [{"days": list(window.days), "from": window.opens, "to": window.closes} for window in said]


def _said_windows(draft: Draft) -> list[int]:
    """Which windows say something; the first one in any case, so that a fault has a place."""
    return [index for index, window in enumerate(draft.windows) if window.opens or window.closes] or [0]


def _number(name: str, text: str, faults: dict[str, str]) -> float | int | None:
    """Read a number as people type it; None where there is none."""
    plain = text.replace(" ", "").replace("_", "").replace("\N{NARROW NO-BREAK SPACE}", "")
    if not plain:
        return None
    digits = plain.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS:
        return int(plain)
    try:
        number = float(plain) if name == "weight" and plain.isascii() else None
    except ValueError:
        number = None
    if number is None:
        example = "number, such as 1 or 0.5" if name == "weight" else "whole number, such as 8"
        faults[name] = f"Should be a {example}."
    return number


def _judged_url(url: str) -> dict[str, str]:
    try:
        parse_endpoint(url)
    except EndpointRefused as error:
        return {"endpoint_url": plain(error.message)}
    return {}


def _field_at(place: tuple[int | str, ...], rows: Sequence[int], windows: Sequence[int]) -> str:
    """Name the field of the form that a place in the body comes from."""
    if place in _FIELDS:
        return _FIELDS[place]
    match place:
        case ("models", int(index), *rest):
            return f"models-{rows[index]}-{'upstream' if 'upstream_name' in rest else 'name'}"
        case ("hours", "windows", int(index), *rest):
            return f"hours-{windows[index]}-{rest[0] if rest and rest[0] in {'from', 'to', 'days'} else 'from'}"
        case ("hours", *_rest):
            return "timezone"
        case ("metadata", *_rest):
            return "description"
        case _:
            return str(place[0])


def _is_missing(draft: Draft, name: str, fault: Any) -> bool:
    """Whether a fault is only that something was not said yet; the URL is judged apart."""
    if name.startswith("hours-"):
        _hours, index, side = name.split("-")
        window = draft.windows[int(index)]
        return not {"from": window.opens, "to": window.closes, "days": "said"}[side]
    return fault["type"] == "missing" or name == "endpoint_url" or (name == "timezone" and not draft.timezone)


def _words(name: str, fault: Any) -> str:
    """Say what a field should be."""
    if fault["type"] == "missing":
        return MISSING_URL if name == "endpoint_url" else "This is missing."
    if name == "timezone":
        return "Name the time zone of these hours, such as Europe/Berlin."
    if name.startswith("hours-"):
        return "Choose a day." if name.endswith("-days") else "Write it like 18:00."
    return words_of(fault)
