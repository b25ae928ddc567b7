"""Are failures told in words that nobody has to look up?"""

from __future__ import annotations

import errno
import os
import ssl

import pytest

from app.cli.plain_words import connection_words, damage_words, file_words


def caused(cause: BaseException) -> Exception:
    outer = ConnectionError("[Errno 99] outer")
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EXDEV, "Invalid cross-device link", "a"), "a: it lies on another disk"),
        (PermissionError(errno.EACCES, "Permission denied", "data/admin.key"), "data/admin.key: permission denied"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
        (OSError("bare"), "bare"),
    ],
)
def test_files(error: OSError, said: str) -> None:
    assert file_words(error) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (caused(ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))), "connection refused"),
        (caused(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")), "it speaks http, not https"),
        (caused(ConnectionResetError(errno.ECONNRESET, "reset")), "it closed the connection"),
        (caused(TimeoutError()), "no answer in time"),
        (OSError("[Errno 113] No route to host."), "No route to host"),
        (None, "no answer"),
    ],
)
def test_connections(error: BaseException | None, said: str) -> None:
    assert connection_words(error) == said


def test_a_certificate_that_is_not_trusted() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    assert connection_words(error) == "its certificate is not trusted here (self-signed certificate)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("*** in database main ***\nTree 2 page 2: bad\nPage 3: never used", "Tree 2 page 2: bad"),
        ("Page 3: never used", "Page 3: never used"),
        (
            "The file x is damaged (*** in database main ***\nTree 2 (root)\nPage 3). Take another.",
            "The file x is damaged (Tree 2 (root)). Take another.",
        ),
    ],
)
def test_damage(text: str, said: str) -> None:
    assert damage_words(text) == said
