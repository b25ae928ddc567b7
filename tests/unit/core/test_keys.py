"""Which keys are well-formed, how is a credential read, and whose is it?"""

from __future__ import annotations

import hashlib
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.errors import NotAuthenticated
from app.services.core.keys import (
    KeyForm,
    KeyRing,
    Principal,
    Role,
    digest,
    display,
    extract_credential,
    looks_minted,
    mint,
)

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOMNESS = st.binary(min_size=32, max_size=48)
VISIBLE = st.text(alphabet=[chr(code) for code in range(0x21, 0x7F)], min_size=16, max_size=256)
KEY = mint(bytes(range(32)))
ADMIN_KEY = "an-operator's-own-key"


class TestForm:
    @given(RANDOMNESS)
    def test_a_minted_key_has_the_form_and_knows_itself(self, randomness: bytes) -> None:
        key = mint(randomness)
        assert re.fullmatch(r"mvk_[0-9A-Za-z]{36}", key)
        assert looks_minted(key) is KeyForm.MINTED
        assert mint(randomness) == key

    @given(RANDOMNESS)
    def test_the_checksum_is_crc32_of_the_random_part(self, randomness: bytes) -> None:
        key = mint(randomness)
        number = 0
        for character in key[34:]:
            number = number * 62 + ALPHABET.index(character)
        assert number == zlib.crc32(key[4:34].encode())

    @given(RANDOMNESS, st.integers(min_value=4, max_value=39), st.sampled_from(ALPHABET))
    def test_one_wrong_character_is_a_typing_error(self, randomness: bytes, position: int, character: str) -> None:
        key = mint(randomness)
        changed = key[:position] + character + key[position + 1 :]
        assert looks_minted(changed) is (KeyForm.MINTED if changed == key else KeyForm.MISTYPED)

    @given(RANDOMNESS, st.integers(min_value=4, max_value=38))
    def test_two_characters_swapped_are_a_typing_error(self, randomness: bytes, position: int) -> None:
        key = mint(randomness)
        changed = key[:position] + key[position + 1] + key[position] + key[position + 2 :]
        assert looks_minted(changed) is (KeyForm.MINTED if changed == key else KeyForm.MISTYPED)

    @pytest.mark.parametrize(
        "key", [KEY[:-1], KEY + "a", "mvk_", KEY.upper(), "MVK_" + KEY[4:], KEY + "\n", KEY[:20] + "-" * 20]
    )
    def test_what_begins_like_ours_and_does_not_fit_is_mistyped(self, key: str) -> None:
        assert looks_minted(key) is KeyForm.MISTYPED

    @pytest.mark.parametrize("key", ["", "sk-proj-abc", ADMIN_KEY, "mvk", "x" + KEY, " " + KEY])
    def test_all_others_are_foreign(self, key: str) -> None:
        assert looks_minted(key) is KeyForm.FOREIGN

    def test_different_randomness_makes_different_keys(self) -> None:
        assert len({mint(bytes([octet]) * 32) for octet in range(256)}) == 256

    def test_too_little_randomness_is_refused(self) -> None:
        with pytest.raises(ValueError, match="32 random bytes, not 31"):
            mint(bytes(31))

    def test_a_key_is_stored_as_sha_256(self) -> None:
        assert digest(KEY) == digest(KEY.encode()) == hashlib.sha256(KEY.encode()).digest()

    def test_only_prefix_and_last_four_are_shown(self) -> None:
        assert display(KEY) == f"mvk_...{KEY[-4:]}"
        assert display("sk-proj-0123456789abcdef") == "...cdef"
        assert display("short-key") == "..."


class TestExtraction:
    @pytest.mark.parametrize(
        "headers",
        [
            [(b"authorization", b"Bearer k")],
            [(b"Authorization", b"bearer k")],
            [(b"AUTHORIZATION", b"BEARER   k ")],
            [(b"x-api-key", b"k")],
            [(b"X-API-Key", b" k\t")],
            [(b"x-api-key", b"k"), (b"authorization", b"Bearer k")],
            [(b"authorization", b"Bearer k"), (b"x-api-key", b"")],
            [(b"authorization", b"Bearer "), (b"x-api-key", b"k")],
            [(b"authorization", b""), (b"x-api-key", b"k")],
            [(b"host", b"h"), (b"x-api-kez", b"1"), (b"authorizatiom", b"2"), (b"x-api-key", b"k")],
        ],
    )
    def test_the_one_credential_is_read_from_either_header(self, headers: list[tuple[bytes, bytes]]) -> None:
        assert extract_credential(headers) == b"k"

    @pytest.mark.parametrize(
        "headers",
        [
            [],
            [(b"authorization", b"")],
            [(b"authorization", b"Bearer")],
            [(b"authorization", b"Bearer  ")],
            [(b"x-api-key", b" ")],
            [(b"api-key", b"k"), (b"cookie", b"k")],
        ],
    )
    def test_an_empty_or_missing_header_is_no_credential(self, headers: list[tuple[bytes, bytes]]) -> None:
        assert extract_credential(headers) is None

    @pytest.mark.parametrize(
        ("headers", "words"),
        [
            ([(b"authorization", b"Bearer canary1"), (b"x-api-key", b"canary2")], "different keys"),
            ([(b"authorization", b"Bearer canary1"), (b"Authorization", b"Bearer canary1")], "given twice"),
            ([(b"x-api-key", b"canary1"), (b"X-Api-Key", b"canary2")], "given twice"),
            ([(b"authorization", b""), (b"authorization", b"Bearer canary1")], "given twice"),
            ([(b"authorization", b"canary1")], "bearer token"),
            ([(b"authorization", b"Basic canary1")], "bearer token"),
            ([(b"authorization", b"Bearer\tcanary1")], "bearer token"),
            ([(b"authorization", b"Basic canary1"), (b"x-api-key", b"canary2")], "bearer token"),
            ([(b"authorization", b"Bearer canary1 canary2")], "visible ASCII"),
            ([(b"authorization", b"Bearer canary1, Bearer canary2")], "visible ASCII"),
            ([(b"x-api-key", b"canary\xc3\xa9")], "visible ASCII"),
            ([(b"x-api-key", b"canary\x00")], "visible ASCII"),
            ([(b"x-api-key", b"canary\n")], "visible ASCII"),
            ([(b"x-api-key", b"canary" + b"k" * 251)], "at most 256"),
        ],
    )
    def test_an_ambiguous_or_unreadable_credential_is_refused(
        self, headers: list[tuple[bytes, bytes]], words: str
    ) -> None:
        with pytest.raises(NotAuthenticated, match=words) as refusal:
            extract_credential(headers)
        assert refusal.value.status == 401
        assert "canary" not in refusal.value.message

    @given(st.lists(st.tuples(st.sampled_from([b"authorization", b"X-Api-Key", b"host"]), st.binary(max_size=40))))
    def test_whatever_comes_out_is_visible_ascii_or_nothing(self, headers: list[tuple[bytes, bytes]]) -> None:
        try:
            credential = extract_credential(headers)
        except NotAuthenticated:
            return
        assert credential is None or re.fullmatch(rb"[!-~]{1,256}", credential)


class TestKeyRing:
    RING = KeyRing.with_admin(ADMIN_KEY)

    def test_the_admin_key_is_an_admin(self) -> None:
        principal = self.RING.authenticate(ADMIN_KEY.encode())
        assert principal == Principal("admin", "operator", Role.ADMIN)

    def test_every_key_has_its_own_principal(self) -> None:
        alice = Principal("key-1", "alice", Role.OWNER)
        ring = KeyRing({digest(KEY): alice})
        assert ring.authenticate(KEY.encode()) is alice

    @pytest.mark.parametrize(
        ("credential", "words"),
        [
            (None, "Send your key as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'"),
            (KEY[:-1].encode(), "looks mistyped"),
            (KEY.encode(), "unknown, expired or revoked"),
            (ADMIN_KEY.encode()[:-1], "unknown, expired or revoked"),
            (ADMIN_KEY.upper().encode(), "unknown, expired or revoked"),
            (b"' OR 1=1 --", "unknown, expired or revoked"),
            (digest(ADMIN_KEY), "unknown, expired or revoked"),
        ],
    )
    def test_a_refusal_names_the_fix_and_never_the_key(self, credential: bytes | None, words: str) -> None:
        with pytest.raises(NotAuthenticated) as refusal:
            self.RING.authenticate(credential)
        assert words in refusal.value.message
        assert credential is None or credential.decode("latin-1") not in refusal.value.message

    @given(VISIBLE, VISIBLE)
    def test_only_the_very_key_opens(self, key: str, other: str) -> None:
        ring = KeyRing.with_admin(key)
        assert ring.authenticate(key.encode()).role is Role.ADMIN
        if other != key:
            with pytest.raises(NotAuthenticated):
                ring.authenticate(other.encode())

    @pytest.mark.parametrize(
        "key", ["", "fifteen-letters", "k" * 257, "a key with some spaces", "ein-schlüssel-mit-ü", "k" * 16 + "\n"]
    )
    def test_an_admin_key_of_a_wrong_form_stops_the_start(self, key: str) -> None:
        with pytest.raises(ValueError, match="ADMIN_API_KEY must have 16 to 256 visible ASCII characters"):
            KeyRing.with_admin(key)

    def test_an_admin_key_that_looks_like_a_mistyped_one_still_opens(self) -> None:
        key = "mvk_chosen_by_the_operator"
        assert KeyRing.with_admin(key).authenticate(key.encode()).role is Role.ADMIN

    def test_no_key_and_no_digest_stands_in_its_repr(self) -> None:
        assert repr(self.RING) == "KeyRing()"
