"""What does ``multiverse init`` have to know, and is each answer one that the gateway could start with?

Answers are checked by the settings' own rules before anything is written: a wrong one is asked for again.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import typer

from app.cli.connection import settings_or_usage_error
from app.cli.exits import CommandFailed, ExitCode
from app.utils.config import Settings, SettingsInvalid, load_settings

if TYPE_CHECKING:
    from app.cli.local_engines import LocalEngine

__all__ = ["Answers", "ask", "check_option", "parse_network", "present_settings"]

_WORDS: Final = {
    "host": "The address must be an IP address or a host name, such as 127.0.0.1, 0.0.0.0 or localhost.",
    "port": "The port must be 1 to 65535.",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What was chosen."""

    host: str
    port: int
    networks: tuple[str, ...]

    def as_settings(self) -> dict[str, str]:
        """The lines of ``.env``."""
        return {"HOST": self.host, "PORT": str(self.port), "ALLOWED_SERVER_NETWORKS": ",".join(self.networks)}


def present_settings(*, replacing: bool) -> Settings:
    """The settings as they are. When ``replacing``, wrong values in ``.env`` of lines to be written count as unset.

    Raises:
        CommandFailed: a setting is wrong that would still be wrong afterwards.
    """
    try:
        return load_settings()
    except SettingsInvalid as error:
        wrong = {problem.name for problem in error.problems}
        in_environment = {name.upper() for name in os.environ}
        if not replacing or wrong & in_environment or not wrong <= set(Answers("", 0, ()).as_settings()):
            raise CommandFailed(str(error), code=ExitCode.USAGE) from error
    return settings_or_usage_error(**{name.lower(): Settings.model_fields[name.lower()].default for name in wrong})


def check_option(name: str, value: str) -> None:
    """Refuse an option that the gateway could not start with.

    Raises:
        CommandFailed: what it must be, in words.
    """
    words = _what_is_wrong(name, value)
    if words:
        raise CommandFailed(f"--{name} {value}: {words}", code=ExitCode.USAGE)


def ask(default: Answers, engines: list[LocalEngine], *, may_ask_networks: bool) -> Answers:
    """Three questions at most, each with a default, each asked again until its answer can be used."""
    for engine in engines:
        typer.echo(f"Found {engine.describe()}", err=True)
    host = _ask_for("host", "Listen on (0.0.0.0 lets other machines in)", default.host)
    port = _ask_for("port", "Port", str(default.port))
    networks = default.networks
    if may_ask_networks and networks:
        typer.echo(f"Servers may be registered on public addresses, and on: {', '.join(networks)}", err=True)
        if not typer.confirm("Allow servers on these networks?", default=True, err=True):
            networks = ()
    return Answers(host, int(port), networks)


def parse_network(text: str) -> str:
    """A CIDR in its canonical form.

    Raises:
        CommandFailed: it is none.
    """
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError as error:
        message = f"--allow {text} is not a network."
        raise CommandFailed(message, fix="Write it as 10.0.0.0/8 or fd00::/8.", code=ExitCode.USAGE) from error


def _ask_for(name: str, question: str, default: str) -> str:
    while True:
        answer = str(typer.prompt(question, default=default, err=True)).strip()
        words = _what_is_wrong(name, answer)
        if not words:
            return answer
        typer.echo(words, err=True)


def _what_is_wrong(name: str, value: str) -> str:
    """The words for a value that the setting ``name`` refuses; empty where it takes it."""
    try:
        load_settings(**{name: value})
    except SettingsInvalid as error:
        if any(problem.name == name.upper() for problem in error.problems):
            return _WORDS[name]
    return ""
