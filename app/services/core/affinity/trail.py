"""Which blocks does a prompt begin with? A chain of hashes over the raw bytes of a request, without a tokenizer.

A trail begins at the value of ``messages`` (``prompt``, ``input``) and runs on through the body as it came. Each mark
stands for one block *and all before it*, so that two trails share their first marks as long as their bytes are the
same, and no longer. The next turn of a conversation, written by the same client, repeats the former turn's messages and
adds two: it shares all of the former's blocks but the one or two that held the closing bracket.

The name is only looked for, not parsed. Found in the wrong place (inside of a tool's schema, say), or not found early
in the body, the trail begins elsewhere: it is a trail all the same, good as long as the client writes what stands
before its messages alike each time. ``tools`` are left out where they stand behind the messages: to find them costs as
much as the trail itself, and who shares the first messages, the system prompt among them, shares the tools as well.

**Who may learn what.** Marks are made with Python's keyed hash (SipHash; the key is drawn at the start of each process,
unless somebody sets PYTHONHASHSEED), so that nobody can make a block that passes for another's. With an empty ``apart``
all keys share trails: a system prompt that many use then is one. Somebody who knows the beginning of another's prompt
to the letter, at least 2 KiB of it, could see that the answer comes from a server that read it before; the shared cache
of that server's engine tells the same by its speed. Where that is too much, give each tenant an ``apart`` of its own.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LEAST_BYTES", "MOST_BLOCKS", "Trail", "known_bytes", "make_trail"]

Trail = tuple[int, ...]
"""The marks of a prompt's blocks, first to last."""

LEAST_BYTES: Final = 2048
"""What is shorter has no trail: to read it anew takes no time worth a thought."""
MOST_BYTES: Final = 1 << 20
"""What comes later is not looked at: prompts that differ only there are held for the same."""
_FINE_BLOCK: Final = 64
_FINE_BYTES: Final = 4096
_COARSE_BLOCK: Final = 512
_FINE_BLOCKS: Final = _FINE_BYTES // _FINE_BLOCK
MOST_BLOCKS: Final = _FINE_BLOCKS + (MOST_BYTES - _FINE_BYTES) // _COARSE_BLOCK
_NAMES: Final = (b'"messages"', b'"prompt"', b'"input"')
_HEAD_BYTES: Final = 4096
"""So far into the body the name is looked for."""


def make_trail(model: str, body: bytes, apart: str = "") -> Trail:
    """Cut the beginning of a prompt into blocks: of 64 bytes for the first 4 KiB, of 512 up to 1 MiB.

    Args:
        model: what the client calls the model: another model's cache is of no use.
        body: the request as it came, of any content.
        apart: trails with another value here have nothing in common.

    Returns:
        Marks of whole blocks; none where less than 2 KiB is left from the messages on.
    """
    if len(body) < LEAST_BYTES:
        return ()
    start = _start(body)
    end = min(len(body), start + MOST_BYTES)
    if end - start < LEAST_BYTES:
        return ()
    last = hash((model, apart))
    coarse = start + _FINE_BYTES
    fine_places = range(start, min(end, coarse) - _FINE_BLOCK + 1, _FINE_BLOCK)
    marks = [last := hash((last, body[place : place + _FINE_BLOCK])) for place in fine_places]
    coarse_places = range(coarse, end - _COARSE_BLOCK + 1, _COARSE_BLOCK)
    marks += [last := hash((last, body[place : place + _COARSE_BLOCK])) for place in coarse_places]
    return tuple(marks)


def known_bytes(blocks: int) -> int:
    """Tell how many bytes so many first blocks of a trail stand for."""
    if blocks <= _FINE_BLOCKS:
        return blocks * _FINE_BLOCK
    return _FINE_BYTES + (blocks - _FINE_BLOCKS) * _COARSE_BLOCK


def _start(body: bytes) -> int:
    for name in _NAMES:
        place = body.find(name, 0, _HEAD_BYTES)
        if place >= 0:
            return place + len(name)
    return 0
