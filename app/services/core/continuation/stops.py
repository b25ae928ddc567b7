"""Where does a stop string end that began in the delivered text and is completed in the continued one?

The server that goes on looks for stop strings in its own text only: what the client already has is a prompt to it. So a
stop string that was delivered in part, by an engine that does not hold such a part back (or must not, as the string is
part of the answer), would never be found. Looked for here are the matches across the seam, and no others.

Each begins in what was delivered, so all that was said since is part of it, or it is none. Hence nothing waits but
while a match is still possible, which it nearly never is; and then everything waits. Of several stop strings the one
that ends first counts, as in vLLM 0.33 (``check_stop_strings``); its ties, which go by the list's order, make no
difference here. Sans-I/O: texts come in, texts that may go out are returned.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.services.core.continuation.asked import Asked
    from app.services.core.continuation.delivered import Delivered

__all__ = ["MOST_STEPS", "StopScan", "ends_in_stop"]

MOST_STEPS = 65536
"""How many characters of the delivered text are gone through, over all stop strings: about 15 ms. Four of them may
have had 16,384 characters each delivered and are still found."""

_half = re.compile("[\ud800-\udfff]").search


def ends_in_stop(asked: Asked, delivered: Delivered) -> bool:
    """Whether the delivered text ends with a stop string, which is part of it: then nothing is left to say."""
    return asked.keeps_stop and delivered.content.endswith(asked.stops) and delivered.tokens >= (asked.min_tokens or 0)


class StopScan:
    """Looks for stop strings across one seam.

    Args:
        stops: none of them empty.
        delivered: the text that the client has.
        keeps_stop: a stop string is part of the answer: then it goes out, up to its end, and nothing waits.
        unstoppable_texts: in how many of the texts to come no stop string may end, as ``min_tokens`` are not out yet.
    """

    __slots__ = ("_held", "_keeps_stop", "_live", "_split", "_unstoppable_texts", "stopped")

    def __init__(
        self, stops: Sequence[str], delivered: str, *, keeps_stop: bool = False, unstoppable_texts: int = 0
    ) -> None:
        self._live = _begun(stops, delivered)
        self._keeps_stop = keeps_stop
        self._unstoppable_texts = unstoppable_texts
        self._held = ""
        self._split = ""
        """The first half of a character that an engine wrote as two (UTF-16 surrogates)."""
        self.stopped = False
        """Whether a stop string was completed: the answer ends."""

    @property
    def searching(self) -> bool:
        """Whether a match is still possible."""
        return bool(self._live)

    def feed(self, text: str) -> str:
        """Take the text of one event; return what may go out now. After a match nothing may."""
        if not self._live or not text:
            return "" if self.stopped else text
        text = self._whole(self._split + text)
        counts = self._unstoppable_texts <= 0
        self._unstoppable_texts -= 1
        for place, character in enumerate(text):
            self._live = [match for match in self._live if match.goes_on(character)]
            if counts and any(match.complete for match in self._live):
                return self._stop(text[: place + 1])
        if self._keeps_stop:
            return text if self._live else text + self.end()
        self._held += text
        return "" if self._live else self.end()

    def end(self) -> str:
        """Take note that no text follows, or something else than text; return what was held."""
        if self.stopped:
            return ""
        held, self._held, self._split, self._live = self._held + self._split, "", "", []
        return held

    def _stop(self, last: str) -> str:
        self.stopped = True
        self._live = []
        self._held = self._split = ""
        return last if self._keeps_stop else ""

    def _whole(self, text: str) -> str:
        """Join the halves of characters; keep one back whose other half is still to come."""
        self._split = ""
        if _half(text) is None:
            return text
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._split = text[:-1], text[-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _begun(stops: Sequence[str], delivered: str) -> list[_Match]:
    """The stop strings that the delivered text may end in a part of."""
    most = MOST_STEPS // max(1, len(stops))
    matches = [_Match(stop, delivered[-min(len(stop) - 1, most) :]) for stop in stops if len(stop) > 1]
    return [match for match in matches if match.possible]


class _Match:
    """The earliest beginning of one stop string that is still possible, by Knuth, Morris and Pratt.

    Each character costs a few steps, however the stop string and the text repeat themselves.
    """

    __slots__ = ("_borders", "_matched", "_since", "_stop")

    def __init__(self, stop: str, tail: str) -> None:
        self._stop = stop
        self._borders = [0, 0]
        """How many characters the first n begin and end with alike, for n from 0. It grows as far as it is asked."""
        self._matched = 0
        self._since = 0
        """How many characters were said since the seam."""
        for character in tail:
            self._advance(character)

    @property
    def possible(self) -> bool:
        """Whether it begins in what was delivered, and not after it."""
        return self._matched > self._since

    @property
    def complete(self) -> bool:
        """Whether all of it was said, to the last character taken."""
        return self._matched == len(self._stop)

    def goes_on(self, character: str) -> bool:
        """Take one character that was said since; tell whether a match is still possible."""
        self._advance(character)
        self._since += 1
        return self.possible

    def _advance(self, character: str) -> None:
        matched, stop = self._matched, self._stop
        if matched == len(stop):
            matched = self._border(matched)
        while matched and stop[matched] != character:
            matched = self._border(matched)
        self._matched = matched + 1 if stop[matched] == character else 0

    def _border(self, length: int) -> int:
        borders, stop = self._borders, self._stop
        while len(borders) <= length:
            last = stop[len(borders) - 1]
            border = borders[-1]
            while border and stop[border] != last:
                border = borders[border]
            borders.append(border + 1 if stop[border] == last else 0)
        return borders[length]
