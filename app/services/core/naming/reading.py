"""What model does a name mean, as far as the name tells?

Nothing is guessed: a size that is not told stays untold, and a name of no known family stays unplaced. The one thing
that is added is what a publisher means by leaving the variant out: on Hugging Face ``Llama-3.1-8B`` is the base model,
in Ollama's library ``llama3.1:8b`` the one that chats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from app.services.core.naming.parting import Form, Stem, stems
from app.services.core.naming.quantization import taken_out
from app.services.core.naming.traits import UNKNOWN, ModelTraits
from app.services.core.naming.vocabulary import (
    BRANCHES,
    CHAT_SINCE,
    DISTILLED_BY_SIZE,
    FAMILIES,
    GENERIC,
    NOISE,
    ONLY_VERSION,
    SIZE_WORDS,
    TUNINGS,
    VECTOR_FAMILIES,
    WITHOUT_TUNING,
)

__all__ = ["read_name"]

_LONGEST_NAME: Final = 256
"""In characters; the registry takes no longer names."""
_REMEMBERED: Final = 16_384
_LONGEST_FAMILY: Final = max(map(len, FAMILIES))
_FAMILY_WORDS: Final = frozenset(word for words in FAMILIES for word in words)
_SEPARATORS: Final = re.compile(r"[^a-z0-9.]+|(?<!\d)\.|\.(?!\d)")
_GLUED: Final = re.compile(r"([a-z]+)(\d{1,2}(?:\.\d{1,2})?)(n?)([a-z]*)")
_HASH: Final = re.compile(r"[0-9a-f]{32,}")
_SIZE: Final = re.compile(r"(?:(\d{1,3})x)?(\d{1,4}(?:\.\d{1,3})?)([bmt])")
_EFFECTIVE: Final = re.compile(r"e\d{1,3}b")
_ACTIVE: Final = re.compile(r"a\d{1,4}(?:\.\d{1,2})?b")
_NUMBER: Final = re.compile(r"(?:[1-9]\d?(?:\.\d{1,2}){0,2}|0(?:\.\d{1,2}){1,2})n?")
_NUMBERED: Final = re.compile(r"v(\d{1,2}(?:[.p]\d{1,2}){0,2})")
_EXPERTS: Final = re.compile(r"\d{1,3}e")
_LETTERED: Final = re.compile(r"[kmr]\d(?:\.\d{1,2})?")
_LEADING_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
_DEEPSEEK_R1_SIZE: Final = "671b"
_SMALLEST_MILLIONS: Final = 10
"""``1m`` is no size but a context of a million tokens."""


@lru_cache(maxsize=_REMEMBERED)
def read_name(name: str) -> ModelTraits:
    """Read a name of any form. Never raises; what can't be placed has no family."""
    if len(name) > _LONGEST_NAME:
        return UNKNOWN
    quantization = ""
    for stem in stems(name):
        found, is_generic = _read_stem(stem)
        quantization = quantization or found.quantization
        if not is_generic:
            return replace(found, quantization=quantization)
    return replace(UNKNOWN, quantization=quantization)


@dataclass(slots=True)
class _Reading:
    """What is known of a name while its words are read."""

    family: str
    glued: bool
    """Whether family and version were written as one word."""
    form: Form
    derived: bool
    """Whether the name begins with words of a model that was made from the family's."""
    version: str = ""
    size: str = ""
    active: str = ""

    def takes(self, word: str) -> bool:
        """Whether a word says how large the model is, or tells a version that begins with a ``v``."""
        size = _size(word)
        if size and not self.size:
            self.size = size
        elif _ACTIVE.fullmatch(word) and not self.active:
            self.active = word
        elif _EXPERTS.fullmatch(word):
            pass  # how many experts there are follows from the rest
        elif (numbered := _NUMBERED.fullmatch(word)) and not self.version:
            self.version = _plain(numbered[1].replace("p", "."))
        else:
            return False
        return True


def _read_stem(stem: Stem) -> tuple[ModelTraits, bool]:
    """Read one part of a name; say too whether it is a word like ``model`` that names none."""
    text, quantization = taken_out(f"{stem.name} {stem.tag}" if stem.tag else stem.name)
    words, glued = _words(text)
    found = _family(words)
    if found is None:
        is_generic = all(word in GENERIC or word in NOISE or _HASH.fullmatch(word) for word in words)
        return replace(UNKNOWN, quantization=quantization), is_generic
    start, end, family = found
    before = [word for word in words[:start] if word != family and word not in NOISE and word != "text"]
    form = stem.form
    if form is Form.LIBRARY and not _words(taken_out(stem.tag)[0])[0]:
        form = Form.HUB  # the tag tells nothing but a quantization, as Ollama writes a hub's models
    reading = _Reading(family, glued, form, derived=any(word not in BRANCHES for word in before))
    after = _without_version(reading, words[end:])
    left = [word for word in [*before, *after] if word not in NOISE and not reading.takes(word)]
    return _placed(reading, left, quantization), False


def _placed(reading: _Reading, left: list[str], quantization: str) -> ModelTraits:
    """Put together what was read."""
    branches = {BRANCHES[word] for word in left if word in BRANCHES}
    if reading.family in VECTOR_FAMILIES:
        branches.add("embed")
    tunings = {TUNINGS[word] for word in left if word in TUNINGS}
    others = {word for word in left if word not in BRANCHES and word not in TUNINGS}
    if reading.version == ONLY_VERSION.get(reading.family):
        reading.version = ""
    if (reading.family, reading.version) == ("deepseek", "r1"):
        others |= _tell_distilled(reading)
    if not reading.family:
        return replace(UNKNOWN, quantization=quantization)
    tuning = "thinking" if "thinking" in tunings else "-".join(sorted(tunings))
    if not tuning and not branches & WITHOUT_TUNING:
        tuning = _meant(reading)
    return ModelTraits(
        family=reading.family,
        version=reading.version,
        size=reading.size,
        active=reading.active,
        variant="-".join([*sorted(branches), *([tuning] if tuning else [])]),
        variant_told=bool(tunings or branches & WITHOUT_TUNING),
        quantization=quantization,
        others=tuple(sorted(others)),
    )


def _tell_distilled(reading: _Reading) -> set[str]:
    """Tell DeepSeek R1 from the small models that learnt from it and are called the same in Ollama's library.

    Returns the words that the name leaves out. Where nobody can tell which model is meant, it has no family after this.
    """
    if not reading.size and reading.form is Form.HUB:
        reading.size = _DEEPSEEK_R1_SIZE
    if reading.size == _DEEPSEEK_R1_SIZE:
        return set()
    reading.family, reading.version = DISTILLED_BY_SIZE.get(reading.size, ""), ""
    reading.derived = True
    return {"deepseek", "distill", "r1"}


def _meant(reading: _Reading) -> str:
    """Say what whoever writes names of this form means by leaving the variant out; empty if nobody can tell."""
    since = CHAT_SINCE.get(reading.family)
    digits = _LEADING_NUMBER.match(reading.version)
    chats = since is not None and (since == 0 or (digits is not None and float(digits[0]) >= since))
    if chats or reading.derived or reading.form is Form.LIBRARY or (reading.glued and not reading.size):
        return "instruct"
    return "base" if reading.form is Form.HUB else ""


def _words(text: str) -> tuple[list[str], bool]:
    """Part a text into words, a family's name and its version too; say whether those two were written as one."""
    words: list[str] = []
    was_glued = False
    for word in _SEPARATORS.split(text):
        glued = _GLUED.fullmatch(word)
        if glued is None or word in _FAMILY_WORDS or not _may_lead(glued[1]):
            words += [word] if word else []
            continue
        was_glued = was_glued or glued[1] in _FAMILY_WORDS
        words += [glued[1], glued[2] + glued[3], *([glued[4]] if glued[4] else [])]
    return words, was_glued


def _may_lead(word: str) -> bool:
    return (word in _FAMILY_WORDS and len(word) > 1) or word in BRANCHES or word in SIZE_WORDS


def _family(words: list[str]) -> tuple[int, int, str] | None:
    """Find the last family that is named, and where: what stands before it was made from it."""
    for start in range(len(words) - 1, -1, -1):
        for length in range(min(_LONGEST_FAMILY, len(words) - start), 0, -1):
            family = FAMILIES.get(tuple(words[start : start + length]))
            if family is not None:
                return start, start + length, family
    return None


def _without_version(reading: _Reading, words: list[str]) -> list[str]:
    """Take the version out of the words behind the family's name: ``3.1``, ``3-1``, ``r1``."""
    for index, word in enumerate(words):
        if word in BRANCHES or word in SIZE_WORDS:
            continue
        if _LETTERED.fullmatch(word):
            reading.version = word
            return [*words[:index], *words[index + 1 :]]
        if not _NUMBER.fullmatch(word):
            return words
        rest = words[index + 1 :]
        if len(word) == 1 and rest and len(rest[0]) == 1 and rest[0].isdigit():
            word, rest = f"{word}.{rest[0]}", rest[1:]  # noqa: PLW2901 - the two are one number
        reading.version = _plain(word)
        return [*words[:index], *rest]
    return words


def _size(word: str) -> str:
    """Write a size as most do: billions, but ``270m``. Empty if the word is none."""
    if _EFFECTIVE.fullmatch(word):
        return word
    found = _SIZE.fullmatch(word)
    if found is None or (found[3] == "m" and float(found[2]) < _SMALLEST_MILLIONS):
        return ""
    millions = float(found[2]) * {"m": 1, "b": 1000, "t": 1_000_000}[found[3]]
    if millions < 1000 and millions % 100:
        size = f"{millions:g}m"
    else:
        size = f"{millions / 1_000_000:g}t" if millions >= 1_000_000 else f"{millions / 1000:g}b"
    return f"{found[1]}x{size}" if found[1] else size


def _plain(number: str) -> str:
    """Write a version in the shortest way: 3.0 is 3."""
    return re.sub(r"(?:\.0+)+$", "", number)
