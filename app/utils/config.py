"""How are the settings read, and what is a user told when one is wrong?

They come from the environment first and from ``.env`` in the working directory second. A wrong value stops the start:
:func:`load_settings` gathers everything that is wrong into one :class:`SettingsInvalid`, each with its name, its value
(masked where it is secret) and the fix.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import annotated_types
from dotenv.parser import parse_stream
from pydantic import PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import SettingsConfigDict

from app.utils.setting_groups import (
    GROUPS,
    AccessSettings,
    DashboardSettings,
    HealthSettings,
    LimitSettings,
    ListenerSettings,
    LoggingSettings,
    PeopleSettings,
    QueueSettings,
    RetrySettings,
    RoutingSettings,
    StorageSettings,
    TracingSettings,
    UpstreamSettings,
)
from app.utils.setting_types import Form, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

__all__ = ["Problem", "Settings", "SettingsInvalid", "form_of", "load_settings", "rule_of"]

_ENV_FILE = ".env"
_ENV_FILE_ENCODING = "utf-8-sig"  # editors on Windows write a byte order mark
_NEAR_MISS_RATIO = 0.85
_SHOWN_CHARACTERS = 200
_MASK = "********"
_USERINFO = re.compile(r"(://)[^\s/?#]*@")
_ELSEWHERE = frozenset({"GATEWAY_URL", "GATEWAY_API_KEY", "GATEWAY_KEY"}) | {
    f"OTEL_EXPORTER_OTLP_{signal}_{what}"
    for signal in ("TRACES", "METRICS", "LOGS")
    for what in ("ENDPOINT", "HEADERS")
}
"""Variables that the commands read themselves, and OpenTelemetry's for other programs: no misspelt settings."""

_ORDER = {name.upper(): place for place, name in enumerate(name for group in GROUPS for name in group.model_fields)}


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that can't be used: its name in capitals, the value as it may be shown, and the fix."""

    name: str
    value: str | None
    fix: str

    def __str__(self) -> str:
        given = "" if self.value is None else f"={self.value!r}"
        return f"{self.name}{given}: {self.fix}"


class SettingsInvalid(Exception):
    """The settings can't be used. The message lists every problem and never holds a secret.

    Args:
        problems: what is wrong, one entry a setting.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = "1 setting is wrong" if count == 1 else f"{count} settings are wrong"
        lines = [f"{heading} (in the environment or in {_ENV_FILE}):", *(f"  {problem}" for problem in self.problems)]
        super().__init__("\n".join(lines))


class Settings(
    ListenerSettings,
    AccessSettings,
    PeopleSettings,
    DashboardSettings,
    StorageSettings,
    LoggingSettings,
    TracingSettings,
    HealthSettings,
    UpstreamSettings,
    RoutingSettings,
    RetrySettings,
    LimitSettings,
    QueueSettings,
):
    """All settings of the gateway, validated and frozen. Make it by :func:`load_settings`."""

    model_config = SettingsConfigDict(
        env_file=_ENV_FILE,
        env_file_encoding=_ENV_FILE_ENCODING,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    _unknown: tuple[str, ...] = PrivateAttr(default=())

    @property
    def database_path(self) -> Path:
        """The file that ``DATABASE_URL`` names."""
        return sqlite_path(self.database_url)

    def unknown_names(self) -> tuple[str, ...]:
        """Name what was given and is no setting, each with the name that was probably meant.

        In ``.env`` that is every unknown name; in the environment, which is everybody's, those a slip away from one.
        """
        return self._unknown

    def secret_values(self) -> tuple[str, ...]:
        """Give every secret among the settings in clear, for the log's redaction and nothing else."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))

    @model_validator(mode="after")
    def _tls_files_come_together(self) -> Settings:
        given, missing = ("tls_cert_file", "tls_key_file")
        if getattr(self, given) is None:
            given, missing = missing, given
        if getattr(self, given) is not None and getattr(self, missing) is None:
            raise PydanticCustomError(
                "incomplete_pair",
                "must be set too, since {given} is: the certificate and its key come together",
                {"name": missing, "given": given.upper()},
            )
        return self


def load_settings(**overrides: object) -> Settings:
    """Read the environment and ``.env``.

    Args:
        overrides: settings by their field names that win over both, such as a command's options.

    Raises:
        SettingsInvalid: a value can't be used, or ``.env`` can't be read.
    """
    in_file = _names_in_env_file()
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]  # validated by pydantic, that is its work
    except ValidationError as error:
        problems = sorted(map(_problem, error.errors(include_url=False)), key=lambda problem: _ORDER[problem.name])
        raise SettingsInvalid(problems) from None  # the cause would show raw values
    settings._unknown = _unknown_names(in_file, os.environ)  # noqa: SLF001  (the loader completes what it made)
    return settings


def form_of(field: FieldInfo) -> Form:
    """Find the form of a setting: on the field itself, or inside ``Annotated[...] | None``."""
    nested = (item for option in get_args(field.annotation) for item in getattr(option, "__metadata__", ()))
    return next(item for item in (*field.metadata, *nested) if isinstance(item, Form))


def rule_of(field: FieldInfo) -> str:
    """Say in words what a setting takes, from its form, its choices or its bounds: "a number of at least 0.1"."""
    form = form_of(field)
    if form.rule:
        return form.rule
    choices = get_args(field.annotation)
    if choices:
        return "one of " + ", ".join(str(choice) for choice in choices)
    noun = "a whole number" if field.annotation is int else "a number"
    low = next(item.ge for item in field.metadata if isinstance(item, annotated_types.Ge))
    high = next(item.le for item in field.metadata if isinstance(item, annotated_types.Le))
    return f"{noun} of at least {low} and at most {high}"


def _problem(detail: ErrorDetails) -> Problem:
    """Turn one of pydantic's errors into the name, the value as it may be shown, and the fix."""
    context = detail.get("ctx", {})
    if detail["type"] == "incomplete_pair":
        return Problem(str(context["name"]).upper(), None, detail["msg"])
    name = str(detail["loc"][0])
    field = Settings.model_fields[name]
    fix = str(context["error"]) if detail["type"] == "value_error" else f"must be {rule_of(field)}"
    return Problem(name.upper(), _shown(detail["input"], field), fix)


def _shown(value: object, field: FieldInfo) -> str:
    """Make a value fit to be shown: secrets and the userinfo of URLs masked, long ones cut."""
    if form_of(field).is_secret:
        return _MASK
    text = value if isinstance(value, str) else ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    text = _USERINFO.sub(rf"\1{_MASK}@", text)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _names_in_env_file() -> list[str]:
    """Give the names set in ``.env``; an absent file has none.

    Raises:
        SettingsInvalid: it can't be read, is not UTF-8, or has a line that is no assignment.
    """
    path = Path(_ENV_FILE)
    if not path.is_file():
        return []
    try:
        with path.open(encoding=_ENV_FILE_ENCODING) as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else (error.strerror or "no access")
        problem = Problem(str(path.absolute()), None, f"can't be read: {reason}; repair or remove the file")
        raise SettingsInvalid([problem]) from error
    broken = [binding.original.line for binding in bindings if binding.error]
    if broken:
        raise SettingsInvalid(
            Problem(f"{_ENV_FILE} line {line}", None, "is no assignment; write NAME=value") for line in broken
        )
    return [binding.key for binding in bindings if binding.key]


def _unknown_names(in_file: Iterable[str], in_environment: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for name in in_file:
        meant = _meant_by(name)
        if not _is_known(name):
            found[name] = f"{name} (did you mean {meant}?)" if meant else f"{name} (no setting of the gateway)"
    for name in in_environment:
        # Short words without a ``_`` are anybody's.
        if not _is_known(name) and "_" in name and (meant := _meant_by(name)):
            found[name] = f"{name} (did you mean {meant}?)"
    return tuple(found.values())


def _is_known(name: str) -> bool:
    return name.lower() in Settings.model_fields or name.upper() in _ELSEWHERE


def _meant_by(name: str) -> str:
    """The setting whose name differs by a slip, or an empty string."""
    return next(iter(difflib.get_close_matches(name.upper(), _ORDER, n=1, cutoff=_NEAR_MISS_RATIO)), "")
