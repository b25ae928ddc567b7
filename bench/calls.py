"""How is a gateway asked whether it is ready, and told of its upstreams? Small calls before anything is measured."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from bench.sites import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.sites import Site

__all__ = ["await_ready", "register"]

_POLL_SECONDS = 0.1
_CALL_SECONDS = 10


def await_ready(site: Site, path: str, is_alive: Callable[[], bool], patience_seconds: float) -> str:
    """Wait until a path answers 200; returns what went wrong, or nothing."""
    deadline = time.monotonic() + patience_seconds
    last = ""
    while time.monotonic() < deadline:
        if not is_alive():
            return "It ended at its start."
        try:
            _call(site, path, None)
        except OSError as error:  # urllib's errors are OSErrors
            last = str(error)
        else:
            return ""
        time.sleep(_POLL_SECONDS)
    return f"{path} was not answered by 200 within {patience_seconds:g} s ({last})."


def register(site: Site) -> str:
    """Register the upstreams over our admin API; returns what went wrong, or nothing."""
    for port in site.upstream_ports:
        try:
            _call(site, "/admin/register", {"endpoint_url": f"http://127.0.0.1:{port}"})
        except urllib.error.HTTPError as error:
            return f"An upstream was refused: {error.read().decode(errors='replace')}"
        except OSError as error:
            return f"An upstream could not be registered: {error}."
    return ""


def _call(site: Site, path: str, fields: dict[str, str] | None) -> None:
    origin = f"https://localhost:{site.port}" if site.tls else f"http://127.0.0.1:{site.port}"
    asked = urllib.request.Request(  # noqa: S310 - the scheme is written above
        f"{origin}{path}",
        data=None if fields is None else json.dumps(fields).encode(),
        headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    trust = ssl.create_default_context(cafile=site.tls.certificate) if site.tls else None
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)]
    with urllib.request.build_opener(*handlers).open(asked, timeout=_CALL_SECONDS):
        return
