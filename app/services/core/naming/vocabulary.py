"""Which words do the names of models have, and what do they mean?

What the publishers themselves write on Hugging Face and in Ollama's library. A word that is in no table is kept as it
is and tells models apart, so that a fine-tune is never taken for what it was made from.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BRANCHES",
    "CHAT_SINCE",
    "DISTILLED_BY_SIZE",
    "FAMILIES",
    "GENERIC",
    "NOISE",
    "ONLY_VERSION",
    "PUBLISHERS",
    "SIZE_WORDS",
    "TUNINGS",
    "VECTOR_FAMILIES",
    "WITHOUT_TUNING",
]

_SINGLE: Final = (
    "alpaca apertus arcee aya baichuan bakllava bge bloom bitnet chatglm codegemma codegen codellama codeqwen "
    "codestral cogito dbrx deepcoder deepscaler deepseek devstral dolly e5 embeddinggemma ernie exaone falcon gemma "
    "glm granite grok gte hunyuan internlm internvl jais jamba kimi lfm ling llama llava longcat magistral mamba marco "
    "medgemma mimo minicpm minimax ministral mistral mixtral molmo moondream mpt nemotron neural nextstep olmo olmoe "
    "openchat opencoder openelm openthinker opt orca orion paligemma persimmon phi pixtral plamo pythia qvq qwen qwq "
    "redpajama ring rwkv shieldgemma smollm smolvlm solar stable stablelm starcoder starling step t5 tinyllama "
    "translategemma tulu vicuna voxtral whisper wizardcoder wizardlm xgen xverse yi zamba zephyr"
)
_SEVERAL: Final = (
    "gpt oss",
    "gpt neox",
    "gpt j",
    "seed oss",
    "command r",
    "command a",
    "nomic embed text",
    "nomic embed code",
    "mxbai embed",
    "mxbai rerank",
    "snowflake arctic embed",
    "jina embeddings",
    "jina reranker",
    "all minilm",
    "all mpnet",
    "paraphrase multilingual",
)

FAMILIES: Final[dict[tuple[str, ...], str]] = {
    **{(word,): word for word in _SINGLE.split()},
    **{tuple(words.split()): words.replace(" ", "-") for words in _SEVERAL},
    ("gptoss",): "gpt-oss",
}
"""Families by the words that name them."""

VECTOR_FAMILIES: Final = frozenset(
    {
        "all-minilm",
        "all-mpnet",
        "bge",
        "e5",
        "embeddinggemma",
        "gte",
        "jina-embeddings",
        "mxbai-embed",
        "nomic-embed-code",
        "nomic-embed-text",
        "paraphrase-multilingual",
        "snowflake-arctic-embed",
    }
)
"""Families of models that make vectors, whether the name says so or not."""

BRANCHES: Final[dict[str, str]] = {
    "audio": "audio",
    "code": "coder",
    "coder": "coder",
    "embed": "embed",
    "embedding": "embed",
    "embeddings": "embed",
    "guard": "guard",
    "math": "math",
    "ocr": "ocr",
    "omni": "omni",
    "rerank": "rerank",
    "reranker": "rerank",
    "reward": "reward",
    "tts": "tts",
    "vision": "vision",
    "vl": "vision",
}
"""What a model was made for."""

WITHOUT_TUNING: Final = frozenset({"embed", "guard", "rerank", "reward", "tts"})
"""Branches whose models are neither base nor instruct: nothing is left out of a name that says neither."""

TUNINGS: Final[dict[str, str]] = {
    "base": "base",
    "chat": "instruct",
    "inst": "instruct",
    "instruct": "instruct",
    "instruction": "instruct",
    "it": "instruct",
    "pretrained": "base",
    "pt": "base",
    "reasoner": "thinking",
    "reasoning": "thinking",
    "text": "base",
    "think": "thinking",
    "thinking": "thinking",
}
"""What it was tuned to."""

CHAT_SINCE: Final[dict[str, float]] = {
    "command-r": 0,
    "command-a": 0,
    "deepseek": 0,
    "devstral": 0,
    "exaone": 0,
    "glm": 4.5,
    "gpt-oss": 0,
    "granite": 4,
    "grok": 0,
    "hunyuan": 0,
    "kimi": 0,
    "lfm": 0,
    "magistral": 0,
    "mimo": 0,
    "minimax": 0,
    "nemotron": 0,
    "phi": 4,
    "qvq": 0,
    "qwen": 3,
    "qwq": 0,
    "seed-oss": 0,
    "smollm": 3,
}
"""From which version on a publisher gives the plain name to the model that chats; the others give it to the base."""

ONLY_VERSION: Final[dict[str, str]] = {"mixtral": "0.1"}
"""Families of which one version was ever made, so that a name which leaves it out means that one."""

DISTILLED_BY_SIZE: Final[dict[str, str]] = {"1.5b": "qwen", "7b": "qwen", "14b": "qwen", "32b": "qwen", "70b": "llama"}
"""What Ollama's small ``deepseek-r1`` were made from. Its ``8b`` was one model first and another one later."""

SIZE_WORDS: Final = frozenset({"large", "lite", "medium", "micro", "mini", "nano", "nemo", "small", "tiny", "xl", "xs"})
"""Words that may stand between family and version."""

_PACKING: Final = (
    "ai asym c4ai gguf ggml google hf i1 ibm imat imatrix latest llamafile meta microsoft mistralai mlc mlx nvidia "
    "openai 128g 32g g128 g32 gs128 dynamic official onnx quant quantized sym ud unsloth"
)

NOISE: Final = frozenset(_PACKING.split())
"""Words that say how a model is packed, or by whom."""

PUBLISHERS: Final = frozenset(
    {
        "allenai", "baai", "cohereforai", "deepseek-ai", "google", "huggingfacetb", "ibm-granite", "lgai-exaone",
        "meta-llama", "microsoft", "mistralai", "moonshotai", "nousresearch", "nvidia", "openai", "qwen", "thudm",
        "tiiuae", "zai-org",
    }
)  # fmt: skip
"""Who stands before an underscore in the names of files that others made smaller."""

GENERIC: Final = frozenset({"consolidated", "default", "ggml", "main", "model", "models", "snapshots", "weights"})
"""Words of file names that name no model: then the folder does."""
