"""What must never reach a log line? Secrets, by the name of a field, by their form, and by their exact value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping

__all__ = ["MASK", "Redactor", "is_secret_name"]

MASK: Final = "[redacted]"

_LONGEST_CHARACTERS = 16_384
_DEEPEST = 6
_SHORTEST_EXACT_SECRET = 8

_CAMEL_SEAM = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD_SEAM = re.compile(r"[^A-Za-z0-9]+")
_SECRET_WORDS = frozenset(
    {
        "apikey", "authorization", "bearer", "cookie", "cookies", "credential", "credentials", "passphrase", "passwd",
        "password", "passwords", "pwd", "secret", "secrets",
    }
)  # fmt: skip
_SECRET_LAST_WORDS = frozenset({"key", "keys", "token"})
"""Secret as the last word only: ``api_key`` is, ``key_id`` is not. ``tokens`` counts what a model wrote."""

_FORMS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"(://)[^\s/?#@]{0,256}(?:@[^\s/?#@]{0,256}){0,4}@"), rf"\1{MASK}@"),
    (re.compile(r"((?:set-)?cookie[\"']?\s*[:=]\s*)[^\r\n]+", re.IGNORECASE), rf"\1{MASK}"),
    (
        re.compile(
            r"""(\b[\w-]{0,64}?(?:api[_-]?key|secret|passw(?:or)?d|authorization|token)\\?["']?\s*[:=]\s*)"""
            r"""(?:\\?"[^"\r\n]*"|\\?'[^'\r\n]*'|(?:(?:bearer|basic)\s+)?[^\s,;&"'})\]]+)""",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"([?&](?:key|sig|signature)=)[^\s&#\"']+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\b(bearer\s+)[^\s,;\"']+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\b(mvk_|mvi_|hf_)[A-Za-z0-9]{4,}"), rf"\1{MASK}"),
    (re.compile(r"\b(sk-)[A-Za-z0-9_-]{6,}"), rf"\1{MASK}"),
)


def is_secret_name(name: str) -> bool:
    """Tell whether a field of this name holds a secret: ``api_key``, ``X-API-Key``, ``accessToken``, ``Set-Cookie``."""
    words = [word.lower() for word in _WORD_SEAM.split(_CAMEL_SEAM.sub("_", name)) if word]
    return bool(words) and (words[-1] in _SECRET_LAST_WORDS or not _SECRET_WORDS.isdisjoint(words))


class Redactor:
    """Takes secrets out of an event: a structlog processor that stands right before the renderer.

    Values come out as what JSON knows: text, numbers, booleans, None, lists and dictionaries.

    Args:
        secrets: exact values to mask wherever they stand, such as the operator's own key, whose form is free.
    """

    __slots__ = ("_exact",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({value for value in secrets if len(value) >= _SHORTEST_EXACT_SECRET}, key=len, reverse=True)
        self._exact = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, object]) -> Mapping[str, object]:
        """Give the event without secrets."""
        return {name: self._field(name, value, 0) for name, value in event.items()}

    def text(self, value: str) -> str:
        """Mask everything in a text that has the form of a secret, or is one of the known ones."""
        if self._exact is not None:
            value = self._exact.sub(MASK, value)
        for form, replacement in _FORMS:
            value = form.sub(replacement, value)
        return value if len(value) <= _LONGEST_CHARACTERS else f"{value[:_LONGEST_CHARACTERS]}..."

    def _field(self, name: str, value: object, depth: int) -> object:
        if is_secret_name(name) and not (value is None or isinstance(value, bool | int | float)):
            return MASK
        return self._value(value, depth)

    def _value(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict | list | tuple | set | frozenset) and depth >= _DEEPEST:
            return "..."
        if isinstance(value, dict):
            return {self.text(str(name)): self._field(str(name), item, depth + 1) for name, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(item, depth + 1) for item in value]
        return self.text(_as_text(value))


def _as_text(value: object) -> str:
    """Write any object as text. One that fails to write itself must not fail the line."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    try:
        return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else str(value)
    except Exception as error:  # noqa: BLE001  (whatever a foreign __str__ raises is named in the line instead)
        return f"<{type(value).__name__} that can't be shown: {type(error).__name__}>"
