"""Where does the value of each setting come from?"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from app.utils.config import Settings, load_settings
from app.utils.setting_sources import Source, Standing, setting_states

LONG_AGO = -1000.0
"""So many seconds from now the file was written: before the gateway of the test started."""


def write_env(folder: Path, text: str, *, age_seconds: float = LONG_AGO) -> None:
    path = folder / ".env"
    path.write_text(text, encoding="utf-8")
    moment = time.time() + age_seconds
    os.utime(path, (moment, moment))


def found(settings: Settings, **options: bool) -> Standing:
    return setting_states(settings, time.time() - 100, **options)


def test_each_source_is_told(empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_env(empty_directory, "PORT=9000\nLOG_LEVEL=DEBUG\nMAX_ATTEMPTS=\nhost=0.0.0.0\n")
    monkeypatch.setenv("log_level", "ERROR")
    monkeypatch.setenv("METRICS_KEY", "a-key-for-metrics-0123")
    monkeypatch.setenv("MAX_CONTINUATIONS", "")
    standing = found(load_settings(queue_max_size=7))
    source = {name: state.source for name, state in standing.states.items()}
    assert source["port"] is source["host"] is Source.ENV_FILE
    assert source["log_level"] is source["metrics_key"] is Source.ENVIRONMENT
    assert source["max_attempts"] is source["max_continuations"] is source["log_file"] is Source.DEFAULT
    assert source["queue_max_size"] is Source.START
    assert set(source) == set(Settings.model_fields)
    assert standing.problems == ()
    assert not any(state.will_change for state in standing.states.values())


def test_what_was_edited_since_waits_for_a_restart(empty_directory: Path) -> None:
    write_env(empty_directory, "PORT=9000\nMAX_ATTEMPTS=5\n")
    settings = load_settings()
    write_env(empty_directory, "PORT=9001\nQUEUE_MAX_SIZE=9\n", age_seconds=0)
    states = found(settings).states
    assert (states["port"].source, states["port"].will_change, states["port"].next_value) == (Source.START, True, 9001)
    assert (states["queue_max_size"].source, states["queue_max_size"].next_value) == (Source.DEFAULT, 9)
    assert (states["max_attempts"].source, states["max_attempts"].next_value) == (Source.START, 3)
    assert sum(state.will_change for state in states.values()) == 3


def test_an_option_wins_over_both_and_waits_for_nothing(empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_env(empty_directory, "PORT=9000\n")
    monkeypatch.setenv("HOST", "::1")
    states = found(load_settings(port=9100, host="127.0.0.2")).states
    for name in ("port", "host"):
        assert (states[name].source, states[name].will_change) == (Source.START, False)


def test_what_a_restart_would_stumble_over_is_told(empty_directory: Path) -> None:
    write_env(empty_directory, "PORT=9000\n")
    settings = load_settings()
    write_env(empty_directory, "PORT=many\n", age_seconds=0)
    standing = found(settings)
    assert standing.problems == ("PORT='many': must be a whole number of at least 1 and at most 65535",)
    assert standing.states["port"].source is Source.ENV_FILE


@pytest.mark.parametrize("content", [b"\xff\xfe", b"no assignment\n"])
def test_a_file_that_can_not_be_read_is_told(empty_directory: Path, content: bytes) -> None:
    settings = load_settings()
    (empty_directory / ".env").write_bytes(content)
    standing = found(settings)
    assert standing.problems
    assert standing.states["port"].source is Source.DEFAULT


def test_a_command_that_minds_neither_is_believed(empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    everything = {name: field.default for name, field in Settings.model_fields.items()}
    settings = load_settings(**{**everything, "port": 9000, "admin_api_key": "a-key-of-the-demo-0123"})
    states = found(settings, reads_nothing=True).states
    assert states["port"].source is states["admin_api_key"].source is Source.START
    assert states["log_level"].source is Source.DEFAULT
