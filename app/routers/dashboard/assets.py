"""Where do pages get their styles and scripts? From the package: no other host, compressed once, kept for a year.

All of them carry one version, a hash of all contents, so that scripts can import each other by relative names. What is
vendored under ``assets/vendor`` is unmodified from npm; ``CHECKSUMS.sha256`` beside it is held by a test.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter

from app.routers.dashboard.policy import POLICY
from app.services.core.errors import NotFound

__all__ = ["asset_url", "router", "version"]

ASSETS: Final = Path(__file__).parents[2] / "assets"
FOLDERS: Final = (ASSETS / "dashboard", ASSETS / "vendor")
MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
FOR_A_YEAR: Final = "public, max-age=31536000, immutable"
_COMPRESSED: Final = frozenset({".css", ".js", ".svg"})

router = APIRouter(include_in_schema=False)


@lru_cache(maxsize=1)
def _files() -> dict[str, Path]:
    """Every file that is given out, by its name in a URL: nothing else can be asked for."""
    return {
        path.relative_to(folder).as_posix(): path
        for folder in FOLDERS
        for path in sorted(folder.rglob("*"))
        if path.suffix in MEDIA_TYPES
    }


@lru_cache(maxsize=1)
def version() -> str:
    """A name of all contents together, for URLs: it changes when any file does."""
    contents = hashlib.sha256()
    for name, path in _files().items():
        contents.update(name.encode() + b"\0" + path.read_bytes())
    return contents.hexdigest()[:12]


@lru_cache(maxsize=256)
def _content(name: str) -> tuple[bytes, bytes]:
    """A file as it is, and compressed; the latter is empty where that gains nothing."""
    plain = _files()[name].read_bytes()
    small = gzip.compress(plain, 9, mtime=0) if _files()[name].suffix in _COMPRESSED else b""
    return plain, small if len(small) < len(plain) else b""


def asset_url(name: str) -> str:
    """Say where a file is, such as ``gateway.css`` or ``htmx/htmx.min.js``.

    Raises:
        KeyError: there is no such file; a template names it wrongly.
    """
    if name not in _files():
        raise KeyError(name)
    return f"/ui/assets/{version()}/{name}"


@router.get("/ui/assets/{asked_version}/{name:path}")
def asset(request: Request, asked_version: str, name: Annotated[str, PathParameter()]) -> Response:
    """Give a file. A sync route: it is read in a thread, the first time."""
    if name not in _files():
        message = "There is no such file."
        raise NotFound(message)
    plain, small = _content(name)
    headers = {
        "cache-control": FOR_A_YEAR if asked_version == version() else "no-cache",
        "content-security-policy": POLICY,
        "content-type": MEDIA_TYPES[_files()[name].suffix],
        "vary": "accept-encoding",
    }
    if small and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(small, headers={**headers, "content-encoding": "gzip"})
    return Response(plain, headers=headers)
