"""Are model servers that can't start told of, and is none left behind?"""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from app.demo import children as module
from app.demo.children import ModelServer, ModelServerFailed, start_model_servers, stop_all


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_without_its_model_says_why_it_ended(tmp_path: Path) -> None:
    servers = start_model_servers(1, tmp_path / "absent.gguf", "absent", tmp_path)
    try:
        with pytest.raises(ModelServerFailed, match=rf"process {servers[0].pid}\) ended with code") as caught:
            servers[0].wait_ready(50)
        assert "The end of its log:\n" in str(caught.value)
        assert servers[0].log_file.read_text().strip()
    finally:
        stop_all(servers)


def test_one_that_takes_too_long_is_told_of_and_ended(tmp_path: Path) -> None:
    servers = start_model_servers(2, tmp_path / "absent.gguf", "absent", tmp_path)
    with pytest.raises(ModelServerFailed, match="was not ready within 0 s"):
        servers[0].wait_ready(0)
    stop_all(servers)
    assert not any(is_running(server.pid) for server in servers)


def test_an_end_that_was_asked_for_is_no_news(tmp_path: Path) -> None:
    ended: list[ModelServer] = []
    silence, news = start_model_servers(2, tmp_path / "absent.gguf", "absent", tmp_path)
    heard = threading.Event()
    silence.ask_to_stop()
    silence.watch(ended.append)
    silence.wait_stopped(20)
    news.watch(lambda server: (ended.append(server), heard.set()))
    assert heard.wait(50)
    stop_all([silence, news])
    assert ended == [news]


def test_one_that_was_killed_is_no_longer_running_and_its_end_is_news(tmp_path: Path) -> None:
    (server,) = start_model_servers(1, tmp_path / "absent.gguf", "absent", tmp_path)
    heard = threading.Event()
    server.watch(lambda _server: heard.set())
    assert server.is_running
    server.kill()
    assert heard.wait(50)
    assert not server.is_running
    successor = server.successor()
    assert successor.pid != server.pid
    assert successor.log_file == server.log_file
    stop_all([server, successor])
    assert not successor.is_running


def test_the_reason_is_told_also_where_the_log_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (server,) = start_model_servers(1, tmp_path / "absent.gguf", "absent", folder)
    shutil.rmtree(folder)
    with pytest.raises(ModelServerFailed, match="Its log can't be read"):
        server.wait_ready(50)
    stop_all([server])


def test_when_one_cannot_be_started_the_others_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[ModelServer] = []

    def start(*arguments: object) -> ModelServer:
        if begun:
            raise OSError(24, "Too many open files")
        begun.append(ModelServer(*arguments))
        return begun[0]

    monkeypatch.setattr(module, "ModelServer", start)
    with pytest.raises(OSError, match="Too many"):
        start_model_servers(2, tmp_path / "absent.gguf", "absent", tmp_path)
    assert not is_running(begun[0].pid)
