"""What does a server say once more that the client has already?

Two kinds: what a model thinks when it thinks anew, and white space that was cut off the end of the text it was sent.
Texts come in, what is new in them is returned.
"""

from __future__ import annotations

__all__ = ["Thoughts", "White"]


class Thoughts:
    """A model's thoughts, as far as the client has not seen them.

    As long as they are the same, those that were shown are left out. From where they differ on, nothing is shown: the
    rest would not fit what stands there.

    Args:
        shown: what the client has seen.
        silent: whether it is to see nothing more, as the answer behind them has begun.
    """

    __slots__ = ("_place", "_shown", "_silent")

    def __init__(self, shown: str, *, silent: bool) -> None:
        self._shown = shown
        self._place = 0
        self._silent = silent

    def new_in(self, text: str) -> str:
        """Take the next thoughts; return what may be shown of them."""
        if self._silent:
            return ""
        left = len(self._shown) - self._place
        if len(text) <= left and self._shown.startswith(text, self._place):
            self._place += len(text)
            return ""
        if text.startswith(self._shown[self._place :]):
            self._place = len(self._shown)
            return text[left:]
        self._silent = True
        return ""


class White:
    """White space at the end of a text, which the continued text is expected to begin with: it is left out once.

    Args:
        text: what the client has.
    """

    __slots__ = ("_place", "_white", "over")

    def __init__(self, text: str) -> None:
        self._white = text[len(text.rstrip()) :]
        self._place = 0
        self.over = not self._white
        """Whether none can come any more that would be left out."""

    @property
    def came_again(self) -> bool:
        """Whether some was left out."""
        return self._place > 0

    def new_in(self, text: str) -> str:
        """Take the next text; return what is new in it."""
        if self.over:
            return text
        for start, character in enumerate(text):
            if self._place == len(self._white) or character != self._white[self._place]:
                self.over = True
                return text[start:]
            self._place += 1
        return ""
