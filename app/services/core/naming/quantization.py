"""How is a model's quantization written in its name?

GGUF's types (``Q4_K_M``), floats, integers, and the methods that name themselves (AWQ, GPTQ, bitsandbytes, EXL2).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["canonical", "taken_out"]

_GGUF: Final = (
    r"(?:iq|q)[1-8](?:[_-](?:k(?:[_-](?:xxs|xs|s|m|l|xl|xxl))?|[01](?:[_-][48][_-][48])?|nl|xxs|xs|s|m|xl))?"
    r"|tq[12][_-]0|q[2-8]f(?:16|32)(?:[_-][01])?"
)
_PLAIN: Final = (
    r"(?:bf|fp|f|nvfp|mxfp|nf|mx)(?:4|6|8|16|32)|b?float(?:16|32)|e4m3|e5m2|int[2-8]|w\d{1,2}a\d{1,2}"
    r"|[2-8][_-]?bits?|\d{1,2}(?:\.\d{1,3})?bpw"
)
_METHODS: Final = r"awq|gptq|bnb|exl2|exl3|hqq|aqlm|quip|qat|dwq|autoround"
_WORD: Final = re.compile(
    rf"(?<![a-z0-9])(?!(?<=\d\.)\d)(?:(?P<type>{_GGUF}|{_PLAIN})|(?P<method>{_METHODS}))(?![a-z0-9])"
)
_SPELLINGS: Final = {"F16": "FP16", "FLOAT16": "FP16", "BFLOAT16": "BF16", "F32": "FP32", "FLOAT32": "FP32"}
_GGUF_TYPE: Final = re.compile(r"I?Q\d|TQ\d")


def taken_out(text: str) -> tuple[str, str]:
    """Part a name, in lower case, into what is left of it and its quantization; empty if it tells none."""
    methods: list[str] = []
    types: list[str] = []

    def take(found: re.Match[str]) -> str:
        (types if found["type"] else methods).append(canonical(found[0]))
        return " "

    rest = _WORD.sub(take, text)
    return rest, "-".join(dict.fromkeys([*methods, *types]))


def canonical(word: str) -> str:
    """Write one word of a quantization as most do: ``Q4_K_M``, ``FP16``, ``4BIT``."""
    upper = word.upper()
    if _GGUF_TYPE.match(upper):
        return upper.replace("-", "_")
    upper = upper.replace("-", "").replace("_", "")
    upper = upper.removesuffix("S") if upper.endswith("BITS") else upper
    return _SPELLINGS.get(upper, upper)
