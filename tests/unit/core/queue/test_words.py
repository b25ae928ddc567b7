"""What those hear who wait: one line, and nothing that anybody else has said."""

from __future__ import annotations

from app.services.core.queue.words import place_words


def test_it_is_one_comment_line_without_an_empty_one() -> None:
    assert place_words(3, 17) == b": waiting, position 3 of 17 for this model\n"
