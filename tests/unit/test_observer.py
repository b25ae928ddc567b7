"""Who hears what the data plane sees."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from structlog.testing import capture_logs

from app.services.observer import Observer


class Ears:
    """Stands for all who listen, and notes what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.alive = True

    def finished(self, outcome: object) -> None:
        self.heard.append(("finished", outcome))

    def refused(self, server_id: str, reason: str, now: object = None) -> None:
        self.heard.append(("refused", server_id, reason))

    def rejected(
        self, server_id: str, status: int, reason: str, now: datetime, *, asked_at: float | None = None
    ) -> None:
        assert now.tzinfo is not None
        self.heard.append(("rejected", server_id, status, reason, asked_at))

    def check_soon(self, server_id: str) -> None:
        self.heard.append(("check_soon", server_id))

    def redial(self, server_ids: Iterable[str]) -> None:
        self.heard.append(("redial", *server_ids))

    async def answers(self, server_id: str) -> bool:
        self.heard.append(("answers", server_id))
        return self.alive


async def test_before_anybody_listens_nothing_happens_and_nobody_is_accused() -> None:
    observer = Observer()
    observer.rejected("a", 401)
    observer.redial(["a"])
    observer.dial_failed("a", "connection refused")
    observer.continuation_refused("a", "llama")
    assert await observer.answers("a")


async def test_each_word_reaches_those_it_concerns() -> None:
    observer, ears = Observer(), Ears()
    observer.attach(ears, ears, ears, ears)
    observer.dial_failed("a", "connection refused")
    observer.rejected("a", 401, "no\nkey \x00here", asked_at=7.0)
    observer.redial(["a", "b"])
    observer.answer_unusable("request", "a", "nonsense")
    observer.continuation_refused("a", "llama")
    ears.alive = False
    assert not await observer.answers("a")
    assert ears.heard == [
        ("refused", "a", "connection refused"),
        ("check_soon", "a"),
        ("rejected", "a", 401, "no key here", 7.0),
        ("redial", "a", "b"),
        ("check_soon", "a"),
        ("refused", "a", "llama"),
        ("answers", "a"),
    ]


async def test_who_does_not_care_for_continuations_is_left_alone() -> None:
    observer, ears = Observer(), Ears()
    observer.attach(ears, ears, ears)
    observer.continuation_refused("a", "llama")
    assert ears.heard == []


def test_a_crossing_is_told_in_the_log_with_its_fields() -> None:
    with capture_logs() as logs:
        Observer().crossed("request", "server", "quantization Q4_K_M -> Q8_0")
    assert logs == [
        {
            "event": "An answer goes on at a server that differs",
            "log_level": "info",
            "request_id": "request",
            "server_id": "server",
            "crossed": "quantization Q4_K_M -> Q8_0",
        }
    ]
