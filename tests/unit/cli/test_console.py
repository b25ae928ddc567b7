"""Is progress apart from results, and is everything plain where there is no terminal?"""

from __future__ import annotations

import json

import pytest

from app.cli.console import Steps, byte_progress, confirm, print_json, print_verbatim, stdout_console
from app.cli.exits import CommandFailed, ExitCode


def test_steps_are_plain_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps()
    with steps.step("Doing [this]"):
        steps.say("said")
    output = capsys.readouterr()
    assert output.err == "Doing [this] ...\nsaid\n"
    assert output.out == ""


def test_progress_is_one_plain_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with byte_progress("Packing", 2048) as advance:
        advance(1024)
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "Packing (2,048 bytes) ...\n")


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "größe", "list": [1, None]})
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    assert json.loads(output) == {"name": "größe", "list": [1, None]}


def test_long_lines_are_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    print_verbatim("word " * 100)
    assert capsys.readouterr().out == "word " * 100 + "\n"


def test_no_colours_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    stdout_console().print("[bold red]text[/bold red]")
    assert capsys.readouterr().out == "text\n"


def test_nobody_is_asked_without_a_terminal() -> None:
    with pytest.raises(CommandFailed) as caught:
        confirm("Sure?", unasked="--force")
    assert caught.value.code is ExitCode.USAGE
    assert "--force" in caught.value.fix


@pytest.mark.parametrize("answer", [True, False])
def test_a_person_decides(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    monkeypatch.setattr("app.cli.console.is_interactive", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_words, **_options: answer)
    if answer:
        confirm("Sure?")
    else:
        with pytest.raises(CommandFailed, match="Nothing was changed"):
            confirm("Sure?")
