"""Is every command there, with help, and does each way of ending have its code?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from app import __version__
from app.cli import main
from app.cli.exits import CommandFailed, ExitCode, Interrupted, Stopped
from app.cli.root import CommandGroup

COMMANDS = ["init", "serve", "demo", "servers", "doctor", "backup", "restore"]
SERVER_COMMANDS = ["list", "show", "add", "remove", "check", "pause", "resume", "drain"]
ROOT = Path(__file__).resolve().parents[3]


def test_version(run) -> None:
    assert run("--version").stdout == f"multiverse {__version__}\n"


def test_help_names_every_command(run) -> None:
    listed = run("--help").stdout
    assert all(f"\n  {command} " in listed for command in COMMANDS)
    listed = run("servers", "--help").stdout
    assert all(f"\n  {command} " in listed for command in SERVER_COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["servers"]])
def test_no_line_of_a_list_of_commands_is_cut(run, arguments: list[str]) -> None:
    listed = run(*arguments, "--help", COLUMNS="80", TERMINAL_WIDTH="80").stdout.partition("Commands:")[2]
    assert listed
    assert "..." not in listed


@pytest.mark.parametrize(
    ("command", "example"),
    [
        (["servers", "add"], "--model llama-3-8b=meta-llama/Llama-3.1-8B-Instruct"),
        (["servers", "add"], "--api-key-env VLLM_KEY --max-concurrency 8"),
        (["init"], "multiverse init --yes --allow 10.0.0.0/8 --allow 192.168.1.0/24"),
    ],
)
def test_examples_can_be_copied(run, command: list[str], example: str) -> None:
    lines = run(*command, "--help", COLUMNS="60", TERMINAL_WIDTH="60").stdout.splitlines()
    assert any(line.endswith(example) for line in lines)


@pytest.mark.parametrize("command", [[name] for name in COMMANDS] + [["servers", name] for name in SERVER_COMMANDS])
def test_help_of_a_command_has_examples_and_exit_codes(run, command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Exit codes: 0 done" in result.stdout
    if command != ["servers"]:
        assert "Example" in result.stdout
        assert f"multiverse {' '.join(command)}" in result.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["serve", "--port", "x"], ["servers", "add"], []])
def test_wrong_usage_ends_with_two(run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_bad_settings_end_with_two_and_say_which(run) -> None:
    result = run("serve", PORT="0", MAX_ATTEMPTS="many")
    assert result.exit_code == 2
    assert "PORT='0'" in result.stderr
    assert "MAX_ATTEMPTS='many'" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (CommandFailed("x"), 1),
        (PermissionError(13, "Permission denied", "some/file"), 1),
        (typer.Abort(), 130),
        (CommandFailed("x", code=ExitCode.UNREACHABLE), 3),
        (Stopped(), 0),
        (Interrupted(), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_end_has_its_code(raised: BaseException, code: int) -> None:
    app = typer.Typer(cls=CommandGroup)

    @app.command()
    def end() -> None:
        raise raised

    app.callback()(lambda: None)
    result = CliRunner().invoke(app, ["end"])
    assert result.exit_code == code
    assert "Traceback" not in result.output


def test_messages_are_not_taken_for_markup() -> None:
    app = typer.Typer(cls=CommandGroup)

    @app.command()
    def end() -> None:
        raise CommandFailed("a list[str] and [bold]words[/bold]", fix="write [x]")

    app.callback()(lambda: None)
    result = CliRunner().invoke(app, ["end"])
    assert result.stderr == "Error: a list[str] and [bold]words[/bold]\nFix:   write [x]\n"


def test_ctrl_c_while_the_commands_are_loaded_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.cli.root.run", interrupted)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == ExitCode.INTERRUPTED


@pytest.mark.parametrize("module", ["app", "app.cli"])
def test_it_runs_as_a_module(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout.decode().strip() == f"multiverse {__version__}"
    assert done.stderr == b""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent in another way there")
def test_ctrl_c_ends_without_a_traceback(gateway, tmp_path: Path) -> None:
    """A command that waits for a gateway which has stopped answering."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GATEWAY_URL": gateway.url, "GATEWAY_KEY": gateway.key}

    def interrupt_the_one_who_asks(*_arguments: object) -> tuple[int, object]:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        return 200, {}

    gateway.answer = interrupt_the_one_who_asks
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "servers", "list"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (stdout, stderr.strip()) == ("", "")
