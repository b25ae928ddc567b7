"""Do the upstreams answer as real servers do: dated, each answer under its own id where a work asks for it?"""

from __future__ import annotations

import re

from bench.answers import IDENTIFIED, PLAIN
from bench.reader import AnswerReader
from bench.upstream import Heads


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.9

    def __call__(self) -> float:
        return self.seconds


def test_every_head_says_the_date_of_its_second() -> None:
    clock = Clock()
    heads = Heads(clock)
    first, stream = heads.plain(PLAIN), heads.stream()
    assert b"\r\ndate: Fri, 15 Jan 2027 08:00:00 GMT\r\n" in first
    assert b"\r\ndate: Fri, 15 Jan 2027 08:00:00 GMT\r\n" in stream
    assert heads.plain(PLAIN) is first
    clock.seconds += 0.2
    for later in (heads.plain(PLAIN), heads.plain(IDENTIFIED), heads.stream(), heads.other(b"404 Not Found", b"{}")):
        assert b"\r\ndate: Fri, 15 Jan 2027 08:00:01 GMT\r\n" in later


def test_identified_answers_have_ids_of_their_own_and_the_same_body() -> None:
    heads = Heads()
    answers = [heads.plain(IDENTIFIED) for _number in range(100)]
    ids = {re.findall(rb"\r\nx-request-id: ([0-9a-f]{32})\r\n", answer)[0] for answer in answers}
    assert len(ids) == 100
    reader = AnswerReader(IDENTIFIED)
    assert all(reader.feed(answer) for answer in answers)
    assert b"x-request-id" not in heads.plain(PLAIN)


def test_other_statuses_are_whole_answers() -> None:
    answer = Heads().other(b"404 Not Found", b"{}")
    assert answer.startswith(b"HTTP/1.1 404 Not Found\r\ndate: ")
    assert answer.endswith(b"content-length: 2\r\n\r\n{}")
