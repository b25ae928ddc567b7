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


def test_a_model_server_on_our_port_keeps_it(run, machine: list[LocalEngine]) -> None:
    machine.append(LocalEngine("http://127.0.0.1:8000", "vLLM", ("llama",)))
    result = run("init", "--yes")
    assert result.exit_code == 0, result.stderr
    port = int(env_file()["PORT"])
    assert 8000 < port <= 8100
    assert f"vLLM listens on port 8000 already, so the gateway gets {port}" in result.stderr
    assert "multiverse servers add http://127.0.0.1:8000\n" in result.stdout
    assert "says all that already" in run("init", "--yes").stdout


def test_a_port_that_was_named_is_taken_as_it_is(run, machine: list[LocalEngine]) -> None:
    machine.append(LocalEngine("http://127.0.0.1:8000", "vLLM", ("llama",)))
    assert run("init", "--yes", "--port", "8000").exit_code == 0
    assert env_file()["PORT"] == "8000"


def test_networks_may_be_named(run) -> None:
    assert run("init", "--yes", "--allow", "10.1.2.3/8", "--allow", "fd00::/8", "--port", "9000").exit_code == 0
    assert env_file() == {"HOST": "127.0.0.1", "PORT": "9000", "ALLOWED_SERVER_NETWORKS": "10.0.0.0/8,fd00::/8"}


def test_a_wrong_network_is_wrong_usage(run) -> None:
    result = run("init", "--yes", "--allow", "my-network")
    assert result.exit_code == 2
    assert not Path(".env").exists()


def test_a_wrong_host_is_wrong_usage(run) -> None:
    result = run("init", "--yes", "--host", "not a host")
    assert result.exit_code == 2
    assert "must be an IP address or a host name" in result.stderr
    assert not Path(".env").exists()


def test_wrong_answers_are_asked_for_again(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_interactive", lambda: True)
    result = run("init", stdin="not a host\nlocalhost\n70000\nmany\n9000\n\n")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("The port must be 1 to 65535.") == 2
    assert result.stderr.count("The address must be") == 1
    assert (env_file()["HOST"], env_file()["PORT"]) == ("localhost", "9000")


def test_an_end_of_input_at_a_question_is_an_interruption(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_interactive", lambda: True)
    assert run("init", stdin="").exit_code == 130
    assert not Path(".env").exists()


@pytest.mark.parametrize(("answer", "port"), [("y", "9000"), ("n", "8000"), ("", "8000")])
def test_a_person_may_agree_to_change_a_file(run, monkeypatch: pytest.MonkeyPatch, answer: str, port: str) -> None:
    Path(".env").write_text("LOG_LEVEL=DEBUG\nPORT=8000\n")
    monkeypatch.setattr(module, "is_interactive", lambda: True)
    result = run("init", stdin=f"\n9000\n\n{answer}\n")
    assert "~ PORT: 8000 -> 9000" in result.stderr
    assert "Write them? [y/N]" in result.stderr
    assert env_file()["PORT"] == port
    assert env_file()["LOG_LEVEL"] == "DEBUG"
    assert result.exit_code == (0 if answer == "y" else 1)


def test_allow_adds_to_what_is_there(run) -> None:
    Path(".env").write_text("ALLOWED_SERVER_NETWORKS=10.0.0.0/8\n")
    result = run("init", "--yes", "--allow", "fd00::/8", "--allow", "10.0.0.0/8", "--force")
    assert result.exit_code == 0, result.stderr
    assert env_file()["ALLOWED_SERVER_NETWORKS"] == "10.0.0.0/8,fd00::/8"


def test_force_repairs_a_wrong_line_of_its_own(run) -> None:
    Path(".env").write_text("PORT=0\nALLOWED_SERVER_NETWORKS=nowhere\n")
    assert run("init", "--yes").exit_code == 2
    result = run("init", "--yes", "--force")
    assert result.exit_code == 0, result.stderr
    assert (env_file()["PORT"], env_file()["ALLOWED_SERVER_NETWORKS"]) == ("8000", "192.168.1.0/24")


def test_force_repairs_no_line_of_others(run) -> None:
    Path(".env").write_text("PORT=0\nLOG_LEVEL=loud\n")
    result = run("init", "--yes", "--force")
    assert result.exit_code == 2
    assert "LOG_LEVEL='loud'" in result.stderr
    assert run("init", "--yes", "--force", PORT="0", LOG_LEVEL="INFO").exit_code == 2
    assert Path(".env").read_text() == "PORT=0\nLOG_LEVEL=loud\n"


def test_a_folder_in_the_files_place_is_told(run) -> None:
    Path(".env").mkdir()
    result = run("init", "--yes")
    assert result.exit_code == 1
    assert f"{Path('.env').absolute()} is a folder." in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="making a link takes a privilege there")
def test_a_file_that_cannot_be_read_is_told(run) -> None:
    Path(".env").symlink_to(".env")
    result = run("init", "--yes")
    assert result.exit_code == 1
    assert f"{Path('.env').absolute()} can't be read: " in result.stderr
    assert "Give this user access" in result.stderr


def test_a_key_that_cannot_be_made_is_told(run) -> None:
    Path("data").write_text("a file")
    result = run("init", "--yes")
    assert result.exit_code == 1
    assert "data/admin.key cannot be used (Not a directory)" in result.stderr


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
