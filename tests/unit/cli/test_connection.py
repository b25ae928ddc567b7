"""Are gateway and key found, and is this folder's key kept from other people's gateways?"""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.connection import find_address
from app.cli.exits import CommandFailed, ExitCode

OWN_KEY = "mvk_the-key-of-this-folder"


@pytest.fixture
def key_file(empty_directory: Path) -> Path:
    path = empty_directory / "data" / "admin.key"
    path.parent.mkdir()
    path.write_text(f"{OWN_KEY}\n")
    return path


@pytest.mark.usefixtures("key_file")
def test_without_anything_it_is_this_folders_gateway() -> None:
    address = find_address(None, None)
    assert (address.url, address.key) == ("http://127.0.0.1:8000", OWN_KEY)


@pytest.mark.usefixtures("key_file")
@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:9000"), ("::", "http://[::1]:9000"), ("10.0.0.7", "http://10.0.0.7:9000")],
)
def test_the_settings_say_where(monkeypatch: pytest.MonkeyPatch, host: str, url: str) -> None:
    monkeypatch.setenv("HOST", host)
    monkeypatch.setenv("PORT", "9000")
    address = find_address(None, None)
    assert (address.url, address.key) == (url, OWN_KEY)


@pytest.mark.usefixtures("key_file")
def test_this_folders_key_goes_to_no_other_host() -> None:
    assert find_address("https://gateway.example.org", None).key is None
    assert find_address("http://localhost:9999", None).key == OWN_KEY


@pytest.mark.usefixtures("key_file")
def test_a_key_that_was_given_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_API_KEY", "the-operators-own-key")
    assert find_address(None, None).key == "the-operators-own-key"
    assert find_address(None, "given").key == "given"
    assert find_address("https://gateway.example.org/v1/", "given").url == "https://gateway.example.org"


@pytest.mark.usefixtures("empty_directory")
def test_no_key_at_all_is_none() -> None:
    assert find_address(None, None).key is None


@pytest.mark.usefixtures("empty_directory")
def test_bad_settings_are_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "eighty")
    with pytest.raises(CommandFailed, match="PORT='eighty'") as caught:
        find_address(None, None)
    assert caught.value.code is ExitCode.USAGE
    assert find_address("http://127.0.0.1:1", "key").url == "http://127.0.0.1:1"


def test_an_unreadable_key_file_is_told(key_file: Path) -> None:
    key_file.write_bytes(b"\xff\xfe")
    with pytest.raises(CommandFailed, match="can't be read") as caught:
        find_address(None, None)
    assert caught.value.code is ExitCode.UNAUTHORISED
