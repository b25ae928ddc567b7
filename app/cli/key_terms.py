"""Which options say what a key or a group may do, and what do they become in a request?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from app.cli.exits import CommandFailed, ExitCode
from app.cli.key_options import (
    LIMIT_NAMES,
    MAX_LIMIT,
    BackgroundOption,
    ConcurrencyOption,
    DayTokensOption,
    ExpiresOption,
    FrontEndOption,
    GroupOption,
    MinuteTokensOption,
    ModelsOption,
    MonthTokensOption,
    PersonOption,
    ReachOption,
    RequestsOption,
    RoleOption,
    RoutesOption,
    ToolsOption,
    WeightOption,
    given,
    parse_expiry,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from datetime import datetime

__all__ = [
    "GROUP_OPTIONS",
    "IMPORT_OPTIONS",
    "KEY_OPTIONS",
    "LIMIT_OPTIONS",
    "beside_other_limits",
    "parse_model_limits",
    "terms_of",
]

_PERSON: Final = "person_"
_MODEL_LIMIT: Final = re.compile(r"(.+):((?:[a-z_-]+=[0-9]{1,15})(?:,[a-z_-]+=[0-9]{1,15})*)", re.DOTALL)
"""A model and what limits it. Names of models may hold colons: the last one parts the two."""
ModelLimitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model-limit",
        metavar="MODEL:LIMIT=COUNT",
        help="A limit for one model alone, such as llama-3-8b:requests_per_minute=10; repeat for more.",
    ),
]
_FOR_EACH_PERSON: Final = Annotated[
    int | None, typer.Option(metavar="COUNT", min=1, max=MAX_LIMIT, help="The same for each person in it.")
]

LIMIT_OPTIONS: Final[Mapping[str, Any]] = {
    "requests_per_minute": RequestsOption,
    "tokens_per_minute": MinuteTokensOption,
    "tokens_per_day": DayTokensOption,
    "tokens_per_month": MonthTokensOption,
    "concurrency": ConcurrencyOption,
}
IMPORT_OPTIONS: Final[Mapping[str, Any]] = {
    "group": GroupOption,
    "role": RoleOption,
    "models": ModelsOption,
    "routes": RoutesOption,
    "expires": ExpiresOption,
    **LIMIT_OPTIONS,
    "model_limits": ModelLimitOption,
    "reach": ReachOption,
    "tools_anywhere": ToolsOption,
    "background": BackgroundOption,
    "weight": WeightOption,
}
"""What the keys of several people have alike."""
KEY_OPTIONS: Final[Mapping[str, Any]] = {"person": PersonOption, **IMPORT_OPTIONS, "names_people": FrontEndOption}
GROUP_OPTIONS: Final[Mapping[str, Any]] = {
    "models": ModelsOption,
    "reach": ReachOption,
    "weight": WeightOption,
    **LIMIT_OPTIONS,
    "model_limits": ModelLimitOption,
    **{f"{_PERSON}{name}": _FOR_EACH_PERSON for name in LIMIT_NAMES},
}


def terms_of(options: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Turn what was given of the options into fields of a request.

    Args:
        options: what was given, by the names of options.
        now: the present moment, aware.

    Raises:
        CommandFailed: an end or a limit of a model is not written as one.
    """
    limits = {name: options[name] for name in LIMIT_NAMES if name in options}
    person_limits = {name: options[_PERSON + name] for name in LIMIT_NAMES if _PERSON + name in options}
    amounts = {*LIMIT_NAMES, *(_PERSON + name for name in LIMIT_NAMES), "expires", "model_limits"}
    terms = {name: value for name, value in options.items() if name not in amounts}
    return terms | given(
        limits=limits or None,
        person_limits=person_limits or None,
        model_limits=parse_model_limits(options.get("model_limits") or ()) or None,
        expires_at=parse_expiry(options["expires"], now) if "expires" in options else None,
    )


def parse_model_limits(texts: Iterable[str]) -> dict[str, dict[str, int]]:
    """Read ``MODEL:LIMIT=COUNT``; more limits may follow after commas, or in a text of their own.

    Raises:
        CommandFailed: one is not written so, or says a limit for the second time.
    """
    limits: dict[str, dict[str, int]] = {}
    for text in texts:
        form = _MODEL_LIMIT.fullmatch(text.strip())
        if form is None:
            raise _no_limit(text, "is not written as a limit of a model.")
        of_model = limits.setdefault(form[1].strip(), {})
        for part in form[2].split(","):
            written, _equals, count = part.partition("=")
            name = written.replace("-", "_")
            if name not in LIMIT_NAMES:
                raise _no_limit(text, f"names no limit: there is no {written}.")
            if not 1 <= int(count) <= MAX_LIMIT:
                raise _no_limit(text, f"should have a count from 1 to {MAX_LIMIT:,}.")
            if name in of_model:
                raise _no_limit(text, f"says {written} of {form[1].strip()} for the second time.")
            of_model[name] = int(count)
    return limits


def beside_other_limits(
    terms: Mapping[str, Any], found: Mapping[str, Any], cleared: Container[str] = ()
) -> dict[str, Any]:
    """Put the limits that change beside those that stay: the gateway takes all of them or none.

    Args:
        terms: what changes.
        found: the key or the group as it is.
        cleared: the fields of which nothing stays.
    """
    merged = dict(terms)
    for field in ("limits", "person_limits", "model_limits"):
        if field not in terms or field in cleared:
            continue
        stay = found.get(field) or {}
        if field == "model_limits":
            changed = {model: {**(stay.get(model) or {}), **limits} for model, limits in terms[field].items()}
            merged[field] = {**stay, **changed}
        else:
            merged[field] = {**stay, **terms[field]}
    return merged


def _no_limit(text: str, fault: str) -> CommandFailed:
    fix = f"Write it as --model-limit llama-3-8b:requests_per_minute=10. Limits are: {', '.join(LIMIT_NAMES)}."
    return CommandFailed(f"--model-limit {text} {fault}", fix=fix, code=ExitCode.USAGE)
