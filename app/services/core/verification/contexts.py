"""Is a model's context as long as claimed? Found out without a long prompt, and without a long answer.

vLLM and SGLang refuse a ``max_tokens`` beyond the context and name it: no token is computed. One that takes it is cut
off as soon as it has begun, would end at the first word anyway, and is told to stop there. The others tell of
themselves how much they have allocated.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from app.services.core.verification.findings import Judgement, Subject, Verdict

__all__ = ["PROBED", "judge_length", "judge_taken", "named_length", "probe_body", "probe_length"]

PROBED: Final = frozenset({"vllm", "sglang", "llama-cpp-python", "unknown"})
"""Engines that are asked for more than they claim. The others say what they have, or may not stop when cut off."""
REFUSING: Final = frozenset({"vllm", "sglang"})
"""Engines that are known to refuse what goes beyond their context: what they take, they have."""
MAX_LENGTH: Final = 1_000_000_000
_SCANNED_CHARACTERS: Final = 4000
_NUMBER: Final = r"(?<![\d.-])(\d[\d,_]{0,12})(?!\d|\.\d)"
_NAMED: Final = tuple(
    re.compile(pattern.replace("#", _NUMBER), re.IGNORECASE)
    for pattern in (
        r"max(?:imum)?[ _-](?:context|model|sequence)[ _-]?(?:len(?:gth)?|size|window)?\D{0,40}?#",
        r"context[ _-]?(?:len(?:gth)?|size|window)?\D{0,40}?#",
        r"max(?:imum)?[ _-]?(?:total|model|seq)[ _-]?(?:tokens|len(?:gth)?)\D{0,40}?#",
        r"must be (?:<=|less than(?: or equal to)?|at most)\s*#",
    )
)


def probe_body(upstream_name: str, most_tokens: int) -> bytes:
    """Make a request that is refused where ``most_tokens`` is more than the context, and soon over elsewhere."""
    return msgspec.json.encode(
        {
            "model": upstream_name,
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": most_tokens,
            "stop": [" ", "\n", ",", "."],
            "temperature": 0,
            "stream": True,
        }
    )


def probe_length(claimed: int, *, again: bool = False) -> int:
    """Say how many tokens to ask for: one too many; or, where that was refused for less, what must be taken."""
    return claimed - claimed // 8 if again else claimed + 1


def named_length(body: bytes) -> int | None:
    """Read the context length that a refusal names, in tokens."""
    text = body[:_SCANNED_CHARACTERS].decode("utf-8", "replace")
    for pattern in _NAMED:
        found = pattern.search(text)
        if found is not None:
            length = int(found[1].replace(",", "").replace("_", ""))
            if 0 < length <= MAX_LENGTH:
                return length
    return None


def judge_length(claimed: int | None, found: int | None) -> Judgement:
    """Compare a claim with what was found, both in tokens."""
    if found is None:
        return Judgement(Subject.CONTEXT, Verdict.UNCLEAR, "its engine does not tell how long its context is")
    if claimed is None:
        return Judgement(Subject.CONTEXT, Verdict.OK, f"{found} tokens; no length is registered", float(found))
    if found < claimed:
        fix = f"register context_length {found}, or start the engine with more"
        return Judgement(
            Subject.CONTEXT, Verdict.MISMATCH, f"registered for {claimed} tokens, it has {found}: {fix}", float(found)
        )
    more = f"{found} tokens, more than the {claimed} that are registered" if found > claimed else f"{found} tokens"
    return Judgement(Subject.CONTEXT, Verdict.OK, more, float(found))


def judge_taken(claimed: int, engine: str, named: int | None = None) -> Judgement:
    """Judge a server that took what it was asked for; ``named``: after a refusal that named less."""
    if named is not None:
        detail = f"a refusal names {named} tokens, but it takes more; {claimed} are registered"
        return Judgement(Subject.CONTEXT, Verdict.UNCLEAR, detail)
    if engine in REFUSING:
        return Judgement(Subject.CONTEXT, Verdict.OK, f"takes at least the {claimed} tokens that are registered")
    return Judgement(Subject.CONTEXT, Verdict.UNCLEAR, "it takes whatever length it is asked for")
