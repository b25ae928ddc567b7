"""What is read from the names that models have out there?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.naming.reading import read_name

DISTILLED = ("deepseek", "distill", "r1")
WINDOWS = r"C:\models\Meta-Llama-3.1-8B-Instruct-Q8_0.gguf"
CACHED = "/root/.cache/huggingface/hub/models--meta-llama--Llama-3.1-8B-Instruct/snapshots/" + "0e9e39f249" * 4

# name: family, version, size, variant, quantization
TABLE = {
    "llama3.1:8b": ("llama", "3.1", "8b", "instruct", ""),
    "llama3.1": ("llama", "3.1", "", "instruct", ""),
    "llama3.1:latest": ("llama", "3.1", "", "instruct", ""),
    "llama3.1:8b-instruct-q4_K_M": ("llama", "3.1", "8b", "instruct", "Q4_K_M"),
    "llama3.1:8b-instruct-fp16": ("llama", "3.1", "8b", "instruct", "FP16"),
    "llama3.1:8b-text-q4_0": ("llama", "3.1", "8b", "base", "Q4_0"),
    "library/llama3.1:8b": ("llama", "3.1", "8b", "instruct", ""),
    "llama2:7b-chat": ("llama", "2", "7b", "instruct", ""),
    "meta-llama/Llama-2-7b-chat-hf": ("llama", "2", "7b", "instruct", ""),
    "meta-llama/Llama-3.1-8B-Instruct": ("llama", "3.1", "8b", "instruct", ""),
    "meta-llama/Llama-3.1-8B": ("llama", "3.1", "8b", "base", ""),
    "meta-llama/Meta-Llama-3.1-8B-Instruct": ("llama", "3.1", "8b", "instruct", ""),
    "meta-llama/Meta-Llama-3-8B-Instruct": ("llama", "3", "8b", "instruct", ""),
    "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF": ("llama", "3.1", "8b", "instruct", ""),
    "/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf": ("llama", "3.1", "8b", "instruct", "Q4_K_M"),
    "./Meta-Llama-3.1-8B-Instruct.IQ4_XS.gguf": ("llama", "3.1", "8b", "instruct", "IQ4_XS"),
    WINDOWS: ("llama", "3.1", "8b", "instruct", "Q8_0"),
    r"C:\models\x.gguf": ("", "", "", "", ""),
    CACHED: ("llama", "3.1", "8b", "instruct", ""),
    "/models/Meta-Llama-3.1-8B-Instruct/ggml-model-q4_k_m.gguf": ("llama", "3.1", "8b", "instruct", "Q4_K_M"),
    "hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4": ("llama", "3.1", "8b", "instruct", "AWQ-INT4"),
    "neuralmagic/Meta-Llama-3.1-8B-Instruct-quantized.w4a16": ("llama", "3.1", "8b", "instruct", "W4A16"),
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic": ("llama", "3.1", "8b", "instruct", "FP8"),
    "unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit": ("llama", "3.1", "8b", "instruct", "BNB-4BIT"),
    "mlx-community/Meta-Llama-3.1-8B-Instruct-4bit": ("llama", "3.1", "8b", "instruct", "4BIT"),
    "turboderp/Llama-3.1-8B-Instruct-exl2-4.0bpw": ("llama", "3.1", "8b", "instruct", "EXL2-4.0BPW"),
    "TheBloke/Llama-2-7B-Chat-GPTQ": ("llama", "2", "7b", "instruct", "GPTQ"),
    "accounts/fireworks/models/llama-v3p1-8b-instruct": ("llama", "3.1", "8b", "instruct", ""),
    "@cf/meta/llama-3.1-8b-instruct": ("llama", "3.1", "8b", "instruct", ""),
    "meta-llama/llama-3.1-8b-instruct:free": ("llama", "3.1", "8b", "instruct", ""),
    "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M": ("llama", "3.2", "1b", "instruct", "Q4_K_M"),
    "hf.co/bartowski/Llama-3.2-1B-GGUF:Q4_K_M": ("llama", "3.2", "1b", "base", "Q4_K_M"),
    "lmstudio-community/Llama-3.2-1B-Instruct-GGUF/Llama-3.2-1B-Instruct-Q6_K.gguf": (
        "llama", "3.2", "1b", "instruct", "Q6_K",
    ),
    "meta-llama-3.1-8b-instruct@q4_k_m": ("llama", "3.1", "8b", "instruct", "Q4_K_M"),
    "llama-3-1-8b-instruct": ("llama", "3.1", "8b", "instruct", ""),
    "llama-3.1-8b": ("llama", "3.1", "8b", "", ""),
    "llama3.2-vision:11b": ("llama", "3.2", "11b", "vision-instruct", ""),
    "meta-llama/Llama-3.2-11B-Vision-Instruct": ("llama", "3.2", "11b", "vision-instruct", ""),
    "llama-guard3:8b": ("llama", "3", "8b", "guard", ""),
    "meta-llama/Llama-Guard-3-8B": ("llama", "3", "8b", "guard", ""),
    "Qwen/Qwen2.5-Coder-32B-Instruct-FP8": ("qwen", "2.5", "32b", "coder-instruct", "FP8"),
    "qwen2.5-coder:32b": ("qwen", "2.5", "32b", "coder-instruct", ""),
    "qwen2-5-7b-instruct": ("qwen", "2.5", "7b", "instruct", ""),
    "Qwen/Qwen2.5-7B": ("qwen", "2.5", "7b", "base", ""),
    "Qwen/Qwen3-8B": ("qwen", "3", "8b", "instruct", ""),
    "Qwen/Qwen3-8B-Base": ("qwen", "3", "8b", "base", ""),
    "qwen3:8b": ("qwen", "3", "8b", "instruct", ""),
    "Qwen_Qwen3-8B-Q4_K_M.gguf": ("qwen", "3", "8b", "instruct", "Q4_K_M"),
    "qwen3-coder:30b": ("qwen", "3", "30b", "coder-instruct", ""),
    "qwen2.5vl:7b": ("qwen", "2.5", "7b", "vision-instruct", ""),
    "Qwen/Qwen2.5-VL-7B-Instruct": ("qwen", "2.5", "7b", "vision-instruct", ""),
    "qwen3-embedding:0.6b": ("qwen", "3", "0.6b", "embed", ""),
    "Qwen/Qwen3-Embedding-0.6B": ("qwen", "3", "0.6b", "embed", ""),
    "Qwen2.5-0.5B-Instruct-q4f16_1-MLC": ("qwen", "2.5", "0.5b", "instruct", "Q4F16_1"),
    "gpt-oss:120b": ("gpt-oss", "", "120b", "instruct", ""),
    "openai/gpt-oss-120b": ("gpt-oss", "", "120b", "instruct", ""),
    "deepseek-r1:7b": ("qwen", "", "7b", "instruct", ""),
    "deepseek-r1:70b": ("llama", "", "70b", "instruct", ""),
    "deepseek-r1:8b": ("", "", "", "", ""),
    "deepseek-r1": ("", "", "", "", ""),
    "deepseek-r1:671b": ("deepseek", "r1", "671b", "instruct", ""),
    "deepseek-ai/DeepSeek-R1": ("deepseek", "r1", "671b", "instruct", ""),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": ("qwen", "", "7b", "instruct", ""),
    "DeepSeek-V3-0324-UD-Q2_K_XL-00001-of-00006.gguf": ("deepseek", "3", "", "instruct", "Q2_K_XL"),
    "mixtral:8x7b": ("mixtral", "", "8x7b", "instruct", ""),
    "mistralai/Mixtral-8x7B-Instruct-v0.1": ("mixtral", "", "8x7b", "instruct", ""),
    "mistralai/Mistral-7B-Instruct-v0.3": ("mistral", "0.3", "7b", "instruct", ""),
    "gemma3:270m": ("gemma", "3", "270m", "instruct", ""),
    "google/gemma-3-270m-it": ("gemma", "3", "270m", "instruct", ""),
    "google/gemma-3-270m": ("gemma", "3", "270m", "base", ""),
    "gemma3n:e2b": ("gemma", "3n", "e2b", "instruct", ""),
    "google/gemma-3n-E2B-it": ("gemma", "3n", "e2b", "instruct", ""),
    "gemma3:27b-it-qat": ("gemma", "3", "27b", "instruct", "QAT"),
    "google_gemma-3-12b-it-Q4_K_M.gguf": ("gemma", "3", "12b", "instruct", "Q4_K_M"),
    "SmolLM2-135M-Instruct-Q8_0": ("smollm", "2", "135m", "instruct", "Q8_0"),
    "HuggingFaceTB/SmolLM2-135M": ("smollm", "2", "135m", "base", ""),
    "TinyLlama-1.1B-Chat-v1.0.Q4_K_M.gguf": ("tinyllama", "1", "1.1b", "instruct", "Q4_K_M"),
    "nomic-embed-text": ("nomic-embed-text", "", "", "embed", ""),
    "nomic-ai/nomic-embed-text-v1.5": ("nomic-embed-text", "1.5", "", "embed", ""),
    "text-embedding-nomic-embed-text-v1.5@q8_0": ("nomic-embed-text", "1.5", "", "embed", "Q8_0"),
    "phi4": ("phi", "4", "", "instruct", ""),
    "microsoft/phi-4": ("phi", "4", "", "instruct", ""),
    "moonshotai/Kimi-K2-Instruct": ("kimi", "k2", "", "instruct", ""),
    "kimi-k2:1t": ("kimi", "k2", "1t", "instruct", ""),
    "gpt-4o": ("", "", "", "", ""),
    "gpt-3.5-turbo": ("", "", "", "", ""),
    "default": ("", "", "", "", ""),
    "meta-llama/SomethingElse-7B": ("", "", "", "", ""),
    "ggml-model-q4_0.gguf": ("", "", "", "", "Q4_0"),
    "": ("", "", "", "", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_what_a_name_tells(name: str) -> None:
    traits = read_name(name)
    told = (traits.family, traits.version, traits.size, traits.variant, traits.quantization)
    assert told == TABLE[name]
    assert traits.known is bool(TABLE[name][0])


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("deepseek-r1:7b", DISTILLED),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", DISTILLED),
        ("deepseek-r1:8b-llama-distill-q4_K_M", DISTILLED),
        ("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", ("0528", "deepseek", "r1")),
        ("NousResearch/Hermes-3-Llama-3.1-8B", ("3", "hermes")),
        ("dolphin-mixtral:8x7b", ("dolphin",)),
        ("huihui-ai/Llama-3.1-8B-Instruct-abliterated", ("abliterated",)),
        ("Qwen/Qwen2.5-7B-Instruct-1M", ("1m",)),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", ("2507",)),
        ("microsoft/Phi-3-mini-128k-instruct", ("128k", "mini")),
        ("bartowski/Qwen_QwQ-32B-GGUF", ()),
        ("meta-llama/Llama-3.1-8B-Instruct", ()),
    ],
)
def test_other_words_are_kept(name: str, others: tuple[str, ...]) -> None:
    assert read_name(name).others == others


def test_what_one_token_takes_is_no_size() -> None:
    traits = read_name("Qwen/Qwen3-Coder-480B-A35B-Instruct")
    assert (traits.size, traits.active) == ("480b", "a35b")
    assert read_name("Qwen/Qwen3-8B").active == ""


def test_a_variant_that_is_left_out_is_told_apart() -> None:
    assert read_name("google/gemma-3-4b-it").variant_told
    assert read_name("nomic-embed-text").variant_told
    assert not read_name("gemma3:4b").variant_told
    assert read_name("nomic-embed-text").makes_vectors
    assert not read_name("gemma3:4b").makes_vectors


PIECES = st.sampled_from(
    ["llama", "3.1", "8b", "-", ":", "/", "\\", "@", ".", "_", "q4_k_m", "awq", "gguf", "models--", "r1", "deepseek"]
)


@given(st.one_of(st.text(max_size=400), st.lists(PIECES, max_size=60).map("".join)))
def test_any_text_is_read_and_what_was_read_is_small(name: str) -> None:
    traits = read_name(name)
    assert traits == read_name.__wrapped__(name)
    texts = [traits.family, traits.version, traits.size, traits.active, traits.variant, traits.quantization]
    assert sum(map(len, [*texts, *traits.others])) <= 4 * len(name) + 64
    assert list(traits.others) == sorted(set(traits.others))
    if not traits.known:
        assert (traits.version, traits.size, traits.variant, traits.others) == ("", "", "", ())


@given(st.sampled_from([name for name in TABLE if name]), st.sampled_from([str.upper, str.lower, str.strip]))
def test_case_does_not_matter(name: str, change) -> None:
    assert read_name(change(name)) == read_name(name)


@given(
    st.sampled_from([("llama", "3.1"), ("qwen", "2.5"), ("gemma", "3"), ("smollm", "2")]),
    st.sampled_from(["135m", "0.5b", "8b", "8x7b"]),
    st.sampled_from(["instruct", "base", "coder-instruct", "thinking"]),
    st.sampled_from(["", "Q4_K_M", "FP16", "AWQ", "AWQ-INT4", "FP8", "IQ2_XXS", "BNB-4BIT"]),
)
def test_what_is_written_from_traits_is_read_back(placed, size, variant, quantization) -> None:
    family, version = placed
    name = f"org/{family}-{version}-{size}-{variant}" + (f"-{quantization}" if quantization else "")
    traits = read_name(name)
    assert (traits.family, traits.version, traits.size, traits.variant) == (family, version, size, variant)
    assert (traits.quantization, traits.others) == (quantization, ())


def test_a_name_that_is_too_long_is_not_read() -> None:
    assert not read_name("llama3.1:8b" + "-x" * 200).known
