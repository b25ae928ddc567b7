"""What did which server's model say to the fixed question, and which of them are twins? In memory alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.verification.twins import panel, votes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterator, Mapping

    from app.services.core.verification.findings import Judgement
    from app.services.core.verification.likeness import Sample
    from app.services.core.verification.rota import Key

__all__ = ["Samples"]

MOST_SAMPLES: Final = 20_000
"""Some 1 KB each. Beyond it the oldest go, and are not compared until they are asked again."""


class Samples:
    """The last sample of each model of each server. None stands for one that gave nothing to compare.

    Args:
        kind_of: says what two models must share to be one, by what their servers call them.
    """

    def __init__(self, kind_of: Callable[[str], Hashable]) -> None:
        self._kind_of = kind_of
        self._samples: dict[Key, Sample | None] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._samples

    def __len__(self) -> int:
        return len(self._samples)

    def put(self, key: Key, sample: Sample | None) -> None:
        """Keep what a model said, in place of what it said before."""
        self._samples.pop(key, None)
        self._samples[key] = sample
        if len(self._samples) > MOST_SAMPLES:
            del self._samples[next(iter(self._samples))]

    def forget(self, server_id: str) -> None:
        """Forget what a server's models said."""
        self._samples = {key: sample for key, sample in self._samples.items() if key[0] != server_id}

    def retain(self, served: Mapping[str, Collection[str]]) -> None:
        """Forget what is not served any more; ``served``: what servers call their models, by their ids."""
        self._samples = {key: sample for key, sample in self._samples.items() if key[1] in served.get(key[0], ())}

    def is_unheard_twin(self, key: Key, other: Key) -> bool:
        """Whether another is of one kind with a model, and nobody knows what it said."""
        return other not in self._samples and self._are_twins(key, other)

    def compare(self, key: Key) -> Iterator[tuple[Key, Judgement]]:
        """Judge a model's sample, and those that it was compared with."""
        sample = self._samples.get(key)
        if sample is None:
            return
        alike = {
            other[0]: (other, kept.words)
            for other, kept in self._samples.items()
            if kept is not None and kept.way == sample.way and self._are_twins(key, other)
        }
        alike[key[0]] = key, sample.words
        heard = {server_id: alike[server_id] for server_id in panel(key[0], alike)}
        judged = votes({server_id: words for server_id, (_key, words) in heard.items()})
        yield from ((heard[server_id][0], judgement) for server_id, judgement in judged.items())

    def _are_twins(self, one: Key, other: Key) -> bool:
        """Whether two are of one kind, on two servers."""
        return one[0] != other[0] and self._kind_of(one[1]) == self._kind_of(other[1])
