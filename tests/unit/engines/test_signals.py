"""What each engine's own pages say of its load, its memory, its contexts and its models, as they were seen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.signals import NO_SIGNALS, Signals
from app.services.engines.identify import ENGINES, engine_named
from app.services.engines.interface import MAX_MODELS
from app.services.engines.reading import is_model_name

TALKS = frozenset({"chat", "completions"})

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="meta-llama/Llama-3.1-8B"} 3.0
vllm:num_requests_running{engine="1",model_name="meta-llama/Llama-3.1-8B"} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="meta-llama/Llama-3.1-8B"} 0.0
vllm:num_requests_waiting{engine="1",model_name="meta-llama/Llama-3.1-8B"} 2.0
vllm:num_requests_waiting_by_reason{engine="1",model_name="meta-llama/Llama-3.1-8B",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="meta-llama/Llama-3.1-8B"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="meta-llama/Llama-3.1-8B"} 0.25
"""
VLLM_OF_2024 = b"""vllm:num_requests_running{model_name="m"} 1.0
vllm:num_requests_waiting{model_name="m"} 0.0
vllm:gpu_cache_usage_perc{model_name="m"} 0.125
"""
SGLANG_METRICS = b"""sglang:num_running_reqs{engine_type="unified",model_name="m",tp_rank="0"} 5.0
sglang:num_queue_reqs{engine_type="unified",model_name="m",tp_rank="0"} 1.0
sglang:token_usage{engine_type="unified",model_name="m",tp_rank="0"} 0.28
"""
LLAMACPP_METRICS = b"""# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 2
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 7
"""
TGI_METRICS = b"tgi_request_count 12\ntgi_queue_size 4\ntgi_batch_current_size 9\n"


def sglang_loads(*ranks: dict[str, Any]) -> dict[str, Any]:
    return {"timestamp": "2026-09-01T00:00:00+00:00", "version": "0.5.23", "loads": list(ranks)}


def rank(running: object, waiting: object, places: object = 32, usage: object = 0.5) -> dict[str, Any]:
    return {
        "num_running_reqs": running,
        "num_waiting_reqs": waiting,
        "max_running_requests": places,
        "token_usage": usage,
    }


def llamacpp_entry(name: str, **members: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "owned_by": "llamacpp", **members}


LLAMACPP_LISTING = {
    "models": [{"name": "SmolLM2", "model": "SmolLM2", "capabilities": ["completion"]}],
    "data": [
        llamacpp_entry(
            "SmolLM2",
            aliases=["smol", "SmolLM2"],
            architecture={"input_modalities": ["text", "image"], "output_modalities": ["text"]},
            meta={"n_ctx": 2048, "n_ctx_train": 8192},
        )
    ],
}
LLAMACPP_PROPS = {
    "default_generation_settings": {"n_ctx": 2048},
    "total_slots": 4,
    "model_alias": "SmolLM2",
    "modalities": {"vision": True, "audio": False},
    "chat_template_caps": {"supports_tools": True, "supports_system_role": True},
    "is_sleeping": False,
}
LLAMACPP_SLOTS = [
    {"id": 0, "n_ctx": 2048, "is_processing": True},
    {"id": 1, "n_ctx": 2048, "is_processing": False},
]
ROUTER_LISTING = {
    "data": [
        llamacpp_entry("a", status={"value": "loaded", "args": ["llama-server"]}, meta={"n_ctx": 4096}),
        llamacpp_entry("b", status={"value": "unloaded"}),
        llamacpp_entry("c", status={"value": "loading"}),
        llamacpp_entry("d", status={"value": "sleeping"}),
    ]
}
ABLE = TALKS | {"vision", "tools"}
TABBY_CARD = {
    "id": "exl3-model",
    "owned_by": "tabbyAPI",
    "parameters": {"max_seq_len": 16384, "cache_size": 32768, "max_batch_size": 10, "use_vision": True},
}
LM_STUDIO = {
    "object": "list",
    "data": [
        {
            "id": "google/gemma-3-4b",
            "type": "vlm",
            "state": "loaded",
            "max_context_length": 131072,
            "loaded_context_length": 12918,
            "capabilities": ["tool_use"],
        },
        {"id": "qwen3-8b", "type": "llm", "state": "not-loaded", "max_context_length": 32768},
        {"id": "nomic", "type": "embeddings", "state": "not-loaded", "loaded_context_length": 2048},
    ],
}
OLLAMA_PS = {"models": [{"name": "llama3.1:8b", "model": "llama3.1:8b", "context_length": 8192, "size_vram": 1}]}
OLLAMA_TAGS = {
    "models": [
        {"name": "llama3.1:8b", "model": "llama3.1:8b", "capabilities": ["completion", "tools"]},
        {"name": "nomic-embed-text:latest", "capabilities": ["embedding"]},
        {"name": "gpt-oss:120b-cloud", "remote_model": "gpt-oss:120b", "remote_host": "https://ollama.com:443"},
    ]
}

SEEN: list[tuple[str, dict[str, object], Signals]] = [
    ("vllm", {"/metrics": VLLM}, Signals(running=7, waiting=2, cache_used=0.375)),
    ("vllm", {"/metrics": VLLM_OF_2024}, Signals(running=1, waiting=0, cache_used=0.125)),
    ("sglang", {"/metrics": SGLANG_METRICS}, Signals(running=5, waiting=1, cache_used=0.28)),
    (
        "sglang",
        {
            "/v1/loads?include=core": sglang_loads(rank(3, 0, 32, 0.25), rank(4, 2, 32, 0.75)),
            "/metrics": SGLANG_METRICS,
        },
        Signals(running=7, waiting=2, places=64, cache_used=0.5),
    ),
    ("sglang", {"/v1/loads?include=core": sglang_loads(rank(0, 0, 0, 2))}, Signals(running=0, waiting=0)),
    (
        "llama.cpp",
        {"/v1/models": LLAMACPP_LISTING, "/props": LLAMACPP_PROPS, "/metrics": LLAMACPP_METRICS},
        Signals(
            running=2,
            waiting=7,
            places=4,
            contexts={"SmolLM2": 2048, "smol": 2048},
            capabilities={"SmolLM2": ABLE, "smol": ABLE},
        ),
    ),
    (
        "llama.cpp",
        {"/props": {**LLAMACPP_PROPS, "is_sleeping": True}},
        Signals(places=4, loaded=frozenset(), contexts={"SmolLM2": 2048}),
    ),
    ("llama.cpp", {"/slots": LLAMACPP_SLOTS}, Signals(running=1, places=2)),
    (
        "llama.cpp",
        {"/slots": LLAMACPP_SLOTS, "/v1/models": {"data": [llamacpp_entry("m")]}},
        Signals(running=1, places=2, contexts={"m": 2048}),
    ),
    (
        "llama.cpp",
        {"/v1/models": ROUTER_LISTING, "/props": {"role": "router", "max_instances": 2}},
        Signals(loaded=frozenset({"a"}), contexts={"a": 4096}),
    ),
    (
        "ollama",
        {"/api/ps": OLLAMA_PS, "/api/tags": OLLAMA_TAGS},
        Signals(
            loaded=frozenset({"llama3.1:8b", "gpt-oss:120b-cloud"}),
            contexts={"llama3.1:8b": 8192},
            capabilities={
                "llama3.1:8b": TALKS | {"tools"},
                "nomic-embed-text:latest": frozenset({"embeddings"}),
            },
        ),
    ),
    ("ollama", {"/api/ps": {"models": []}}, Signals(loaded=frozenset())),
    ("ollama", {"/api/tags": {"models": []}}, NO_SIGNALS),
    ("tgi", {"/metrics": TGI_METRICS}, Signals(running=9, waiting=4)),
    (
        "tgi",
        {"/metrics": TGI_METRICS, "/info": {"model_id": "tgi-model", "max_total_tokens": 2048}},
        Signals(running=9, waiting=4, contexts={"tgi-model": 2048}),
    ),
    (
        "lmstudio",
        {"/api/v0/models": LM_STUDIO},
        Signals(
            loaded=frozenset({"google/gemma-3-4b"}),
            contexts={"google/gemma-3-4b": 12918},
            capabilities={
                "google/gemma-3-4b": TALKS | {"vision", "tools"},
                "qwen3-8b": TALKS,
                "nomic": frozenset({"embeddings"}),
            },
        ),
    ),
    ("lmstudio", {"/api/v0/models": {"data": []}}, Signals(loaded=frozenset())),
    ("lmstudio", {"/api/v0/models": {"data": [{"id": "a", "state": "loaded"}]}}, Signals(loaded=frozenset({"a"}))),
    ("lmstudio", {"/api/v0/models": {"error": "Unexpected endpoint or method."}}, NO_SIGNALS),
    (
        "tabbyapi",
        {"/v1/model": TABBY_CARD},
        Signals(
            places=10,
            loaded=frozenset({"exl3-model"}),
            contexts={"exl3-model": 16384},
            capabilities={"exl3-model": frozenset({"vision"})},
        ),
    ),
    ("tabbyapi", {"/v1/model": {"id": "exl3-model"}}, Signals(loaded=frozenset({"exl3-model"}))),
    ("mlx-lm", {}, NO_SIGNALS),
    ("llama-cpp-python", {}, Signals(places=1)),
    ("unknown", {}, NO_SIGNALS),
]


def as_bytes(pages: dict[str, object]) -> dict[str, bytes]:
    return {path: page if isinstance(page, bytes) else json.dumps(page).encode() for path, page in pages.items()}


@pytest.mark.parametrize(("engine", "pages", "signals"), SEEN)
def test_pages_as_seen(engine: str, pages: dict[str, object], signals: Signals) -> None:
    assert engine_named(engine).signals(as_bytes(pages)) == signals


@pytest.mark.parametrize(
    ("engine", "paths"),
    [
        ("vllm", ("/metrics",)),
        ("sglang", ("/v1/loads?include=core", "/metrics")),
        ("llama.cpp", ("/v1/models", "/props", "/metrics")),
        ("ollama", ("/api/ps", "/api/tags")),
        ("tgi", ("/metrics", "/info")),
        ("lmstudio", ("/api/v0/models",)),
        ("tabbyapi", ("/v1/model",)),
        ("mlx-lm", ()),
        ("llama-cpp-python", ()),
        ("unknown", ()),
    ],
)
def test_what_is_asked_for(engine: str, paths: tuple[str, ...]) -> None:
    assert engine_named(engine).signal_paths() == paths


def test_who_swaps_models() -> None:
    swapping = {engine.name for engine in ENGINES if engine.swaps_models}
    assert swapping == {"ollama", "lmstudio", "mlx-lm", "llama-cpp-python"}


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"<html>",
        b"[" * 100_000,
        b'{"loads":' + b"[" * 5000,
        b'{"loads":[{"num_running_reqs":' + b"1" + b"0" * 400 + b',"num_waiting_reqs":1}]}',
        b'{"loads":[{"num_running_reqs":true,"num_waiting_reqs":-1,"token_usage":1e400}]}',
        b'{"loads":[{"num_running_reqs":1.5}],"data":{"id":"a"},"models":"x","parameters":[]}',
        b'{"data":[{"id":["a"],"aliases":{"a":1},"status":"loaded","meta":[],"architecture":"text"}],"models":[7]}',
        b'{"data":[{"id":"a","state":["loaded"],"type":{},"capabilities":[[]]}]}',
        b'{"total_slots":0,"modalities":["vision"],"chat_template_caps":null,"default_generation_settings":{"n_ctx":-5}}',
        b'{"models":[{"name":"a\\nb","context_length":5},{"model":"","name":""},{"name":5},null,[]]}',
    ],
)
def test_hostile_pages_say_nothing(page: bytes) -> None:
    for engine in ENGINES:
        signals = engine.signals(dict.fromkeys(engine.signal_paths(), page))
        assert (signals.running, signals.waiting, signals.cache_used) == (None, None, None)
        assert not signals.contexts
        assert not signals.capabilities


def test_a_rank_that_says_nothing_makes_the_sum_unknown() -> None:
    pages = as_bytes({"/v1/loads?include=core": sglang_loads(rank(3, None), rank(4, 2, usage="full"))})
    assert engine_named("sglang").signals(pages) == Signals(running=7, places=64)


MANY = [f"m{number}" for number in range(3000)]


@pytest.mark.parametrize(
    ("engine", "path", "page"),
    [
        (
            "llama.cpp",
            "/v1/models",
            {"data": [llamacpp_entry(name, status={"value": "loaded"}, meta={"n_ctx": 9}) for name in MANY]},
        ),
        ("ollama", "/api/ps", {"models": [{"model": name, "context_length": 9} for name in MANY]}),
        (
            "lmstudio",
            "/api/v0/models",
            {"data": [{"id": name, "state": "loaded", "loaded_context_length": 9} for name in MANY]},
        ),
    ],
)
def test_lists_are_bounded(engine: str, path: str, page: object) -> None:
    signals = engine_named(engine).signals(as_bytes({path: page}))
    assert signals.loaded is not None
    assert len(signals.loaded) == len(signals.contexts) == MAX_MODELS


MEMBERS = """
    data id models model name loads status value state meta n_ctx aliases total_slots modalities capabilities
    parameters max_seq_len max_batch_size num_running_reqs num_waiting_reqs token_usage max_running_requests
    context_length loaded_context_length default_generation_settings
"""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6) | st.just("loaded"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(MEMBERS.split()),
            inner,
            max_size=5,
        )
    ),
    max_leaves=24,
)


@given(json_values, st.binary(max_size=30))
def test_any_page_gives_sane_signals(document: object, noise: bytes) -> None:
    body = json.dumps(document).encode()
    for engine in ENGINES:
        paths = (*engine.signal_paths(), "/slots")
        for answers in (dict.fromkeys(paths, body), dict.fromkeys(paths, noise), dict.fromkeys(paths, noise + body)):
            check_sane(engine.signals(answers))


def check_sane(signals: Signals) -> None:
    for count in (signals.running, signals.waiting):
        assert count is None or 0 <= count <= 1_000_000
    assert signals.places is None or 0 < signals.places <= 1_000_000
    assert signals.cache_used is None or 0 <= signals.cache_used <= 1
    assert all(is_model_name(name) for name in (*(signals.loaded or ()), *signals.contexts, *signals.capabilities))
    assert all(isinstance(context, int) and context > 0 for context in signals.contexts.values())
    assert all(signals.capabilities.values())


def templates_told(template: object) -> dict[str, str]:
    props = {**LLAMACPP_PROPS, "chat_template": template}
    pages = {"/v1/models": LLAMACPP_LISTING, "/props": props}
    return dict(
        engine_named("llama.cpp").signals({path: json.dumps(page).encode() for path, page in pages.items()}).templates
    )


def test_two_templates_have_one_mark_where_they_are_the_same() -> None:
    one, other = templates_told("{{ messages }}"), templates_told("{{ messages }}!")
    assert one.keys() == {"SmolLM2", "smol"}
    assert one == templates_told(" {{ messages }}\n")
    assert set(one.values()).isdisjoint(other.values())


@pytest.mark.parametrize("template", ["", "  ", None, 7, ["x"]])
def test_what_is_no_template_has_no_mark(template: object) -> None:
    assert templates_told(template) == {}
