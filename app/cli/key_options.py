"""How are the terms of keys and groups said on the command line: limits, scope, and when something ends?"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from app.cli.exits import CommandFailed, ExitCode

__all__ = [
    "LIMIT_NAMES",
    "MAX_LIMIT",
    "BackgroundOption",
    "ConcurrencyOption",
    "DayTokensOption",
    "ExpiresOption",
    "FrontEndOption",
    "GroupOption",
    "JsonOption",
    "MinuteTokensOption",
    "ModelsOption",
    "MonthTokensOption",
    "PersonOption",
    "QuietOption",
    "Reach",
    "ReachOption",
    "RequestsOption",
    "Role",
    "RoleOption",
    "RoutesOption",
    "ToolsOption",
    "WeightOption",
    "YesOption",
    "given",
    "parse_duration",
    "parse_expiry",
]

MAX_LIMIT: Final = 10**12
LIMIT_NAMES: Final = (
    "requests_per_minute",
    "tokens_per_minute",
    "tokens_per_day",
    "tokens_per_month",
    "concurrency",
)
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s?(s|min|m|h|d|w)", re.ASCII)
_HAS_TIME: Final = re.compile(r"[T:]", re.IGNORECASE)


class Role(StrEnum):
    """What a key may do."""

    ADMIN = "admin"
    OWNER = "owner"
    USER = "user"


class Reach(StrEnum):
    """How far requests may go."""

    TRUSTED = "trusted"
    GROUP = "group"
    PUBLIC = "public"


RoleOption = Annotated[
    Role | None, typer.Option(help="user: uses models. owner: lends servers too. admin: does all. Left out: user.")
]
GroupOption = Annotated[str | None, typer.Option(metavar="GROUP", help="The name or id of the group it belongs to.")]
ModelsOption = Annotated[
    list[str] | None, typer.Option("--model", metavar="NAME", help="A model it may ask for; repeat for more.")
]
RoutesOption = Annotated[
    list[str] | None, typer.Option("--route", metavar="PATH", help="A path it may call, all below included; repeat.")
]
ReachOption = Annotated[
    Reach | None, typer.Option(help="trusted servers alone, its group's too, or the public ones as well.")
]
WeightOption = Annotated[
    float | None, typer.Option(metavar="NUMBER", min=0.01, max=100, help="Its share beside others' under full load.")
]
ExpiresOption = Annotated[
    str | None,
    typer.Option("--expires", metavar="WHEN", help="When it ends: 2027-02-28 (that day's end here), 90d, 12h, 2w."),
]
RequestsOption = Annotated[
    int | None, typer.Option(metavar="COUNT", min=1, max=MAX_LIMIT, help="At most so many requests in any 60 s.")
]
MinuteTokensOption = Annotated[
    int | None, typer.Option(metavar="COUNT", min=1, max=MAX_LIMIT, help="At most so many tokens in any 60 s.")
]
DayTokensOption = Annotated[
    int | None, typer.Option(metavar="COUNT", min=1, max=MAX_LIMIT, help="At most so many tokens a day (UTC).")
]
MonthTokensOption = Annotated[
    int | None, typer.Option(metavar="COUNT", min=1, max=MAX_LIMIT, help="At most so many tokens a month (UTC).")
]
ConcurrencyOption = Annotated[
    int | None, typer.Option(metavar="COUNT", min=1, max=MAX_LIMIT, help="At most so many requests at once.")
]
PersonOption = Annotated[str | None, typer.Option(metavar="PERSON", help="Whose use counts together.")]
ToolsOption = Annotated[
    bool | None, typer.Option(help="Whether its requests with tools may go to servers that are not trusted.")
]
FrontEndOption = Annotated[bool | None, typer.Option(help="Whether it is a front end's, which names its users.")]
BackgroundOption = Annotated[bool | None, typer.Option(help="Whether its requests yield to those of people.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print the key alone, without a word on stderr.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


def given(**fields: Any) -> dict[str, Any]:
    """The fields that were given; the gateway has its own defaults for the others."""
    return {name: value for name, value in fields.items() if value is not None}


def parse_duration(text: str, option: str) -> timedelta:
    """Read ``90d``, ``12h``, ``30min``, ``2w`` or ``45s``.

    Raises:
        CommandFailed: it is none of these.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        message = f"{option} {text} is no length of time."
        raise CommandFailed(message, fix=f"Write it as {option} 90d, 12h, 30min or 45s.", code=ExitCode.USAGE)
    try:
        return timedelta(seconds=float(match[1]) * _UNIT_SECONDS[match[2]])
    except OverflowError as error:
        raise _too_far(f"{option} {text}") from error


def parse_expiry(text: str, now: datetime, option: str = "--expires") -> str:
    """Read when something ends, and write it in UTC as the gateway takes it.

    A date means the end of that day, and a time without a zone is one, where the command runs.

    Args:
        text: a date, a time or a duration from now.
        now: the present moment, aware.
        option: what the text was given for.

    Raises:
        CommandFailed: it is none of these, or has passed.
    """
    try:
        if _DURATION.fullmatch(text.strip().lower()):
            end = now + parse_duration(text, option)
        else:
            moment = datetime.fromisoformat(text.strip())
            if not _HAS_TIME.search(text):
                moment = datetime.combine(moment.date(), time(23, 59, 59))
            end = moment.astimezone(UTC)
    except (OverflowError, OSError) as error:
        raise _too_far(f"{option} {text}") from error
    except ValueError as error:
        raise CommandFailed(
            f"{option} {text} is neither a date nor a length of time.",
            fix=f"Write it as {option} 2027-02-28, 2027-02-28T18:00 or 90d.",
            code=ExitCode.USAGE,
        ) from error
    if end <= now:
        fix = f"Name a moment to come, such as {option} 90d."
        raise CommandFailed(f"{option} {text} has passed already.", fix=fix, code=ExitCode.USAGE)
    return end.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _too_far(said: str) -> CommandFailed:
    return CommandFailed(f"{said} is beyond the calendar.", fix="Leave it out for no end.", code=ExitCode.USAGE)
