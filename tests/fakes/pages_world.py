"""Gateways for the tests of pages: one that is empty, one with keys of each role, and one that is full.

The full one has some twenty-five servers in every state, hostile names among them, real llama.cpp with traffic,
aliases, classes, limits, keys and groups. Scripted servers run in a thread of their own: they answer their checks also
while no test of pages runs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2

from tests.fakes.gateway_process import ADMIN_KEY, GatewayProcess
from tests.fakes.model_server import FakeModelServer, Seen, json_answer

__all__ = ["HOSTILE", "HOSTILE_NAMES", "ROLES", "FakeHouse", "OwnWorld", "PageWorld", "fill", "open_world"]

ROLES = ("admin", "group-admin", "owner", "user")
HOSTILE = """<img src=x onerror="__pwned(1)"><script>__pwned(2)</script>'"><svg onload=__pwned(3)>{{7*7}}</title>"""
HOSTILE_NAMES = (
    HOSTILE,
    "javascript:__pwned(4)",
    "\u202egnp.exe\u202c \u2066bidi\u2069",
    "a" * 200,
    "\"' onmouseover=__pwned(5) x='",
    "${__pwned(6)} <%= 7*7 %> {% raw %} #{7*7}",
    "../../ui/sign-out?x=<b>",
    "日本語 " + "\u0301" * 40,
)
GROUP = "physics-101"
WAIT_SECONDS = 30.0

Result = TypeVar("Result")


class FakeHouse:
    """Scripted model servers in a thread with an event loop of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-house", daemon=True)
        self.servers: list[FakeModelServer] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        for server in self.servers:
            self.stop(server)
        self._run(self._loop.shutdown_asyncgens())
        self._run(_end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self, server: FakeModelServer, port: int = 0) -> FakeModelServer:
        """Let a server listen, anew or again."""
        if server not in self.servers:
            self.servers.append(server)
        self._run(server.start(port))
        return server

    def stop(self, server: FakeModelServer) -> None:
        """Let it die: connections are refused from now on."""
        self._run(server.stop())

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_SECONDS)


async def _end_tasks() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@dataclass
class PageWorld:
    """A running gateway, and what tests of pages need to know of it.

    Attributes:
        gateway: the process.
        house: where more scripted servers can be started.
        servers: ids of servers by what they are for: ``real``, ``paused``, ``down``, ``hostile`` and so on.
    """

    gateway: GatewayProcess
    house: FakeHouse
    servers: dict[str, str] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)
    _group: str = ""
    _others: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.gateway.url

    @property
    def ids(self) -> dict[str, str]:
        """What paths of pages are filled in with: ids of servers, ``key`` and ``group``."""
        return {**self.servers, **self._others}

    def key(self, role: str) -> str:
        """The key of a role; made when it is first asked for, so that an empty gateway stays empty."""
        if role == "admin":
            return ADMIN_KEY
        if role not in self._keys:
            more = {"group": self.group()} if role == "group-admin" else {}
            self._keys[role] = self.make_key(f"the {role}", role="admin" if more else role, **more)
        return self._keys[role]

    def group(self) -> str:
        """The id of the group that the group's admin is bound to."""
        if not self._group:
            self._group = self.call("POST", "/admin/groups", {"name": GROUP, "description": "Spring term"})["id"]
        return self._group

    def make_key(self, name: str, **fields: object) -> str:
        return str(self.call("POST", "/admin/keys", {"name": name, **fields})["key"])

    def call(self, method: str, path: str, body: object = None, *, role: str = "admin") -> Any:
        """Call the API; the answer as JSON. Fails where it is an error."""
        answer = self.answer(method, path, body, role=role)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def answer(self, method: str, path: str, body: object = None, *, role: str = "admin") -> httpx2.Response:
        """Call the API, whatever comes of it."""
        headers = {"x-api-key": self.key(role)}
        return httpx2.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=WAIT_SECONDS)

    def register(self, url: str, *, role: str = "admin", **fields: object) -> str:
        """Register a server; its id."""
        body = {"endpoint_url": url, **fields}
        return str(self.call("POST", "/admin/register", body, role=role)["registration_id"])

    def fake(self, *models: str, role: str = "admin", **fields: object) -> tuple[FakeModelServer, str]:
        """Start a scripted server and register it; with its id."""
        server = self.house.start(FakeModelServer(models=list(models) or ["m"]))
        return server, self.register(server.url, role=role, **fields)

    def server(self, server_id: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/admin/servers/{server_id}"))

    def chat(
        self, model: str, words: str = "Say one word.", *, role: str = "admin", **fields: object
    ) -> httpx2.Response:
        """Ask a model; whatever comes of it."""
        body = {"model": model, "messages": [{"role": "user", "content": words}], "max_tokens": 8, **fields}
        return self.answer("POST", "/v1/chat/completions", body, role=role)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Block until something holds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"it did not come to this: {what}"
            time.sleep(0.05)


OwnWorld = Callable[..., Awaitable[PageWorld]]


@contextmanager
def open_world(folder: Path, house: FakeHouse, **settings: str) -> Iterator[PageWorld]:
    """Run a gateway with nothing in it."""
    defaults = {"ADMIN_API_KEY": ADMIN_KEY, "HEALTH_CHECK_INTERVAL_SECONDS": "2", "VERIFICATION_ENABLED": "false"}
    gateway = GatewayProcess(folder, "door", {**defaults, **settings})
    try:
        gateway.start()
        yield PageWorld(gateway, house)
    finally:
        gateway.close()


def fill(world: PageWorld, *real_urls: str) -> None:
    """Put into a gateway all that there can be."""
    for role in ROLES:
        world.key(role)
    _fill_people(world)
    _fill_servers(world, real_urls)
    _fill_names(world)
    _fill_use(world)


def _fill_people(world: PageWorld) -> None:
    terms = {"tokens_per_day": 100_000, "requests_per_minute": 60, "concurrency": 4}
    for number, name in enumerate(filter(str.isprintable, HOSTILE_NAMES)):
        limits = {"limits": terms} if number % 2 else {}
        world.make_key(name[:128], person=f"person-{number}", **limits)
    world.call("POST", "/admin/groups", {"name": HOSTILE, "description": HOSTILE})
    revoked = world.call("POST", "/admin/keys", {"name": "revoked"})
    world.call("DELETE", f"/admin/keys/{revoked['id']}")
    made = world.call("POST", "/admin/keys", {"name": "Ada's laptop", "limits": terms, "group": world.group()})
    world._others.update(key=made["id"], group=world.group())
    people = [{"name": name, "person": f"{name}@example.org"} for name in ("Ada", "Grace", "Edsger")]
    world.call("POST", "/admin/keys/import", {"people": people, "as": "invites", "group": GROUP})


def _fill_servers(world: PageWorld, real_urls: tuple[str, ...]) -> None:
    known = world.servers
    for number, url in enumerate(real_urls):
        known["real" if number == 0 else f"real-{number}"] = world.register(url, metadata={"description": "a laptop"})
    for number in range(6):
        _server, known[f"healthy-{number}"] = world.fake("llama-3-8b", f"qwen-{number}", role="owner")
    _server, known["large"] = world.fake(*(f"family/model-{number:03}-instruct" for number in range(120)))
    for number, name in enumerate(HOSTILE_NAMES):
        metadata = {"owner": name, "description": name, name[:60]: name}
        hostile, known[f"hostile-{number}"] = world.fake(name if name.isprintable() else "unnamed", metadata=metadata)
        hostile.words = [name, " ", name]
    known["hostile"] = known["hostile-0"]
    _hold(world)
    for state in ("down", "refusing"):
        server, known[state] = world.fake("llama-3-8b", "only-there")
        if state == "down":
            world.house.stop(server)
        else:
            server.behaviours["*"] = _hostile_error
    for server_id in (known["down"], known["refusing"]):
        world.wait(lambda one=server_id: world.server(one)["health_status"] == "unhealthy", "a server is found dead")


def _hold(world: PageWorld) -> None:
    """Servers that take no new work, each for a reason of its own."""
    for action, state in (("pause", "paused"), ("drain", "draining"), ("block", "blocked")):
        _server, server_id = world.fake("llama-3-8b")
        world.call("POST", f"/admin/servers/{server_id}/{action}", {"reason": HOSTILE})
        world.servers[state] = server_id
    window = {"days": ["sun"], "from": "00:00", "to": "00:01"}
    hours = {"timezone": "Europe/Berlin", "windows": [window]}
    _server, world.servers["off-hours"] = world.fake("llama-3-8b", hours=hours)
    _server, world.servers["alices"] = world.fake("alices-model", role="owner", metadata={"owner": "alice"})


def _fill_names(world: PageWorld) -> None:
    alias = {"name": "fast", "targets": [{"model": "llama-3-8b", "weight": 3}], "fallbacks": ["qwen-1"]}
    world.call("POST", "/admin/aliases", alias)
    world.call("POST", "/admin/aliases", {"name": f"alias {HOSTILE}", "targets": ["llama-3-8b"]})
    world.call("POST", "/admin/model-classes", {"name": "qwen", "members": ["qwen-1", "qwen-2"]})
    limits = {"requests_per_minute": 100, "tokens_per_day": 1_000_000}
    world.call("PUT", "/admin/model-limits/qwen-3", {"limits": limits})


def _fill_use(world: PageWorld) -> None:
    """Some traffic of several people, errors among it."""
    real = world.servers.get("real")
    models = ["llama-3-8b", "fast", HOSTILE, "only-there", "no-such-model", f"<b>{HOSTILE[:40]}"]
    if real is not None:
        models += [world.server(real)["models"][0]] * 4
    for number, model in enumerate(models):
        for role in ("admin", "owner", "user"):
            answer = world.chat(model, role=role, stream=number % 2 == 0)
            assert answer.status_code < 600


async def _hostile_error(_server: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Refuse everything in words that are markup."""
    writer.write(json_answer({"error": {"message": HOSTILE}}, "500 Internal Server Error"))
