"""When may a run begin on our gateway? Once it has found out how each server goes on with a broken answer."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING

from bench.sites import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["await_probes", "unjudged"]

_PATIENCE_SECONDS = 20.0
_LOOK_SECONDS = 0.1
_CALL_SECONDS = 10.0
_UNJUDGED = "unjudged"


def await_probes(port: int) -> bool:
    """Wait until all servers were judged; whether they were within 20 s."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/admin/servers", headers={"authorization": f"Bearer {KEY}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with opener.open(asked, timeout=_CALL_SECONDS) as answer:
            if not unjudged(json.loads(answer.read())):
                return True
        time.sleep(_LOOK_SECONDS)
    return False


def unjudged(servers: object) -> bool:
    """Whether a list of servers holds a finding about continuation that is still to be made."""
    return any(_UNJUDGED in (finding.get("chat"), finding.get("text")) for finding in _findings(servers))


def _findings(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "continuation" and isinstance(member, dict):
                yield member
            else:
                yield from _findings(member)
    elif isinstance(value, list):
        for entry in value:
            yield from _findings(entry)
