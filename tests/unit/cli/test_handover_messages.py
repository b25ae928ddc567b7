"""Do two processes understand each other, however the bytes arrive and whichever release wrote them?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.handover_messages import (
    LONGEST_LINE_BYTES,
    Ask,
    DatabaseFree,
    Failed,
    HandoverBroken,
    Leaving,
    Lines,
    Listeners,
    Message,
    NeedDatabase,
    Refused,
    Serving,
    encode,
)

numbers = st.integers(0, 2**31)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ask, numbers),
    st.builds(Listeners, numbers),
    st.builds(NeedDatabase),
    st.builds(DatabaseFree),
    st.builds(Serving),
    st.builds(Leaving),
    st.builds(Refused, st.text(), st.text()),
    st.builds(Failed, st.text()),
)


@given(st.lists(messages), st.data())
def test_any_split_of_the_bytes_gives_the_same_messages(said: list[Message], data: st.DataObject) -> None:
    stream = b"".join(map(encode, said))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    lines, heard = Lines(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if stream[start:end]:
            lines.feed(stream[start:end])
        while (message := lines.next()) is not None:
            heard.append(message)
    assert heard == said


def test_what_a_later_release_adds_is_passed_over() -> None:
    lines = Lines()
    lines.feed(b'{"type":"ask","pid":7,"colour":"blue"}\n')
    assert lines.next() == Ask(7)


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\n", b'{"type":"dance"}\n', b'{"type":"ask"}\n', b"\xff\n", b"\n"])
def test_what_is_no_message_breaks_it_off(line: bytes) -> None:
    lines = Lines()
    lines.feed(line)
    with pytest.raises(HandoverBroken, match="does not understand"):
        lines.next()


def test_the_end_and_a_line_without_end_break_it_off() -> None:
    with pytest.raises(HandoverBroken, match="ended"):
        Lines().feed(b"")
    with pytest.raises(HandoverBroken, match="language"):
        Lines().feed(b"x" * (LONGEST_LINE_BYTES + 1))
