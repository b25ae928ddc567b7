"""How are settings told on the page Settings?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from app.services.registry.accounting.shown_settings import shown_settings
from app.utils.config import form_of, rule_of
from app.utils.setting_groups import GROUPS
from app.utils.setting_sources import Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic.fields import FieldInfo

    from app.utils.config import Settings
    from app.utils.setting_sources import SettingState, Standing

__all__ = ["SettingGroup", "SettingRow", "setting_groups"]

_WORDS: Final = {
    Source.DEFAULT: "Default",
    Source.ENVIRONMENT: "Environment",
    Source.ENV_FILE: ".env",
    Source.START: "At the start",
}
_EXPLAINED: Final = {
    Source.DEFAULT: "Nothing sets it.",
    Source.ENVIRONMENT: "A variable of the environment that the gateway was started in.",
    Source.ENV_FILE: "The file .env in the folder that the gateway was started in.",
    Source.START: "An option of the command that started the gateway, or a line of .env that has changed since.",
}
_UNSET: Final = "unset"
_SET: Final = "set"


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting. ``next_value`` is what the next start reads; empty where it is the same."""

    name: str
    description: str
    value: str
    is_set: bool
    is_secret: bool
    default: str
    rule: str
    kind: str
    source: str
    explained: str
    is_default: bool
    next_value: str


@dataclass(frozen=True, slots=True)
class SettingGroup:
    """Settings that belong together."""

    title: str
    anchor: str
    rows: tuple[SettingRow, ...]


def setting_groups(
    settings: Settings, standing: Standing, search: str = "", *, changed_only: bool = False
) -> tuple[SettingGroup, ...]:
    """Tell all settings, or those that a search finds; groups in which none is left are left out.

    Args:
        settings: those in force.
        standing: where they come from.
        search: what must stand in name, description, source or a value that is no secret; in any case.
        changed_only: leave out what is as it is by default.
    """
    shown = shown_settings(settings)
    groups: list[SettingGroup] = []
    for group in GROUPS:
        rows = [
            _row(name, field, shown[name.upper()], standing.states[name]) for name, field in group.model_fields.items()
        ]
        kept = tuple(row for row in rows if _is_wanted(row, search, changed_only=changed_only))
        if kept:
            title = (group.__doc__ or "").splitlines()[0].removesuffix(".")
            groups.append(SettingGroup(title, f"group-{len(groups)}", kept))
    return tuple(groups)


def _row(name: str, field: FieldInfo, value: object, state: SettingState) -> SettingRow:
    form = form_of(field)
    next_value = _text(state.next_value, field) if state.will_change else ""
    if form.is_secret and next_value == _SET:
        next_value = "another value"
    return SettingRow(
        name=name.upper(),
        description=(field.description or "").replace("`", ""),
        value=_text(value, field),
        is_set=value not in (None, [], "", _UNSET),
        is_secret=form.is_secret,
        default=_text(field.default, field),
        rule=rule_of(field),
        kind=form.kind,
        source=_WORDS[state.source],
        explained=_EXPLAINED[state.source],
        is_default=state.source is Source.DEFAULT,
        next_value=next_value,
    )


def _text(value: object, field: FieldInfo) -> str:
    """Write a value as it would stand in ``.env``; of a secret whether it is set."""
    if value is None or value in ((), []):
        return _UNSET
    if isinstance(value, SecretStr) or (form_of(field).is_secret and value != _UNSET):
        return _SET
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.as_posix() if isinstance(value, Path) else str(value)


def _is_wanted(row: SettingRow, search: str, *, changed_only: bool) -> bool:
    if changed_only and row.is_default and not row.next_value:
        return False
    searched: Iterable[Any] = (row.name, row.description, row.source, row.value)
    return search.casefold() in "\n".join(searched).casefold()
