"""Do secrets open only with the right key, for the right server, and lie where only their owner reads them?"""

from __future__ import annotations

import base64
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.keys import RANDOM_BYTES, mint
from app.services.registry.secrets import (
    EncryptionKeyInvalid,
    SecretBox,
    SecretUnreadable,
    load_or_create_admin_key,
    load_or_create_encryption_key,
)

KEY = bytes(range(32))
BOX = SecretBox(KEY)


def minted() -> str:
    return mint(os.urandom(RANDOM_BYTES))


def mode_of(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@given(st.text(), st.text())
def test_what_is_sealed_opens_for_the_same_server(secret, server_id):
    try:
        server_id.encode()
        secret.encode()
    except UnicodeEncodeError:
        return
    assert BOX.open(BOX.seal(secret, server_id), server_id) == secret


def test_the_same_secret_looks_different_each_time_and_nowhere_like_itself():
    sealed = [BOX.seal("sk-canary-4711", "a") for _ in range(20)]
    assert len({one[:13] for one in sealed}) == 20
    assert all(b"canary" not in one for one in sealed)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]), id="a flipped bit"),
        pytest.param(lambda sealed: b"\x02" + sealed[1:], id="another version"),
        pytest.param(lambda sealed: sealed[:10], id="cut short"),
        pytest.param(lambda _sealed: b"", id="empty"),
    ],
)
def test_a_damaged_secret_is_unreadable(damage):
    with pytest.raises(SecretUnreadable):
        BOX.open(damage(BOX.seal("secret", "a")), "a")


def test_a_secret_moved_to_another_server_or_key_is_unreadable():
    sealed = BOX.seal("secret", "a")
    with pytest.raises(SecretUnreadable):
        BOX.open(sealed, "b")
    with pytest.raises(SecretUnreadable):
        SecretBox(bytes(32)).open(sealed, "a")


def test_a_key_of_another_length_is_refused():
    with pytest.raises(EncryptionKeyInvalid, match="16 bytes"):
        SecretBox(bytes(16))


@pytest.mark.parametrize(
    "written",
    [
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(bytes([255] * 32)).decode(),
        base64.b64encode(KEY).decode().rstrip("="),
        KEY.hex(),
        f"  {KEY.hex().upper()}\n",
    ],
)
def test_a_configured_key_is_taken_in_each_usual_form(written, tmp_path):
    key = load_or_create_encryption_key(written, tmp_path / "unused.key")
    assert key in {KEY, bytes([255] * 32)}
    assert not (tmp_path / "unused.key").exists()


@pytest.mark.parametrize("written", ["short", "zz" * 32, base64.b64encode(bytes(31)).decode(), "ключ"])
def test_a_bad_configured_key_is_refused_and_not_repeated(written, tmp_path):
    with pytest.raises(EncryptionKeyInvalid, match=r"ENCRYPTION_KEY.*32 bytes") as caught:
        load_or_create_encryption_key(written, tmp_path / "unused.key")
    assert written not in str(caught.value)


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "data" / "encryption.key"
    first = load_or_create_encryption_key(None, path)
    assert len(first) == 32
    assert mode_of(path) == 0o600
    assert load_or_create_encryption_key("", path) == first


def test_a_key_file_that_others_can_read_is_closed(tmp_path, caplog):
    path = tmp_path / "encryption.key"
    path.write_text(KEY.hex())
    path.chmod(0o644)
    assert load_or_create_encryption_key(None, path) == KEY
    assert mode_of(path) == 0o600
    assert "open to others" in caplog.text


def test_an_empty_key_file_is_told_with_its_path(tmp_path):
    path = tmp_path / "encryption.key"
    path.touch(0o600)
    with pytest.raises(EncryptionKeyInvalid, match=r"encryption\.key.*32 bytes"):
        load_or_create_encryption_key(None, path)


def test_a_key_file_that_cannot_be_used_is_told_with_the_fix(tmp_path):
    with pytest.raises(EncryptionKeyInvalid, match="set ENCRYPTION_KEY"):
        load_or_create_encryption_key(None, tmp_path)
    with pytest.raises(EncryptionKeyInvalid, match="set ADMIN_API_KEY"):
        load_or_create_admin_key(tmp_path, minted)


def test_an_admin_key_is_minted_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "data" / "admin.key"
    key = load_or_create_admin_key(path, minted)
    assert load_or_create_admin_key(path, minted) == key
    assert path.read_text().strip() == key
    assert mode_of(path) == 0o600


@pytest.mark.parametrize("content", ["", "short", "two words that are long enough", "x" * 257, "schlüssel-schlüssel"])
def test_an_unusable_admin_key_file_is_refused(content, tmp_path):
    path = tmp_path / "admin.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(EncryptionKeyInvalid, match="16 to 256 visible ASCII"):
        load_or_create_admin_key(path, minted)
