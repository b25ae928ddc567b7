"""What does a failure of the system, the network or SQLite mean in plain words?"""

from __future__ import annotations

import errno
import re
import ssl
from typing import Final

__all__ = ["connection_words", "damage_words", "file_words"]

_FILE_WORDS: Final = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the user's share of the disk is full",
    errno.EROFS: "the disk is read-only",
    errno.EXDEV: "it lies on another disk",
    errno.EBUSY: "it is in use, or mounted as a single file",
    errno.EEXIST: "it exists already",
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of its path is no folder",
    errno.EISDIR: "it is a folder",
}
_DAMAGE_HEADING: Final = re.compile(r"\*\*\* in database \w+ \*\*\*\s*")
_ERRNO_PREFIX: Final = re.compile(r"^\[Errno -?\d+\] ")


def file_words(error: OSError) -> str:
    """Which file and what is wrong with it: ``data/admin.key: permission denied``."""
    reason = _FILE_WORDS.get(error.errno or 0) or (error.strerror or str(error)).lower()
    return reason if error.filename is None else f"{error.filename}: {reason}"


def connection_words(error: BaseException | None) -> str:
    """Why a program could not be spoken to, from the causes behind a client's error."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    for link in chain:
        words = _link_words(link)
        if words:
            return words
    text = str(chain[0]).strip().rstrip(".") if chain else ""
    return _ERRNO_PREFIX.sub("", text) or "no answer"


def damage_words(text: str) -> str:
    """SQLite's report of damage without its heading and with its first line only; what stands around it stays."""
    bare = _DAMAGE_HEADING.sub("", text).strip()
    return re.sub(r"\n.*?(?=\)\.|\Z)", "", bare, count=1, flags=re.DOTALL)


def _link_words(link: BaseException) -> str:
    if isinstance(link, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted here ({link.verify_message})"
    text = str(link)
    if "WRONG_VERSION_NUMBER" in text or "wrong version number" in text or "record layer failure" in text.lower():
        return "it speaks http, not https"
    if isinstance(link, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in text:
        return "connection refused"
    if isinstance(link, ConnectionResetError):
        return "it closed the connection"
    if isinstance(link, TimeoutError):
        return "no answer in time"
    return ""
