"""Does init write what was chosen, keep what was there, and never tell a key?"""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from app.cli import init as module
from app.cli.exits import CommandFailed
from app.cli.local_engines import LocalEngine
from app.cli.networks import LocalNetwork

ENGINE = LocalEngine("http://127.0.0.1:11434", "Ollama", ("llama3.2",))


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> list[LocalEngine]:
    """A machine on one real network and one of containers; no engine runs until a test adds one."""
    engines: list[LocalEngine] = []
    networks = [LocalNetwork("192.168.1.0/24", "eth0"), LocalNetwork("172.17.0.0/16", "docker0")]
    monkeypatch.setattr(module, "find_local_engines", lambda **_options: list(engines))
    monkeypatch.setattr(module, "find_private_networks", lambda: networks)
    return engines


def env_file() -> dict[str, str]:
    lines = Path(".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_yes_takes_the_defaults(run) -> None:
    result = run("init", "--yes")
    assert result.exit_code == 0, result.stderr
    assert env_file() == {"HOST": "127.0.0.1", "PORT": "8000", "ALLOWED_SERVER_NETWORKS": "192.168.1.0/24"}
    key = Path("data/admin.key")
    assert key.read_text().strip() not in result.output
    assert str(key.absolute()) in result.stdout
    assert "multiverse serve" in result.stdout
    if sys.platform != "win32":
        assert {stat.S_IMODE(path.stat().st_mode) for path in (key, Path(".env"))} == {0o600}


def test_a_running_engine_opens_this_machine_and_is_told_how_to_add(run, machine: list[LocalEngine]) -> None:
    machine.append(ENGINE)
    result = run("init", "--yes")
    assert env_file()["ALLOWED_SERVER_NETWORKS"] == "127.0.0.0/8,::1/128,192.168.1.0/24"
    assert "multiverse servers add http://127.0.0.1:11434\n" in result.stdout


def test_networks_may_be_named(run) -> None:
    assert run("init", "--yes", "--allow", "10.1.2.3/8", "--allow", "fd00::/8", "--port", "9000").exit_code == 0
    assert env_file() == {"HOST": "127.0.0.1", "PORT": "9000", "ALLOWED_SERVER_NETWORKS": "10.0.0.0/8,fd00::/8"}


def test_a_wrong_network_is_wrong_usage(run) -> None:
    result = run("init", "--yes", "--allow", "my-network")
    assert result.exit_code == 2
    assert not Path(".env").exists()


def test_a_file_that_exists_is_kept_without_force(run) -> None:
    Path(".env").write_text("LOG_LEVEL=DEBUG\nPORT=8000\n")
    result = run("init", "--yes", "--port", "9000")
    assert result.exit_code == 1
    assert "~ PORT: 8000 -> 9000" in result.stderr
    assert "--force" in result.stderr
    assert Path(".env").read_text() == "LOG_LEVEL=DEBUG\nPORT=8000\n"
    assert not Path("data").exists()


def test_force_changes_its_lines_and_keeps_the_others(run) -> None:
    Path(".env").write_text("LOG_LEVEL=DEBUG\nALLOWED_SERVER_NETWORKS=10.0.0.0/8\n")
    assert run("init", "--yes", "--port", "9000", "--force").exit_code == 0
    own = {"LOG_LEVEL": "DEBUG", "ALLOWED_SERVER_NETWORKS": "10.0.0.0/8"}
    assert env_file() == {**own, "HOST": "127.0.0.1", "PORT": "9000"}


def test_a_second_time_changes_nothing(run) -> None:
    run("init", "--yes")
    before = Path(".env").read_text(), Path("data/admin.key").read_text()
    result = run("init", "--yes")
    assert result.exit_code == 0
    assert "says all that already" in result.stdout
    assert (Path(".env").read_text(), Path("data/admin.key").read_text()) == before


def test_json_tells_what_was_done_but_no_key(run, machine: list[LocalEngine]) -> None:
    machine.append(ENGINE)
    result = run("init", "--yes", "--json")
    told = json.loads(result.stdout)
    assert told["settings"]["PORT"] == "8000"
    assert told["engines"] == [{"url": ENGINE.url, "engine": "Ollama", "models": ["llama3.2"]}]
    assert Path(told["admin_key_file"]).read_text().strip() not in result.output


def test_without_a_terminal_it_must_be_told_not_to_ask(run) -> None:
    result = run("init")
    assert result.exit_code == 2
    assert "--yes" in result.stderr


@pytest.mark.parametrize(
    ("answers", "networks"), [("\n\n\n", "192.168.1.0/24"), ("\n\nn\n", ""), ("0.0.0.0\n9000\ny\n", "192.168.1.0/24")]
)
def test_a_person_is_asked_once_for_all_networks(run, monkeypatch, answers: str, networks: str) -> None:
    monkeypatch.setattr(module, "is_interactive", lambda: True)
    result = run("init", stdin=answers)
    assert result.exit_code == 0, result.stderr
    assert env_file()["ALLOWED_SERVER_NETWORKS"] == networks
    assert env_file()["PORT"] == ("9000" if "9000" in answers else "8000")
    assert result.stderr.count("Allow servers on these networks?") == 1


def test_a_key_in_the_settings_is_used(run) -> None:
    result = run("init", "--yes", ADMIN_API_KEY="an-operators-own-key")
    assert "ADMIN_API_KEY" in result.stdout
    assert "an-operators-own-key" not in result.output
    assert not Path("data/admin.key").exists()


def test_an_unusable_key_file_is_told(run) -> None:
    Path("data").mkdir()
    Path("data/admin.key").write_text("short")
    result = run("init", "--yes")
    assert result.exit_code == 1
    assert "admin.key" in result.stderr


def test_parse_network_is_canonical() -> None:
    assert module.parse_network(" 10.1.2.3 ") == "10.1.2.3/32"
    with pytest.raises(CommandFailed):
        module.parse_network("10.0.0.0/99")
