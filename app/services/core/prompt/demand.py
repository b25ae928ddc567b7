"""What does a request ask of the server that it goes to: how long a context, and which one knows its beginning?"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["NO_DEMAND", "Demand", "Home"]


class Home(msgspec.Struct, frozen=True, gc=False):
    """A server that probably has the beginning of a prompt in its cache.

    Attributes:
        server_id: which one.
        known_bytes: how much of the prompt it saw before; 0 where a session is all that speaks for it.
        by: ``session``, ``prefix``, or ``placed`` for a server that is free to learn it.
    """

    server_id: str
    known_bytes: int
    by: str


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What the choice of a server has to know of a request. Most requests need none of it and have no demand.

    Attributes:
        least_tokens: what the prompt surely has, whatever the tokenizer.
        prompt_tokens: what it has by what was learnt of the model.
        low_tokens: what it has if it is as light as the lightest that were counted of the model: nobody is refused for
            more. 0 where there is no such figure.
        answer_tokens: the most that the client asks for; 0 where it sets no limit.
        homes: servers that know its beginning, best first.
        member: of the body, which holds the prompt: for the words of a refusal.
        refused_at: the largest context, in tokens, of a server that refused it as too long; 0 where none did.
    """

    least_tokens: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    homes: tuple[Home, ...] = ()
    member: str = "messages"
    low_tokens: int = 0
    refused_at: int = 0


NO_DEMAND: Final = Demand()
