"""Which commands are there, and what does the process end with?"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from app import __version__
from app.cli.aliases import aliases_app
from app.cli.audit import AUDIT_EPILOG, audit
from app.cli.backup import BACKUP_EPILOG, RESTORE_EPILOG, backup, restore
from app.cli.console import print_error, print_verbatim
from app.cli.demo import DEMO_EPILOG, demo
from app.cli.doctor import DOCTOR_EPILOG, doctor
from app.cli.exits import EXIT_CODES_HELP, CommandFailed, ExitCode, Interrupted, Stopped
from app.cli.groups import groups_app
from app.cli.init import INIT_EPILOG, init
from app.cli.keys import keys_app
from app.cli.limits import limits_app
from app.cli.models import models_app
from app.cli.serve import SERVE_EPILOG, serve
from app.cli.servers import servers_app
from app.cli.usage import usage_app

__all__ = ["build", "run"]

COMMAND: str = "multiverse"


class CommandGroup(TyperGroup):
    """Ends a command that failed with its message on stderr and its exit code, never with a traceback."""

    def invoke(self, ctx: Any) -> object:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except CommandFailed as failure:
            print_error(failure)
            raise typer.Exit(failure.code) from failure
        except BrokenPipeError:
            raise  # Whoever read our output has gone; typer ends in silence then.
        except OSError as error:  # The last resort: commands say themselves what each of theirs means.
            where = f" ({error.filename})" if error.filename else ""
            print_error(CommandFailed(f"The system refused: {error.strerror or error}{where}."))
            raise typer.Exit(ExitCode.FAILED) from error
        except Stopped as stopped:
            raise typer.Exit(ExitCode.OK) from stopped
        except typer.Abort as abort:  # Ctrl-C, or the end of the input, at a question
            sys.stderr.write("\n")
            raise typer.Exit(ExitCode.INTERRUPTED) from abort
        except KeyboardInterrupt as interrupt:
            if not isinstance(interrupt, Interrupted):
                sys.stderr.write("\n")
            raise typer.Exit(ExitCode.INTERRUPTED) from interrupt


def build() -> typer.Typer:
    """Put all commands together."""
    app = typer.Typer(
        name=COMMAND,
        cls=CommandGroup,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="One OpenAI-compatible endpoint over many model servers. New here? Try: multiverse demo",
        epilog=EXIT_CODES_HELP,
    )
    app.callback()(_options)
    app.command("init", epilog=INIT_EPILOG)(init)
    app.command("serve", epilog=SERVE_EPILOG, short_help="Run the gateway in this folder.")(serve)
    app.command(
        "demo", epilog=DEMO_EPILOG, short_help="Run a gateway with real model servers, and show how to use it."
    )(demo)
    app.add_typer(servers_app, name="servers")
    app.add_typer(models_app, name="models")
    app.add_typer(aliases_app, name="aliases")
    app.add_typer(keys_app, name="keys")
    app.add_typer(groups_app, name="groups")
    app.add_typer(limits_app, name="limits")
    app.add_typer(usage_app, name="usage")
    app.command("audit", epilog=AUDIT_EPILOG, short_help="Show who changed what.")(audit)
    app.command("doctor", epilog=DOCTOR_EPILOG, short_help="Check everything, and say what to do about what is wrong.")(
        doctor
    )
    app.command("backup", epilog=BACKUP_EPILOG, short_help="Save database and keys into one private archive.")(backup)
    app.command("restore", epilog=RESTORE_EPILOG)(restore)
    return app


def run() -> None:
    """Run the command line; ends the process."""
    build()(prog_name=COMMAND)


def _show_version(wanted: bool) -> None:
    if wanted:
        print_verbatim(f"multiverse {__version__}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Options of every command."""
    del version
