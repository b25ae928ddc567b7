"""Who asks what, and when? Conversations made from a seed: the same seed, the same bytes.

Users come one after the other, belong to groups that share a system prompt, think between their turns, and ask at times
that are drawn beforehand (open loop) but never before the last answer has come. Each turn repeats the whole
conversation, as the clients of chat completions do.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final

__all__ = ["BLOCK_TOKENS", "MODEL", "Conversation", "Trace", "Turn", "make_trace"]

MODEL: Final = "llama-3.1-8b"
BLOCK_TOKENS: Final = 32
"""Tokens in one block of a server's cache."""
_BYTES_A_TOKEN: Final = 4
_GROUPS: Final = 5
_SYSTEM_TOKENS: Final = (512, 2560)
_QUESTION_TOKENS: Final = (100, 2000)
_ANSWER_TOKENS: Final = (100, 700)
_THINK_SECONDS: Final = 45.0
_LEAST_THINK_SECONDS: Final = 10.0
_STARTS_WITHIN_SECONDS: Final = 600.0
_USER_BLOCKS: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Turn:
    """One request.

    Attributes:
        user: whose it is.
        number: which turn of the conversation, from 0.
        planned_at: when it is asked, in seconds, unless the last answer is late.
        body: the request as JSON.
        prompt_tokens: how long the prompt is.
        answer_tokens: how long the answer will be.
        blocks: what of the prompt and the answer can be in a cache, first to last; equal numbers are equal tokens.
    """

    user: int
    number: int
    planned_at: float
    body: bytes
    prompt_tokens: int
    answer_tokens: int
    blocks: tuple[int, ...]

    @property
    def prompt_blocks(self) -> tuple[int, ...]:
        """The blocks that the prompt fills."""
        return self.blocks[: self.prompt_tokens // BLOCK_TOKENS]


Conversation = tuple[Turn, ...]
Trace = tuple[Conversation, ...]


def make_trace(seed: int, users: int, turns: int) -> Trace:
    """Make conversations that grow to about 1,450 tokens a turn and the system prompt."""
    random = Random(seed)
    systems = [_words(random, random.randrange(*_SYSTEM_TOKENS, BLOCK_TOKENS)) for _group in range(_GROUPS)]
    return tuple(_conversation(random, user, turns, user % _GROUPS, systems[user % _GROUPS]) for user in range(users))


def _conversation(random: Random, user: int, turns: int, group: int, system: bytes) -> Conversation:
    system_tokens = len(system) // _BYTES_A_TOKEN
    shared = tuple(-(group * _USER_BLOCKS + place + 1) for place in range(system_tokens // BLOCK_TOKENS))
    starts_at = random.uniform(0.0, _STARTS_WITHIN_SECONDS)
    thinks = [_LEAST_THINK_SECONDS + random.expovariate(1 / _THINK_SECONDS) for _turn in range(turns - 1)]
    messages = [b'{"role":"system","content":"%b"}' % system]
    tokens, made = system_tokens, []
    for number, planned_at in enumerate(accumulate(thinks, initial=starts_at)):
        question_tokens, answer_tokens = random.randint(*_QUESTION_TOKENS), random.randint(*_ANSWER_TOKENS)
        messages.append(b'{"role":"user","content":"%b"}' % _words(random, question_tokens))
        body = b'{"model":"%b","messages":[%b],"stream":true}' % (MODEL.encode(), b",".join(messages))
        prompt_tokens = tokens + question_tokens
        tokens = prompt_tokens + answer_tokens
        own = range((user + 1) * _USER_BLOCKS, (user + 1) * _USER_BLOCKS + tokens // BLOCK_TOKENS - len(shared))
        made.append(Turn(user, number, planned_at, body, prompt_tokens, answer_tokens, (*shared, *own)))
        messages.append(b'{"role":"assistant","content":"%b"}' % _words(random, answer_tokens))
    return tuple(made)


def _words(random: Random, tokens: int) -> bytes:
    """Make text of so many tokens."""
    return base64.b64encode(random.randbytes(tokens * 3))
