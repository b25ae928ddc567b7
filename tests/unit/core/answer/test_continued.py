"""Is the line that marks a seam one comment line, whatever it is made of?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.services.core.answer.continued import continued_words
from app.services.core.answer.sse import has_data


def test_it_names_the_server_and_the_milliseconds() -> None:
    assert continued_words("0b6e", 0.2134) == b": continued, server 0b6e, after 213 ms\n"


def test_a_clock_that_stood_still_tells_no_negative_time() -> None:
    assert continued_words("s", -0.5) == b": continued, server s, after 0 ms\n"


@given(
    server_id=st.text(st.characters(exclude_characters="\r\n"), max_size=80),
    seconds=st.floats(allow_nan=False, allow_infinity=False),
)
def test_it_is_one_line_without_data(server_id: str, seconds: float) -> None:
    words = continued_words(server_id, seconds)
    assert words.startswith(b": ")
    assert words.count(b"\n") == 1
    assert not has_data(words)
    words.decode("ascii")
