"""Which model servers already run on this machine, at the ports that their makers chose?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx2

__all__ = ["USUAL_PORTS", "LocalEngine", "find_local_engines"]

PROBE_TIMEOUT_SECONDS: Final = 1.0
ANSWER_LIMIT_BYTES: Final = 4 * 1024 * 1024

USUAL_PORTS: Final[tuple[tuple[int, str], ...]] = (
    (11434, "Ollama"),
    (1234, "LM Studio"),
    (8000, "vLLM"),
    (8001, "vLLM"),
    (8080, "llama.cpp or mlx-lm"),
    (30000, "SGLang"),
    (5000, "TabbyAPI"),
)
"""Port and the engine that listens there unless told otherwise."""

_OWNERS: Final = {
    "vllm": "vLLM",
    "sglang": "SGLang",
    "llamacpp": "llama.cpp",
    "tabbyapi": "TabbyAPI",
    "library": "Ollama",
}
"""``data[0].owned_by`` of /v1/models, by which engines give themselves away."""


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """A model server found on this machine: its URL without ``/v1``, a name for people, and the models it lists."""

    url: str
    engine: str
    models: tuple[str, ...]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return urlsplit(self.url).port or 0

    def describe(self) -> str:
        """One line such as ``Ollama at http://127.0.0.1:11434 (llama3.2, and 2 more)``."""
        names = ", ".join(self.models[:1])
        more = len(self.models) - 1
        return f"{self.engine} at {self.url} ({names}{f', and {more} more' if more > 0 else ''})"


def find_local_engines(
    ports: tuple[tuple[int, str], ...] = USUAL_PORTS,
    *,
    timeout_seconds: float = PROBE_TIMEOUT_SECONDS,
) -> list[LocalEngine]:
    """Ask all usual ports at once; those that answer with a list of models come back in the order of ``ports``.

    A gateway of this project is left out by its own answer: it lists models too, but they are other servers'.
    """
    return asyncio.run(_probe_all(ports, timeout_seconds))


async def _probe_all(ports: tuple[tuple[int, str], ...], timeout_seconds: float) -> list[LocalEngine]:
    # trust_env off: a proxy of the environment must not be asked for this machine's own ports.
    async with httpx2.AsyncClient(timeout=timeout_seconds, trust_env=False, follow_redirects=False) as client:
        found = await asyncio.gather(*(_probe(client, port, engine, timeout_seconds) for port, engine in ports))
    return [engine for engine in found if engine is not None]


async def _probe(client: httpx2.AsyncClient, port: int, engine: str, timeout_seconds: float) -> LocalEngine | None:
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(timeout_seconds), client.stream("GET", f"{url}/v1/models") as response:
            if response.status_code != httpx2.codes.OK:
                return None
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > ANSWER_LIMIT_BYTES:
                    return None
            listed = httpx2.Response(200, content=bytes(body)).json()
            server_header = response.headers.get("server", "")
    except (httpx2.HTTPError, TimeoutError, ValueError):
        return None  # Nothing there, or something else than a model server: both are the usual case.
    return read_listing(url, engine, server_header, listed)


def read_listing(url: str, usual_engine: str, server_header: str, listed: object) -> LocalEngine | None:
    """What the answer of ``/v1/models`` says, or None where it is no list of models of a model server."""
    if not isinstance(listed, dict) or not isinstance(listed.get("data"), list):
        return None
    entries = [entry for entry in listed["data"] if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    if not entries or "healthy_servers" in entries[0]:
        return None
    owner = str(entries[0].get("owned_by", "")).lower()
    engine = "llama.cpp" if server_header.startswith("llama.cpp") else _OWNERS.get(owner, usual_engine)
    return LocalEngine(url=url, engine=engine, models=tuple(entry["id"] for entry in entries))
