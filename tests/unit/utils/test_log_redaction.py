"""No secret survives the redactor: by name, by form, by value."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.utils.log_redaction import MASK, Redactor, is_secret_name

CANARY = "C4nary0fAVeryS3cretValue"


@pytest.mark.parametrize(
    "name",
    [
        "key",
        "keys",
        "api_key",
        "admin_api_key",
        "X-API-Key",
        "apiKey",
        "apikey",
        "token",
        "access_token",
        "accessToken",
        "secret",
        "client_secret",
        "secrets",
        "password",
        "db_password",
        "PASSWORD_HASH",
        "authorization",
        "Proxy-Authorization",
        "cookie",
        "Set-Cookie",
        "credentials",
        "passphrase",
        "private_key",
    ],
)
def test_secret_names(name: str):
    assert is_secret_name(name)
    assert Redactor()(None, "info", {name: CANARY}) == {name: MASK}


@pytest.mark.parametrize(
    "name",
    ["key_id", "key_name", "tokens", "prompt_tokens", "max_tokens", "token_count", "monkey", "keyboard", "event", ""],
)
def test_other_names(name: str):
    assert not is_secret_name(name)
    assert Redactor()(None, "info", {name: "value"}) == {name: "value"}


def test_counts_and_absent_values_are_kept():
    event = {"token": 3, "api_key": None, "keys": 2, "secret": True}
    assert Redactor()(None, "info", event) == event


@pytest.mark.parametrize(
    "text",
    [
        f"key mvk_{CANARY} was used",
        f"sk-{CANARY}",
        f"sk-proj-{CANARY}_x",
        f"hf_{CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"authorization: Basic {CANARY}",
        f"bearer {CANARY}",
        f"http://user:{CANARY}@host/path",
        f"https://{CANARY}@host",
        f"postgres://user:p@ss{CANARY}@host/db",
        f"GET /v1/models?api_key={CANARY}&x=1",
        f"GET /?key={CANARY}",
        f"X-API-Key: {CANARY}",
        f"x-api-key={CANARY}",
        f'{{"api_key": "{CANARY}", "n": 1}}',
        f"{{'password': '{CANARY}'}}",
        f"client_secret={CANARY};",
        f"token={CANARY}",
        f"Cookie: session={CANARY}; other={CANARY}",
        f"Set-Cookie: a={CANARY}; Path=/",
        f"headers={{'cookie': 'a={CANARY}'}}",
        f'"{{\\"password\\": \\"{CANARY}\\"}}"',
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
        f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}",
    ],
)
def test_secret_forms(text: str):
    assert CANARY not in Redactor().text(text)
    assert CANARY not in json.dumps(Redactor()(None, "info", {"event": text, "nested": {"deep": [text, (text,)]}}))


@pytest.mark.parametrize(
    "text",
    [
        "Server registered",
        "usage: prompt_tokens=12 completion_tokens=7",
        "http://10.0.0.5:8000/v1/models",
        "a@b.example",
        "connection refused",
        "mvk_ is how keys begin",
        "key_id=4f",
        "the task sk-1 ended",
        "lists models a, b but not c",
    ],
)
def test_harmless_texts_are_left_alone(text: str):
    assert Redactor().text(text) == text


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=16, max_size=60), st.text())
def test_known_secrets_are_masked_wherever_they_stand(secret: str, around: str):
    assert secret not in Redactor([secret]).text(f"{around}{secret}{around}").replace(MASK, "")


def test_short_values_are_no_secrets():
    assert Redactor(["", "ab"]).text("abcd") == "abcd"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_anything_comes_out_as_json(value: object):
    json.dumps(Redactor()(None, "info", {"event": "x", "value": value}))


def test_objects_are_written_as_text():
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    event = {"id": UUID(int=0), "path": Path("a/b"), "raw": b"caf\xe9", "error": ValueError("bad"), "broken": Broken()}
    assert Redactor()(None, "info", event) == {
        "id": str(UUID(int=0)),
        "path": "a/b",
        "raw": "caf\\xe9",
        "error": "ValueError: bad",
        "broken": "<Broken that can't be shown: RuntimeError>",
    }


def test_depth_and_length_are_bounded():
    deep: list[object] = []
    deep.append(deep)
    assert "..." in json.dumps(Redactor()(None, "info", {"deep": deep}))
    assert len(Redactor().text("x" * 1_000_000)) < 20_000


def test_long_hostile_texts_are_redacted_in_reasonable_time():
    for hostile in (
        "://" * 20_000,
        "a-" * 50_000,
        "token" * 20_000,
        "bearer " * 20_000,
        "cookie" * 20_000,
        "@" * 100_000,
    ):
        assert Redactor().text(hostile)
