"""``multiverse demo``: what is shown to someone who has nothing yet but this package?"""

from __future__ import annotations

import shlex
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from app.cli.console import Steps, is_interactive
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode, Interrupted
from app.cli.listener import bind_listeners, bind_next_free, close_all, port_of
from app.cli.local_engines import LocalEngine, find_local_engines
from app.demo.bundled import MissingPackages, find_bundled_model

if TYPE_CHECKING:
    import socket

__all__ = ["demo"]

HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8000

DEMO_EPILOG = f"""\b
Examples:
  multiverse demo
  multiverse demo --servers 3 --port 9000
  multiverse demo --no-engines --json

{EXIT_CODES_HELP}"""


PortOption = Annotated[
    int | None,
    typer.Option(
        metavar="PORT", min=0, max=65535, help="Port of the gateway; 0 takes any. Left out: 8000, or the next free one."
    ),
]
ServersOption = Annotated[int, typer.Option(metavar="COUNT", min=1, max=8, help="How many model servers to start.")]
EnginesOption = Annotated[
    bool | None,
    typer.Option("--engines/--no-engines", help="Use the engines that already run here, or don't; asks if left out."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one line of JSON when ready: base_url, key, model, servers.")
]
TimeoutOption = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=1, help="Seconds that each step of the start may take, the first answer too."),
]


def demo(
    *,
    port: PortOption = None,
    servers: ServersOption = 2,
    engines: EnginesOption = None,
    as_json: JsonOption = False,
    timeout: TimeoutOption = 180,
) -> None:
    """Run a gateway with real model servers behind it, and show how to use it. Nothing is left behind at the end."""
    steps = Steps()
    found = choose_engines(wanted=engines, steps=steps)
    model = None if found else find_bundled_model(shlex.quote(sys.executable))
    if isinstance(model, MissingPackages):
        raise _missing(model, find_local_engines())
    sockets = bind_port(port, steps)
    try:
        from app.cli.demo_run import DemoPlan, run_demo  # noqa: PLC0415 - the data plane is loaded only where it runs

        plan = DemoPlan(tuple(found), model, servers, timeout, as_json)
        ended_by = run_demo(plan, sockets, steps)
    finally:
        close_all(sockets)
    steps.say(f"\n{end_words(found)}")
    if ended_by == signal.SIGINT:
        raise Interrupted


def choose_engines(*, wanted: bool | None, steps: Steps) -> list[LocalEngine]:
    """The engines to use: none when not wanted, those found when wanted or agreed to.

    Raises:
        CommandFailed: engines were asked for and none answers.
    """
    if wanted is False:
        return []
    with steps.step("Looking for model servers on this machine"):
        found = find_local_engines()
    if not found:
        if wanted:
            raise CommandFailed(
                "No model server answers at the usual ports of this machine.",
                fix="Start one, such as `ollama serve`, or leave --engines out to use the bundled model.",
            )
        return []
    for engine in found:
        steps.say(f"Found {engine.describe()}")
    if wanted is None and not is_interactive():
        steps.say("They are left alone: use them with --engines. The bundled model is used.")
        return []
    if wanted or typer.confirm("Use them for the demo?", default=True, err=True):
        return found
    return []


def end_words(engines: list[LocalEngine]) -> str:
    """What is gone once the demo has ended, and what is still there: engines that ran before it are not ours to end."""
    if not engines:
        return "The demo has ended: gateway and model servers are gone, and so is their folder."
    kept = " ".join(f"Your {engine.engine} at {engine.url} was left as it was." for engine in engines)
    return f"The demo has ended: the gateway is gone, and so is its folder. {kept}"


def bind_port(port: int | None, steps: Steps) -> list[socket.socket]:
    """Bind the port asked for, or 8000 or the next free one."""
    if port is not None:
        return bind_listeners(HOST, port)
    sockets = bind_next_free(HOST, DEFAULT_PORT)
    if port_of(sockets) != DEFAULT_PORT:
        steps.say(f"Port {DEFAULT_PORT} is in use: the gateway takes {port_of(sockets)}.")
    return sockets


def _missing(missing: MissingPackages, engines: list[LocalEngine]) -> CommandFailed:
    fix = "Run this, then `multiverse demo` again:\n" + "\n".join(f"  {command}" for command in missing.commands)
    if engines:
        running = ", ".join(f"{engine.engine} at {engine.url}" for engine in engines)
        fix = f"`multiverse demo --engines` uses what runs here already: {running}.\nOr install the small model. {fix}"
    return CommandFailed(
        "The demo runs a small real language model, and what it needs is not installed.",
        fix=fix,
        code=ExitCode.FAILED,
    )
