"""Which part of a name, path or tag names the model itself?

Names come as a library's ``llama3.1:8b``, a hub's ``publisher/model``, a file's path on Linux or Windows, or as people
like them. What a folder or a publisher is called says nothing of the model, but for the folder of a ``model.gguf``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.services.core.naming.vocabulary import PUBLISHERS

__all__ = ["Form", "Stem", "stems"]

_DRIVE: Final = re.compile(r"[a-z]:/")
_ENDING: Final = re.compile(r"\.(?:gguf|ggml|bin|safetensors|llamafile|pt|pth)$")
_SHARD: Final = re.compile(r"[-_.]\d{5}-of-\d{5}$")
_OFFERS: Final = frozenset({"beta", "extended", "floor", "free", "nitro", "online"})
"""What hosts append behind a colon to sell the same model in another way."""
_FOLDERS: Final = 3
"""How many folders above a file are looked at, at most."""


class Form(StrEnum):
    """Who writes names like this one."""

    LIBRARY = "library"
    """``name:tag``, as Ollama does."""
    HUB = "hub"
    """``publisher/name``, or a file that was published under its publisher's name."""
    PLAIN = "plain"
    """A bare word, as anybody may."""


@dataclass(frozen=True, slots=True)
class Stem:
    """A part of a name that may name the model: in lower case, its tag behind a colon apart."""

    name: str
    tag: str
    form: Form


def stems(name: str) -> tuple[Stem, ...]:
    """Return what may name the model, the likeliest first; none for an empty name."""
    text = name.strip().lower().replace("\\", "/")
    is_path = text.startswith(("/", "./", "../", "~")) or bool(_DRIVE.match(text)) or "://" in text
    parts = [part for part in text.split("/") if part]
    if not parts:
        return ()
    is_file = is_path or bool(_ENDING.search(parts[-1]))
    found = [_stem(parts[-1], is_file=is_file, is_hub=len(parts) > 1)]
    if is_file:
        found += [_stem(part, is_file=True, is_hub=True) for part in parts[-2 : -2 - _FOLDERS : -1]]
    return tuple(found)


def _stem(part: str, *, is_file: bool, is_hub: bool) -> Stem:
    part = _without_endings(part.rpartition("--")[2] if part.startswith("models--") else part)
    publisher, _, rest = part.partition("_")
    name, colon, tag = (rest if publisher in PUBLISHERS else part).partition(":")
    name, _, revision = name.partition("@") if part.find("@") > 0 else (name, "", "")
    tag = "" if tag in _OFFERS else tag
    if revision:  # LM Studio's quantization; of other revisions nothing is to be learnt
        tag = f"{tag} {revision}"
    if colon and tag and not is_file:
        return Stem(name, tag, Form.LIBRARY)
    return Stem(name, tag, Form.HUB if is_hub or is_file else Form.PLAIN)


def _without_endings(part: str) -> str:
    """Take off what a file's name ends with: its kind, and which piece of how many it is."""
    return _SHARD.sub("", _ENDING.sub("", part))
