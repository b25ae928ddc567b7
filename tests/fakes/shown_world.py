"""A gateway as a small lab might have it: what the pictures of the documentation show."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fakes.engines.pool import fake_engine
from tests.fakes.pages_world import GROUP, PageWorld

__all__ = ["furnish"]

TERMS = {"tokens_per_day": 200_000, "requests_per_minute": 60, "concurrency": 4}
QUESTIONS = ("Write a haiku about rain.", "What is a monad?", "Name three rivers.", "Why is the sky blue?")


@dataclass(frozen=True)
class Lent:
    """A server that somebody lends: its engine, its model, and whose it is."""

    name: str
    engine: str
    models: tuple[str, ...]
    owner: str
    description: str
    context: int = 32_768


LENT = (
    Lent("large", "vllm", ("llama-3.3-70b-instruct",), "the physics lab", "two H100, rack 4", 131_072),
    Lent("coder", "vllm", ("qwen-3-coder-30b",), "the physics lab", "H100, rack 4", 65_536),
    Lent("laptop", "ollama", ("llama3.1:8b", "qwen3:4b"), "alice", "laptop under the desk", 8192),
    Lent("office", "lmstudio", ("mistral-small-24b",), "alice", "office box", 16_384),
    Lent("spare", "sglang", ("llama-3.3-70b-instruct",), "the computing centre", "spare node", 131_072),
    Lent("away", "llama.cpp", ("gemma-3-12b",), "the computing centre", "old workstation", 8192),
)


def furnish(world: PageWorld, *real_urls: str) -> None:
    """Put into a gateway what a small lab has."""
    _people(world)
    for number, url in enumerate(real_urls, 1):
        metadata = {"owner": "the operator", "description": f"mini PC {number}"}
        world.servers["real" if number == 1 else f"real-{number}"] = world.register(url, metadata=metadata)
    for lent in LENT:
        _lend(world, lent)
    alias = {"name": "fast", "targets": [{"model": "smollm2-135m", "weight": 3}, "qwen3:4b"]}
    world.call("POST", "/admin/aliases", {**alias, "fallbacks": ["mistral-small-24b"]})
    world.call("POST", f"/admin/servers/{world.servers['spare']}/drain", {"reason": "new memory on Friday"})
    world.call("POST", f"/admin/servers/{world.servers['office']}/pause", {"reason": "somebody works there"})
    for number in range(40):
        model = ("smollm2-135m", "fast", "llama-3.3-70b-instruct", "qwen-3-coder-30b")[number % 4]
        role = ("user", "owner", "admin")[number % 3]
        world.chat(model, QUESTIONS[number % 4], role=role, stream=number % 2 == 0, max_tokens=24)
    world.chat("no-such-model", role="user")


def _people(world: PageWorld) -> None:
    for role in ("owner", "user", "group-admin"):
        world.key(role)
    for name, person in (("Ada's notebook", "ada@example.org"), ("Grace's agent", "grace@example.org")):
        world.make_key(name, person=person, group=world.group(), limits=TERMS)
    people = [{"name": name, "person": f"{name.lower()}@example.org"} for name in ("Edsger", "Barbara")]
    world.call("POST", "/admin/keys/import", {"people": people, "as": "invites", "group": GROUP})


def _lend(world: PageWorld, lent: Lent) -> None:
    words = ["It ", "depends ", "on ", "what ", "you ", "mean ", "by ", "it", "."]
    server = world.house.start(fake_engine(lent.engine, models=list(lent.models), context=lent.context, words=words))
    metadata = {"owner": lent.owner, "description": lent.description}
    role = "owner" if lent.owner == "alice" else "admin"
    world.servers[lent.name] = world.register(server.url, role=role, metadata=metadata)
    if lent.name == "away":
        world.house.stop(server)
        world.wait(
            lambda: world.server(world.servers["away"])["health_status"] == "unhealthy", "a server is found dead"
        )
