"""May a request go home, or is that server too busy?

Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016): a request goes where its data is, as long
as no server has more than 1.25 times its share of what is in flight. With ``total`` requests in flight, this one among
them, on ``count`` servers, home may have at most

    2 + ceil(1.25 * total / count)

with this one: rounded up, as a request can't be cut in parts, and two more. Where few are in flight, how many of them
meet on one server is chance: without the two, two conversations on an idle pool would throw each other about, and where
servers have two or three requests each, every eighth turn would read its whole prompt anew elsewhere. Who has a hundred
is held to 1.27 times its share. Beside the bound, home must have a free place under its own cap.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ALWAYS_LET_IN", "is_within"]

ALWAYS_LET_IN: Final = 3
"""The bound is three at least, this request among them."""
_FIVE, _FOUR = 5, 4
"""1.25 as whole numbers: a division of them is exact."""


def is_within(in_flight: int, others: int, count: int) -> bool:
    """Say whether home is within the bound, its cap apart. Of very many servers, a sample of others will do.

    Args:
        in_flight: requests that run at home, without this one.
        others: requests that run on the other servers that would do, together.
        count: how many others there are.
    """
    return in_flight <= 1 - (-_FIVE * (others + in_flight + 1) // (_FOUR * (count + 1)))
