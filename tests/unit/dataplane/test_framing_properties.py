"""However bytes are cut, and whatever went before on a connection, the same request gets the same answer.

Two ways of hearing a request are held against each other: whole, in one read, on a connection that has just served
requests very much like it; and in pieces, on a connection of its own. Both ways in must answer alike, and the model
server must get the same bytes, all of them of the gateway's own making.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.http_shapes import CHAT, KEY, NEAR_MISSES, SMUGGLED, chat_body, chunked, post, raw
from tests.fakes.memory_wires import Caller, Memory, open_memory
from tests.fakes.read_answers import Answer

pytestmark = pytest.mark.no_cover  # the same lines thousands of times: other tests tell which are reached
SHELLS = ("door", "asgi")
UVICORNS_OWN = b"Invalid HTTP request received."
UNFINISHED = {"a length beyond the bound", "a length one too long", "a length that takes in what follows"}
"""More is announced than comes: what follows on the connection is no request but the rest of this one."""
both_shells = pytest.mark.parametrize("shell", SHELLS)


@dataclass(frozen=True)
class Heard:
    """What became of one request: what was answered, whether the connection went on, what reached a server."""

    answers: tuple[Answer, ...]
    closed: bool
    bodies: tuple[bytes, ...]

    @property
    def told(self) -> list[tuple[object, ...]]:
        return [told_of(answer) for answer in self.answers]

    @property
    def last(self) -> list[bytes]:
        return [answer.body for answer in self.answers[-1:]]

    @property
    def before_refusal(self) -> list[tuple[object, ...]]:
        return self.told[:-1] if self.last == [UVICORNS_OWN] else self.told


def told_of(answer: Answer) -> tuple[object, ...]:
    """An answer without what it says of its connection."""
    status, headers, body, whole = answer.told
    return status, tuple(pair for pair in headers if pair[0] != "connection"), body, whole


def each_byte(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def to_head(data: bytes) -> tuple[bool]:
    return (data.lstrip(b"\r\n ").startswith(b"HEAD"),)


async def hear(memory: Memory, caller: Caller, data: bytes, pieces: Sequence[bytes]) -> Heard:
    """Say a request and note what became of it; one that never gets whole is waited for until its time is up."""
    before = len(memory.asked)
    answers = await caller.say(*pieces, heads=to_head(data))
    if not answers and not caller.closed:
        bounds = memory.plane.bounds
        await memory.pass_time(max(bounds.header_ticks, bounds.body_ticks) + 2)
        answers = caller.heard(to_head(data))
    bodies = sorted(asked.body for asked in memory.asked[before:])
    return Heard(tuple(answers), caller.closed, tuple(bodies))


def alike(one: Heard, other: Heard) -> bool:
    """Whether both are the same, but for two things that depend on how much was known when an answer began.

    An answer before the end of the connection may or may not say that it is the last; and a refusal of what comes
    behind good requests is told only to one who was answered before, else the connection just ends.
    """
    if UVICORNS_OWN in (*one.last, *other.last):
        return _alike_behind_uvicorn(one, other)
    short, long = sorted((one.told, other.told), key=len)
    same_end = one.bodies == other.bodies and one.closed == other.closed
    beyond = {told[0] for told in long[len(short) :]}
    return same_end and long[: len(short)] == short and (not beyond or (bool(short) and beyond <= {400, 413, 431}))


def _alike_behind_uvicorn(one: Heard, other: Heard) -> bool:
    """uvicorn's own parser refuses in its own words and at once: what it had let in before may go unanswered."""
    short, long = sorted((one.before_refusal, other.before_refusal), key=len)
    fewer, more = sorted((set(one.bodies), set(other.bodies)), key=len)
    return one.closed == other.closed and long[: len(short)] == short and fewer <= more


@both_shells
@pytest.mark.parametrize("name", NEAR_MISSES)
async def test_a_request_is_judged_by_itself_and_not_by_those_before_it(shell: str, name: str) -> None:
    """Whole and warm, whole and fresh, cut everywhere and warm, cut everywhere and fresh."""
    body = chat_body("x" * 17)
    data = NEAR_MISSES[name](body)
    async with open_memory(shell) as memory:
        found = []
        for warm in (0, 1, 3):
            for pieces in ([data], each_byte(data)):
                caller = memory.connect()
                for number in range(warm):
                    assert [one.status for one in await caller.say(post(chat_body(number)))] == [200]
                found.append(await hear(memory, caller, data, pieces))
        for other in found[1:]:
            assert alike(found[0], other), (found[0], other)
        memory.assert_clean()


@both_shells
@pytest.mark.parametrize("name", NEAR_MISSES)
async def test_what_was_let_in_once_opens_nothing_for_the_next(shell: str, name: str) -> None:
    """The odd one first and twice, then the good one, then the odd one again: each as if it were alone."""
    odd, good = NEAR_MISSES[name](chat_body("y" * 17)), post(chat_body("good"))
    async with open_memory(shell) as memory:
        alone = {data: await hear(memory, memory.connect(), data, [data]) for data in (odd, good)}
        caller = memory.connect()
        for data in (odd, odd, good, odd, good):
            heard = await hear(memory, caller, data, [data])
            assert alike(alone[data], heard), (alone[data], heard)
            if caller.closed or (data == odd and name in UNFINISHED):
                caller = memory.connect()
        memory.assert_clean()


@both_shells
@pytest.mark.parametrize("name", sorted(NEAR_MISSES.keys() - {"HEAD with a body"}))
async def test_what_follows_in_the_same_read_is_read_as_it_would_be_alone(shell: str, name: str) -> None:
    """Behind a good one and before one, all in one read and cut at every byte: nothing gained, nothing mixed."""
    odd = NEAR_MISSES[name](chat_body("z" * 17))
    async with open_memory(shell) as memory:
        found = []
        for pieces in ([post(chat_body(1)) + odd + SMUGGLED], each_byte(post(chat_body(1)) + odd + SMUGGLED)):
            caller = memory.connect()
            assert [one.status for one in await caller.say(post(chat_body(0)))] == [200]
            found.append(await hear(memory, caller, b"", pieces))
        assert alike(*found), found
        memory.assert_clean()


MODELS = raw(b"GET /v1/models HTTP/1.1", b"Host: a", KEY)
ELSEWHERE = raw(b"POST /elsewhere HTTP/1.1", b"Host: a", b"Content-Length: 3", body=b"abc")
NOWHERE = raw(b"POST /v1/nowhere HTTP/1.1", b"Host: a", KEY, b"Content-Length: 3", body=b"abc")
STRANGER = raw(b"POST %b HTTP/1.1" % CHAT, b"Host: a", b"Content-Length: 2", body=b"{}")


def good_request(number: int, kind: str) -> bytes:
    body = chat_body(number)
    made = {
        "chat": post(body),
        "stream": post(chat_body(number, stream=True)),
        "chunked": raw(b"POST %b HTTP/1.1" % CHAT, b"Host: a", KEY, b"Transfer-Encoding: chunked", body=chunked(body)),
        "query": post(body).replace(CHAT, CHAT + b"?n=%d" % number),
        "models": MODELS,
        "elsewhere": ELSEWHERE,
        "nowhere": NOWHERE,
        "stranger": STRANGER,
        "long": post(chat_body("l" * 3000)),
    }
    return made[kind]


KINDS = ("chat", "chat", "stream", "chunked", "query", "models", "elsewhere", "nowhere", "stranger", "long")
sequences = st.lists(st.sampled_from(KINDS), min_size=1, max_size=6)
places = st.lists(st.integers(0, 10_000), max_size=12)


async def in_turn(memory: Memory, requests: Sequence[bytes]) -> list[Answer]:
    """Each in one read, once the one before it was answered."""
    caller = memory.connect()
    found = []
    for data in requests:
        found += await caller.say(data)
    assert len(found) == len(requests)
    return found


@both_shells
@given(kinds=sequences, cuts=places)
@settings(max_examples=60)
async def test_any_split_of_many_requests_gets_the_same_answers_in_order(
    shell: str, kinds: list[str], cuts: list[int]
) -> None:
    """One after the other, all in one read, and cut anywhere: also while a stream is being answered."""
    requests = [good_request(number, kind) for number, kind in enumerate(kinds)]
    together = b"".join(requests)
    async with open_memory(shell) as memory:
        expected = [answer.told for answer in await in_turn(memory, requests)]
        asked = [one.body for one in memory.asked]
        for pieces in ([together], cut(together, cuts)):
            before = len(memory.asked)
            found = await memory.connect().say(*pieces)
            assert [answer.told for answer in found] == expected
            assert sorted(one.body for one in memory.asked[before:]) == sorted(asked)
        memory.assert_clean()


@both_shells
async def test_many_requests_cut_at_every_byte_are_answered_in_order(shell: str) -> None:
    kinds = ("chat", "models", "stream", "elsewhere", "chat", "chunked", "nowhere", "query", "stream", "stranger")
    requests = [good_request(number, kind) for number, kind in enumerate(kinds)]
    together = b"".join(requests)
    async with open_memory(shell) as memory:
        expected = [answer.told for answer in await in_turn(memory, requests)]
        for place in range(0, len(together), 7):
            found = await memory.connect().say(together[:place], together[place:])
            assert [answer.told for answer in found] == expected, place
        found = await memory.connect().say(*each_byte(together))
        assert [answer.told for answer in found] == expected
        memory.assert_clean()


EDITS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b":", b"0", b"9", b"+", b"-", b",", b"Content-Length: 0\r\n",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"Connection: close\r\n", b"HTTP/1.0",
    b"X-API-Key: k\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"Connection: upgrade\r\n", b"?", b"/",
    b"\xb2", b"\x0b", b"\t", b"{", b"}", b'"stream":true,', MODELS, SMUGGLED,
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The good request with a few strokes done to it, most of them to its head."""
    text = post(chat_body("d" * 9))
    for _stroke in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text)))
        width = draw(st.sampled_from([0, 0, 1, 2, 6]))
        text = text[:place] + draw(st.sampled_from((*EDITS, b""))) + text[place + width :]
    return text


@both_shells
@given(data=damaged(), cuts=places, warm=st.integers(1, 3))
@settings(max_examples=250)
async def test_a_damaged_request_is_heard_alike_whole_or_cut_warm_or_fresh(
    shell: str, data: bytes, cuts: list[int], warm: int
) -> None:
    if data.lstrip(b"\r\n").startswith(b"HEAD"):
        return
    async with open_memory(shell) as memory:
        caller = memory.connect()
        for _again in range(warm):
            await caller.say(post(chat_body("d" * 9)))
        whole = await hear(memory, caller, data, [data])
        pieces = await hear(memory, memory.connect(), data, cut(data, cuts))
        assert alike(whole, pieces), (whole, pieces)
        memory.assert_clean()
