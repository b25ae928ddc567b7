r"""How many tokens are so many bytes, for this model? Learnt from what servers count, never from estimates.

Bytes per token depend on the tokenizer, on the language and on what people send, so each model has a rate of its own:
a mean that moves with each count that a server reports, by little, whatever that says: servers that miscount, or lie,
pull it by a few percent while most do not. (The step is that of Huber's estimator, which is the mean of what lies near
and takes no more from what lies far.) It stays between 2 and 8 in any case.

Whoever sends much of one kind moves the mean for all. So nobody is refused by it: beside it stands the rate of the
lightest texts, which about 19 of 20 counts stay below. It follows slowly what is heavier than before, and never goes
beyond a quarter more than the mean, or than the default where that is more: servers that lie can't lift it far.

What is counted is text as UTF-8 (``core.prompt.demand_reading`` measures it): neither pictures nor ``\uXXXX`` escapes.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DEFAULT_RATE", "HIGHEST_RATE", "LOWEST_RATE", "TokenRates", "least_tokens"]

DEFAULT_RATE: Final = 4.0
"""Bytes per token of a model of which nothing is known: about what English text and JSON have."""
LOWEST_RATE: Final = 2.0
HIGHEST_RATE: Final = 8.0
"""No tokenizer takes more bytes of real text for one token, on average."""
MOST_MODELS: Final = 4096
LEAST_BYTES: Final = 1024
LEAST_TOKENS: Final = 128
"""Shorter prompts are mostly template and JSON: they say nothing of long ones, which are what is asked about."""
_FARTHEST: Final = 1.5
"""A count so far beyond the bounds is no count of this text: the prompt was cut, or answered from somewhere else."""
_LEAST_STEP: Final = 1 / 32
_STRIDE: Final = 1 / 8
"""What one count says beyond so much of the rate is not listened to."""
_LIGHT_RISE: Final = 19 / 1024
_LIGHT_FALL: Final = 1 / 1024
"""Steps of a quantile: it rests where one count in twenty is above it. 60 heavy prompts pull it down by 6 %."""
_LIGHT_MOST: Final = 1.25
_ENOUGH: Final = 32
_ONE_IN: Final = 16
"""After so many counts of a model one in so many is taken: measuring a prompt takes some microseconds."""

_UNKNOWN: Final = (DEFAULT_RATE, 1, DEFAULT_RATE)
"""Of a model that was never counted: the mean, how many counts are in it, the rate of the lightest texts."""


class TokenRates:
    """Bytes per token by model, for the models that were counted last.

    Args:
        most_models: how many are remembered; who was counted longest ago is forgotten first.
    """

    __slots__ = ("_most_models", "_rates", "_turn")

    def __init__(self, most_models: int = MOST_MODELS) -> None:
        self._most_models = most_models
        self._rates: dict[str, tuple[float, int, float]] = {}
        self._turn = 0

    def __len__(self) -> int:
        return len(self._rates)

    def wants(self, model: str) -> bool:
        """Whether the next count of a model would be of use."""
        known = self._rates.get(model)
        if known is None or known[1] < _ENOUGH:
            return True
        self._turn = (self._turn + 1) % _ONE_IN
        return self._turn == 0

    def note(self, model: str, prompt_bytes: int, prompt_tokens: int) -> None:
        """Take in one count.

        Args:
            model: as clients name it.
            prompt_bytes: the text of the prompt, in UTF-8.
            prompt_tokens: what the server reported, not what was estimated.
        """
        if prompt_bytes < LEAST_BYTES or prompt_tokens < LEAST_TOKENS:
            return
        seen = prompt_bytes / prompt_tokens
        if not LOWEST_RATE / _FARTHEST <= seen <= HIGHEST_RATE:
            return
        rates = self._rates
        rate, counted, light = rates.pop(model, _UNKNOWN)  # the default counts as one that was seen
        stride = rate * max(_STRIDE, 1 / counted)
        moved = rate + min(max(seen - rate, -stride), stride) * max(1 / (counted + 1), _LEAST_STEP)
        rate = min(max(moved, LOWEST_RATE), HIGHEST_RATE)
        light *= 1 + _LIGHT_RISE if seen > light else 1 - _LIGHT_FALL
        most = min(_LIGHT_MOST * max(rate, DEFAULT_RATE), HIGHEST_RATE)
        rates[model] = rate, counted + 1, min(max(light, rate), most)  # now the last to be forgotten
        if len(rates) > self._most_models:
            del rates[next(iter(rates))]

    def rate(self, model: str) -> float:
        """Bytes per token."""
        return self._rates.get(model, _UNKNOWN)[0]

    def tokens(self, model: str, prompt_bytes: int) -> int:
        """Estimate how many tokens so much text has."""
        return -int(-prompt_bytes // self.rate(model))

    def low_tokens(self, model: str, prompt_bytes: int) -> int:
        """Estimate how many tokens so much text has if it is as light as the lightest that were counted."""
        return -int(-prompt_bytes // self._rates.get(model, _UNKNOWN)[2])


def least_tokens(prompt_bytes: int) -> int:
    """How many tokens so much text surely has, whatever the tokenizer."""
    return prompt_bytes // int(HIGHEST_RATE)
