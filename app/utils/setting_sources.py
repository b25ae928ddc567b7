"""Where does the value of each setting come from, and what would a restart change?

A gateway reads its settings once. The environment of a process stays as it was; ``.env`` may have been edited since,
which is found by reading both again. A command's options leave no trace but their values: what differs from what the
environment and ``.env`` say was given at the start.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dotenv import dotenv_values
from pydantic import SecretStr

from app.utils.config import SettingsInvalid, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.utils.config import Settings

__all__ = ["SettingState", "Source", "Standing", "setting_states"]

_ENV_FILE: Final = Path(".env")
_USUAL_SLACK_SECONDS: Final = 2.0
"""Clocks of file systems are coarse; a file written while the gateway started was read by it, or is taken to be."""


class Source(StrEnum):
    """Where a value comes from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    ENV_FILE = ".env"
    START = "start"
    """An option of the command that started the gateway, or a line of ``.env`` that has changed since."""


@dataclass(frozen=True, slots=True)
class SettingState:
    """One setting. ``will_change``: the next start reads another value, ``next_value``, from ``.env``."""

    source: Source
    will_change: bool = False
    next_value: object = None


@dataclass(frozen=True, slots=True)
class Standing:
    """All settings by their field names, and why the next start would fail; empty where it would not."""

    states: Mapping[str, SettingState]
    problems: tuple[str, ...] = ()


def setting_states(settings: Settings, started_at: float, *, reads_nothing: bool = False) -> Standing:
    """Find out where values come from. It reads ``.env``: call it in a thread.

    Args:
        settings: those in force.
        started_at: when they were read, in Unix seconds.
        reads_nothing: they were made by a command that minds neither the environment nor ``.env``.
    """
    if reads_nothing:
        return Standing({name: SettingState(_made(settings, name)) for name in type(settings).model_fields})
    given = dict.fromkeys(_in_file(), Source.ENV_FILE)
    given |= {name.lower(): Source.ENVIRONMENT for name, value in os.environ.items() if value}
    fresh: Settings | None = None
    problems: tuple[str, ...] = ()
    try:
        fresh = load_settings()
    except SettingsInvalid as error:
        problems = tuple(str(problem) for problem in error.problems)
    is_edited = _edited_since(started_at)
    states = {
        name: _state(settings, fresh, name, given.get(name, Source.DEFAULT), is_edited=is_edited)
        for name in type(settings).model_fields
    }
    return Standing(states, problems)


def _state(settings: Settings, fresh: Settings | None, name: str, given: Source, *, is_edited: bool) -> SettingState:
    """Judge one setting. ``given``: what gives it a value now."""
    value = getattr(settings, name)
    is_same = fresh is None or getattr(fresh, name) == value
    if name not in settings.model_fields_set:
        source = Source.DEFAULT
    elif given is Source.DEFAULT:
        source = _made(settings, name)
    else:
        source = given if is_same else Source.START
    if is_same or given is Source.ENVIRONMENT or not is_edited:
        return SettingState(source)
    return SettingState(source, will_change=True, next_value=getattr(fresh, name))


def _made(settings: Settings, name: str) -> Source:
    """The source of a value that neither the environment nor ``.env`` gave."""
    value, default = getattr(settings, name), type(settings).model_fields[name].default
    return Source.DEFAULT if value == default and not isinstance(value, SecretStr) else Source.START


def _in_file() -> frozenset[str]:
    """Which settings ``.env`` gives a value; none where it can't be read."""
    try:
        found = dotenv_values(_ENV_FILE, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return frozenset()
    return frozenset(name.lower() for name, value in found.items() if value)


def _edited_since(moment: float) -> bool:
    """Whether ``.env`` was written, or removed, after a moment. One that is not there may never have been."""
    try:
        return _ENV_FILE.stat().st_mtime > moment - _USUAL_SLACK_SECONDS
    except OSError:
        return True
