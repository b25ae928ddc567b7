"""Each fake engine is known for what it is over a real socket, and its real pages say how it is."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

import httpx2
import pytest

from app.services.core.network.addresses import AddressPolicy, parse_endpoint
from app.services.core.signals import Signals
from app.services.core.types import CheckFailure, DiscoveredModel, Inspection
from app.services.dataplane.fetch import Fetcher
from app.services.dataplane.link import Link, SystemResolver
from app.services.engines.identify import engine_named
from app.services.inspector import Inspector
from tests.fakes.engines.interface import FakeEngine
from tests.fakes.engines.pool import FAKE_ENGINES, fake_engine
from tests.fakes.model_server import serving

VERSIONS = {"vllm": "0.33.0", "sglang": "0.5.23", "llama.cpp": "b9000-0c1e570", "ollama": "0.33.0", "tgi": "3.3.6"}
CONTEXT_LISTED = {"vllm", "sglang", "llama.cpp", "tgi", "tabbyapi", "unknown"}
TALKS = frozenset({"chat", "completions"})
TEMPLATE_MARK = "f24189f08c85a1eb"


def fetcher() -> Fetcher:
    policy = AddressPolicy(allowed_networks=(ip_network("127.0.0.0/8"),))
    return Fetcher(Link(policy, SystemResolver(), connect_timeout_seconds=5), b"test")


async def look(server: FakeEngine, known: str | None = None) -> Inspection:
    return await Inspector(fetcher(), 5).inspect(parse_endpoint(server.url), None, (), engine=known)


async def survey(server: FakeEngine, paths: Iterable[str]) -> dict[str, bytes]:
    """Fetch pages as they are polled: those that are answered with 200."""
    endpoint, found = parse_endpoint(server.url), {}
    for path in paths:
        answer = await fetcher().get(endpoint, path, api_key=None, timeout_seconds=5)
        if answer.status == 200:
            found[path] = answer.body
    return found


async def signals_of(kind: str, **knobs: Any) -> Signals:
    engine = engine_named(kind)
    async with serving(fake_engine(kind, **knobs)) as (server,):
        assert isinstance(server, FakeEngine)
        return engine.signals(await survey(server, engine.signal_paths()))


@pytest.mark.parametrize("kind", FAKE_ENGINES)
async def test_each_engine_is_known(kind: str) -> None:
    async with serving(fake_engine(kind, models=["lab/model:1b"], context=8192)) as (server,):
        assert isinstance(server, FakeEngine)
        found = await look(server)
    assert (found.failure, found.engine, found.reason) == (None, kind, "")
    assert found.models == (DiscoveredModel("lab/model:1b", 8192 if kind in CONTEXT_LISTED else None),)
    assert found.version == VERSIONS.get(kind, "")


@pytest.mark.parametrize("kind", FAKE_ENGINES)
async def test_an_engine_that_loads_is_told_from_one_that_is_busy_or_ill(kind: str) -> None:
    async with serving(fake_engine(kind, loading=True)) as (server,):
        assert isinstance(server, FakeEngine)
        found = await look(server, kind)
    says_so = kind not in {"ollama", "tgi"}  # the one is only busy, the other's shards are ill
    assert found.failure is (CheckFailure.LOADING if says_so else CheckFailure.NOT_READY)


@pytest.mark.parametrize(
    ("kind", "knobs", "signals"),
    [
        (
            "vllm",
            {"engines": 3, "running": 7, "waiting": 2, "cache_used": 0.5},
            Signals(running=7, waiting=2, cache_used=0.5),
        ),
        (
            "sglang",
            {"ranks": 2, "running": 7, "waiting": 2, "places": 9, "cache_used": 0.5},
            Signals(running=7, waiting=2, places=9, cache_used=0.5),
        ),
        (
            "llama.cpp",
            {"running": 3, "waiting": 1, "vision": True},
            Signals(
                running=3,
                waiting=1,
                places=4,
                contexts={"m": 4096},
                capabilities={"m": TALKS | {"vision", "tools"}},
                templates={"m": TEMPLATE_MARK},
            ),
        ),
        (
            "llama.cpp",
            {"metrics": False},
            Signals(
                places=4, contexts={"m": 4096}, capabilities={"m": TALKS | {"tools"}}, templates={"m": TEMPLATE_MARK}
            ),
        ),
        (
            "llama.cpp",
            {"router": True, "models": ["a", "b"], "loaded": ["b"]},
            Signals(loaded=frozenset({"b"}), contexts={"b": 4096}),
        ),
        (
            "ollama",
            {
                "models": ["a:1b", "b:latest"],
                "loaded": ["b:latest"],
                "context": 32768,
                "capabilities": {"a:1b": ["completion", "vision"]},
            },
            Signals(
                loaded=frozenset({"b:latest"}),
                contexts={"b:latest": 32768},
                capabilities={"a:1b": TALKS | {"vision"}},
            ),
        ),
        ("tgi", {"running": 2, "waiting": 5}, Signals(running=2, waiting=5, contexts={"m": 4096})),
        (
            "lmstudio",
            {"models": ["a", "b"], "loaded": ["a"], "kinds": {"b": "embeddings"}, "tools": ("a",)},
            Signals(
                loaded=frozenset({"a"}),
                contexts={"a": 4096},
                capabilities={"a": TALKS | {"tools"}, "b": frozenset({"embeddings"})},
            ),
        ),
        ("tabbyapi", {"places": 3}, Signals(places=3, loaded=frozenset({"m"}), contexts={"m": 4096})),
        ("tabbyapi", {"loaded": []}, Signals()),
        ("mlx-lm", {}, Signals()),
        ("llama-cpp-python", {}, Signals(places=1)),
        ("unknown", {}, Signals()),
    ],
)
async def test_each_engines_pages_are_read(kind: str, knobs: dict[str, Any], signals: Signals) -> None:
    assert await signals_of(kind, **knobs) == signals


async def test_old_sglang_without_loads_is_read_by_its_metrics() -> None:
    async with serving(fake_engine("sglang", running=4, waiting=1, metrics=True)) as (server,):
        assert isinstance(server, FakeEngine)
        answers = await survey(server, engine_named("sglang").signal_paths())
    del answers["/v1/loads?include=core"]
    assert engine_named("sglang").signals(answers) == Signals(running=4, waiting=1, cache_used=0.0)


@pytest.mark.parametrize("kind", FAKE_ENGINES)
async def test_each_engines_errors_are_understood(kind: str) -> None:
    refuse = ("400 Bad Request", "The prompt is too long for me.")
    async with serving(fake_engine(kind, refuse=refuse)) as (server,), httpx2.AsyncClient() as client:
        answer = await client.post(f"{server.url}/v1/chat/completions", json={"model": "m", "messages": []})
    assert answer.status_code == 400
    assert engine_named(kind).error_message(400, answer.content) == "The prompt is too long for me."


async def test_a_fake_that_swaps_loads_what_is_asked_for() -> None:
    async with serving(fake_engine("ollama", models=["a", "b", "c"], loaded=["a"])) as (server,):
        assert isinstance(server, FakeEngine)
        async with httpx2.AsyncClient() as client:
            for model in ("a", "b", "b"):
                body = {"model": model, "messages": []}
                assert (await client.post(f"{server.url}/v1/chat/completions", json=body)).status_code == 200
        found = engine_named("ollama").signals(await survey(server, ["/api/ps"]))
    assert server.loads == ["b"]
    assert found.loaded == {"b"}
