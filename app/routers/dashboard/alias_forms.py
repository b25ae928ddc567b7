"""What does the form of an alias say, and is it right? Row by row, by the admin API's own judgement. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from app.routers.aliases import DescribeAlias
from app.routers.dashboard.plain_words import words_of
from app.services.registry.aliases.rules import MAX_FALLBACKS, MAX_TARGETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.routers.dashboard.forms import Form
    from app.services.core.choice.aliases import Alias, Target

__all__ = ["AliasDraft", "JudgedAlias", "TargetRow", "draft_of", "drafted", "judged"]

SPARE_ROWS: Final = 2
_COUNTS: Final = {"min_context_tokens": "least", "max_context_tokens": "most"}
_PARTS: Final = {"model": "model", "weight": "weight", **_COUNTS}


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A target or a fallback as the form has it: texts as they were typed."""

    model: str = ""
    weight: str = ""
    least: str = ""
    most: str = ""

    @property
    def is_said(self) -> bool:
        """Whether anything stands in it."""
        return any((self.model, self.weight, self.least, self.most))


@dataclass(frozen=True, slots=True)
class AliasDraft:
    """All that the form shows. ``was`` is the name of the alias that is changed; empty for a new one."""

    name: str = ""
    targets: tuple[TargetRow, ...] = (TargetRow(),) * SPARE_ROWS
    fallbacks: tuple[TargetRow, ...] = (TargetRow(),) * SPARE_ROWS
    was: str = ""


@dataclass(frozen=True, slots=True)
class JudgedAlias:
    """What became of a form: an alias, or what is wrong, by field."""

    alias: Alias | None
    faults: Mapping[str, str] = field(default_factory=dict)


def draft_of(alias: Alias) -> AliasDraft:
    """Write an alias into the form, with rows to spare."""
    return AliasDraft(
        alias.name,
        _with_room([_row_of(target) for target in alias.targets], MAX_TARGETS),
        _with_room([_row_of(target, weighs=False) for target in alias.fallbacks], MAX_FALLBACKS),
        was=alias.name,
    )


def drafted(form: Form) -> AliasDraft:
    """Read the form; what was said closes up, and rows to spare follow."""
    return AliasDraft(
        form.text("name"),
        _with_room(_rows(form, "targets", MAX_TARGETS), MAX_TARGETS),
        _with_room(_rows(form, "fallbacks", MAX_FALLBACKS), MAX_FALLBACKS),
        was=form.text("was"),
    )


def judged(draft: AliasDraft) -> JudgedAlias:
    """Judge an alias by its form alone."""
    body: dict[str, Any] = {"name": draft.name}
    faults: dict[str, str] = {}
    for part, rows in (("targets", draft.targets), ("fallbacks", draft.fallbacks)):
        body[part] = [
            _body(row, f"{part}-{index}", faults, weighs=part == "targets")
            for index, row in enumerate(rows)
            if row.is_said
        ]
    alias = None
    try:
        alias = DescribeAlias.model_validate(body).alias()
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            faults.setdefault(_field_at(fault["loc"]), _words(fault))
    return JudgedAlias(None if faults else alias, faults)


def _rows(form: Form, part: str, most: int) -> list[TargetRow]:
    rows = (
        TargetRow(*(form.text(f"{part}-{index}-{name}") for name in ("model", "weight", "least", "most")))
        for index in range(most + SPARE_ROWS)
    )
    return [row for row in rows if row.is_said]


def _with_room(rows: list[TargetRow], most: int) -> tuple[TargetRow, ...]:
    return (*rows, *[TargetRow()] * max(min(SPARE_ROWS, most - len(rows)), 0))


def _row_of(target: Target, *, weighs: bool = True) -> TargetRow:
    least, most = target.min_context_tokens, target.max_context_tokens
    return TargetRow(target.model, f"{target.weight:g}" if weighs else "", str(least or ""), str(most or ""))


def _body(row: TargetRow, place: str, faults: dict[str, str], *, weighs: bool) -> dict[str, Any]:
    """Write a row as the admin API takes it; what is no number is noted as a fault."""
    body: dict[str, Any] = {"model": row.model}
    for name, text in (("min_context_tokens", row.least), ("max_context_tokens", row.most)):
        if text:
            body[name] = _whole(text, f"{place}-{_COUNTS[name]}", faults)
    if weighs and row.weight:
        try:
            body["weight"] = float(row.weight)
        except ValueError:
            faults[f"{place}-weight"] = "Should be a number, such as 1 or 0.5."
    return body


def _whole(text: str, place: str, faults: dict[str, str]) -> int | None:
    plain = text.replace(" ", "").replace("_", "")
    if plain.isascii() and plain.isdigit() and len(plain) <= 12:  # noqa: PLR2004 - far more than any context
        return int(plain)
    faults[place] = "Should be a whole number of tokens, such as 8192."
    return None


def _field_at(place: tuple[int | str, ...]) -> str:
    match place:
        case (("targets" | "fallbacks") as part, int(index), *rest):
            known = next((_PARTS[step] for step in rest if isinstance(step, str) and step in _PARTS), "model")
            return f"{part}-{index}-{known}"
        case (str(part), *_rest):
            return part
        case _:
            return "name"


def _words(fault: Any) -> str:
    if fault["type"] == "string_too_short":
        return "Write a name."
    if fault["type"] == "too_short":
        return "An alias leads somewhere: name at least one model."
    return words_of(fault)
