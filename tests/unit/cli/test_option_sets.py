"""Does a command take the options of a set as if they were its own?"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.testing import CliRunner

from app.cli.option_sets import taking

OPTIONS = {
    "count": Annotated[int | None, typer.Option(min=1, help="How many.")],
    "names": Annotated[list[str] | None, typer.Option("--name", help="Which.")],
    "loud": Annotated[bool | None, typer.Option(help="Whether loudly.")],
}


def invoke(*arguments: str) -> Any:
    taken: list[Any] = []
    app = typer.Typer()

    @app.command()
    @taking(OPTIONS, "chosen")
    def act(what: str, *, chosen: dict[str, Any], last: bool = False) -> None:
        """Do something."""
        taken.append((what, chosen, last))

    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})
    return taken[0] if taken else result


def test_what_was_given_is_gathered_and_nothing_else() -> None:
    assert invoke("x") == ("x", {}, False)
    said = invoke("x", "--count", "2", "--name", "a", "--name", "b", "--no-loud", "--last")
    assert said == ("x", {"count": 2, "names": ["a", "b"], "loud": False}, True)


def test_options_have_their_bounds_and_their_help() -> None:
    assert invoke("x", "--count", "0").exit_code == 2
    shown = invoke("--help").stdout
    assert "Do something." in shown
    assert all(word in shown for word in ("--count", "How many.", "--name", "--no-loud", "--last"))
    assert "chosen" not in shown
