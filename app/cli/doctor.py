"""``multiverse doctor``: is everything in order here, and if not, what is to be done?"""

from __future__ import annotations

import re
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from app.cli.connection import find_address, local_url, settings_or_usage_error
from app.cli.console import print_json, stdout_console
from app.cli.doctor_checks import (
    Finding,
    Level,
    check_database,
    check_log,
    check_open_files,
    check_settings,
    lock_state,
    worst,
)
from app.cli.doctor_keys import check_keys
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode
from app.cli.gateway_client import GatewayClient
from app.cli.listener import bind_listeners, close_all
from app.cli.plain_words import connection_words
from app.cli.server_reference import fetch_servers
from app.cli.server_table import holds_of, short_id

if TYPE_CHECKING:
    from collections.abc import Collection

    from app.utils.config import Settings

__all__ = ["doctor"]

_OPENING: Final = re.compile(r"ALLOWED_SERVER_NETWORKS=([0-9a-fA-F.:/]+)")
CHECK_TIMEOUT_SECONDS: Final = 10.0
_STYLES: Final = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}

DOCTOR_EPILOG = f"""Examples:

  multiverse doctor

  multiverse doctor --json

{EXIT_CODES_HELP} Here 1 means that a line says fail; warnings leave it at 0."""


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False) -> None:
    """Check this folder's settings, database, keys, log, port, its running gateway and each server; changes nothing.

    It judges the gateway of this folder on this machine, whatever GATEWAY_URL says.
    """
    findings = examine()
    if as_json:
        told = {"status": worst(findings), "summary": summary(findings)}
        print_json({**told, "findings": [asdict(finding) for finding in findings]})
    else:
        show(findings)
    if worst(findings) is Level.FAIL:
        raise typer.Exit(ExitCode.FAILED)


def examine() -> list[Finding]:
    """All checks; settings that are wrong are the only finding then, for everything else depends on them."""
    try:
        settings = settings_or_usage_error()
    except CommandFailed as failure:
        return [Finding("settings", Level.FAIL, failure.message, "Correct these in .env or in the environment.")]
    findings = [*check_settings(settings), *check_database(settings), *check_keys(settings)]
    findings += [*check_log(settings), *check_open_files()]
    return [*findings, *check_gateway(settings)]


def check_gateway(settings: Settings) -> list[Finding]:
    """Does a gateway run here, is it well, and how are its servers? If none runs: could it be started?"""
    url = local_url(settings)
    try:
        with GatewayClient(find_address(url, None), timeout_seconds=CHECK_TIMEOUT_SECONDS) as client:
            return _check_running(settings, client, url)
    except CommandFailed as failure:
        if failure.code is not ExitCode.UNREACHABLE:
            return [Finding("gateway", Level.FAIL, failure.message, failure.fix)]
        return _check_absent(settings, url, failure)


def _check_running(settings: Settings, client: GatewayClient, url: str) -> list[Finding]:
    health = client.request("GET", "/health")
    if not isinstance(health, dict) or "database" not in health:
        return [Finding("port", Level.FAIL, f"another program answers at {url}", "Stop it, or set another PORT.")]
    if lock_state(settings) is False:
        detail = f"another gateway, not this folder's, answers at {url}"
        return [Finding("port", Level.FAIL, detail, "Set another PORT, or run this command in that gateway's folder.")]
    findings = [Finding("gateway", Level.OK, f"version {health.get('version')} answers at {url}")]
    try:
        servers = fetch_servers(client)
    except CommandFailed as failure:
        return [*findings, Finding("servers", Level.FAIL, failure.message, failure.fix)]
    if not servers:
        advice = "multiverse servers add http://HOST:PORT"
        return [*findings, Finding("servers", Level.WARN, "none is registered yet", advice)]
    return [*findings, *(judge_server(server) for server in servers)]


def _check_absent(settings: Settings, url: str, failure: CommandFailed) -> list[Finding]:
    if lock_state(settings):
        words = connection_words(failure.__cause__) if failure.__cause__ else failure.message
        detail = f"one runs on {settings.database_path}, but not at {url}: {words}"
        return [Finding("gateway", Level.FAIL, detail, "Start it and this command with the same HOST and PORT.")]
    try:
        close_all(bind_listeners(settings.host, settings.port))
    except CommandFailed as taken:
        return [Finding("port", Level.FAIL, taken.message, taken.fix)]
    except socket.gaierror:
        detail = f"HOST={settings.host} is a name that does not resolve"
        return [Finding("port", Level.FAIL, detail, "Set HOST=127.0.0.1.")]
    port = Finding("port", Level.OK, f"{settings.port} on {settings.host} is free")
    return [port, Finding("gateway", Level.WARN, "none is running here", "Start it: multiverse serve")]


def judge_server(server: dict[str, Any]) -> Finding:
    """One line on a registered server: a hold that someone set is no fault, a server that can't answer is."""
    name = f"server {short_id(server)}"
    where = str(server.get("endpoint_url"))
    holds = holds_of(server)
    health = str(server.get("health_status"))
    reason = str(server.get("reason") or "")
    if holds:
        advice = _advice_on_holds(holds, short_id(server))
        return Finding(name, Level.WARN, f"{where} is {', '.join(holds)}: {reason or 'no reason given'}", advice)
    if health == "healthy":
        return Finding(name, Level.WARN if reason else Level.OK, f"{where} is healthy{': ' if reason else ''}{reason}")
    advice = _address_advice(reason) or f"See to it there, then: multiverse servers check {short_id(server)}"
    level = Level.FAIL if health == "unhealthy" else Level.WARN
    return Finding(name, level, f"{where} is {health}: {reason or 'not checked yet'}", advice)


def _address_advice(reason: str) -> str:
    """What to do where this gateway's own rules forbid the server's address; empty for any other reason."""
    opening = _OPENING.search(reason)
    if opening is not None:
        return f"Add {opening[1]}, or the network that holds it, to ALLOWED_SERVER_NETWORKS, and restart the gateway."
    if "no setting opens it" in reason or "this gateway itself" in reason:
        return "Register the server by an address that other machines reach it by."
    return ""


def summary(findings: list[Finding]) -> str:
    """``1 failure, 2 warnings``, or that there is none."""
    counts = [
        (sum(finding.level is level for finding in findings), noun)
        for level, noun in ((Level.FAIL, "failure"), (Level.WARN, "warning"))
    ]
    return ", ".join(f"{count} {noun}{'s' if count > 1 else ''}" for count, noun in counts if count) or "All well"


def show(findings: list[Finding]) -> None:
    """One line each, with what to do below it."""
    console = stdout_console()
    for finding in findings:
        line = Text.assemble(
            (f"{finding.level:<5}", _STYLES[finding.level]), (finding.name, "bold"), f": {finding.detail}"
        )
        console.print(line, soft_wrap=True)
        if finding.fix and finding.level is not Level.OK:
            console.print(f"      -> {finding.fix}", markup=False, soft_wrap=True)
    console.print(summary(findings), style=_STYLES[worst(findings)], soft_wrap=True)


def _advice_on_holds(holds: Collection[str], server: str) -> str:
    """What to do about what keeps work away from a server: whose word it is decides that."""
    if "pending" in holds:
        return f"multiverse servers approve {server}"
    if set(holds) == {"off hours"}:
        return "Nothing to do: its owner lends it at other hours."
    if "blocked" in holds:
        return f"multiverse servers unblock {server} (with an admin key)"
    if "quarantined" in holds:
        return f"multiverse servers check {server}: a check that passes lets it out."
    return f"multiverse servers resume {server}"
