"""What does it cost to read the log back, and how late does the event loop come to a timer meanwhile?

Reading goes on in a thread. A search that finds nothing looks through all that a call looks through, and one for
words with spaces reads each line of it, for they might stand in it in another form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from app.services.core.answer.usage import Usage
from app.services.core.keys import KeyRing
from app.services.core.reporting.log_query import LogQuery
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.request_line import json_lines, text_lines
from app.services.log_reader import LogReader
from app.utils.log_redaction import Redactor
from bench.looks_timing import TIMER_SECONDS, least_beside_the_loop, tell

if TYPE_CHECKING:
    from pathlib import Path

    from app.services.core.reporting.request_line import LineFormat

_ROUNDS: Final = 3
_BATCH: Final = 1000
_OPERATORS_KEY: Final = "the-operators-own-key"
_FORMS: Final[dict[str, LineFormat]] = {"text": text_lines, "JSON": json_lines}
_QUERIES: Final = {
    "the newest page": LogQuery(),
    "by a request id that is not there": LogQuery(request_id="request-of-nobody"),
    "by a level that no line has": LogQuery(level="warning"),
    "by the worst text": LogQuery(text="no such = words"),
}


async def log(folder: Path, size_bytes: int) -> None:
    """Measure and print."""
    operator = next(iter(KeyRing.with_admin(_OPERATORS_KEY).principals.values()))
    for form, lines in _FORMS.items():
        path = folder / f"gateway-{form}.log"
        path.write_bytes(_written(lines, size_bytes))
        reader = LogReader(path, backup_count=0, redactor=Redactor([_OPERATORS_KEY]))
        for name, query in _QUERIES.items():
            took, lag = await least_beside_the_loop(
                lambda reader=reader, query=query: reader.page(operator, query), TIMER_SECONDS, _ROUNDS
            )
            tell(f"the log back, {path.stat().st_size / 1_048_576:.1f} MiB of {form}, {name}", took, "ms")
            tell("    so late at most the loop came to a timer", lag, "ms")


def _written(lines: LineFormat, size_bytes: int) -> bytes:
    """Write lines of requests, a second apart, until there are so many bytes of them."""
    written, number = bytearray(), 0
    while len(written) < size_bytes:
        batch = range(number, number + _BATCH)
        written += lines([replace(_SERVED, request_id=f"{one:032x}", ended_at=_SERVED.ended_at + one) for one in batch])
        number += _BATCH
    return bytes(written[: written.index(b"\n", size_bytes - 1) + 1])


_SERVED: Final = Outcome(
    request_id="",
    client="192.0.2.7",
    key_id="7d0f1c6e-2b8a-4f0e-9c55-0f4b1f1f6a01",
    path="/v1/chat/completions",
    model="llama-3-8b",
    server_id="3f0c4a52-1111-4222-8333-444455556666",
    status=200,
    error_code=None,
    stream=True,
    attempts=1,
    duration_seconds=1.2,
    first_token_seconds=0.3,
    usage=Usage(12, 34),
    ended_at=1_800_000_000.0,
)
