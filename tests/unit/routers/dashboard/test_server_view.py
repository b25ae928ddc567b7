"""What does the page of one server say of its checks, probes and hours?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.routers.dashboard.server_view import (
    HISTORY,
    MARK_WIDTH,
    TIMELINE_HEIGHT,
    hours_in_words,
    marks_of,
    obstacles_of,
    timeline_in_words,
    verification_in_words,
)
from app.routers.model_views import ModelView, VerificationView
from app.routers.terms_schemas import LentHours
from app.routers.views import CheckView, ServerDetails
from app.services.core.types import HealthStatus
from app.services.core.verification.findings import Subject, Verdict

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NBSP = "\N{NARROW NO-BREAK SPACE}"


def server(**fields: Any) -> ServerDetails:
    """A healthy server that takes work, unless said otherwise."""
    blank: dict[str, Any] = dict.fromkeys(ServerDetails.model_fields, False) | {
        name: None for name in ServerDetails.model_fields if name.endswith(("_until", "_at"))
    }
    said = {"health_status": HealthStatus.HEALTHY, "model_details": [], "hours": None, "consecutive_failures": 0}
    reasons = {name: "" for name in ServerDetails.model_fields if name.endswith("_reason")}
    return ServerDetails.model_construct(**(blank | reasons | said | fields))


def check(latency_ms: float | None, reason: str = "refused") -> CheckView:
    ok = latency_ms is not None
    return CheckView(checked_at=NOW, ok=ok, reason="" if ok else reason, latency_ms=latency_ms or 0, source="check")


def test_the_timeline_shows_each_check_with_the_newest_at_the_right() -> None:
    marks = marks_of([check(2.0), check(None), check(4.0)])
    assert [mark.left for mark in marks] == [(HISTORY - 3 + index) * MARK_WIDTH for index in range(3)]
    assert [mark.ok for mark in marks] == [True, False, True]
    assert marks[1].height == TIMELINE_HEIGHT
    assert marks[0].height > marks[2].height
    assert all(mark.top + mark.height == TIMELINE_HEIGHT for mark in marks)
    assert marks[1].title == "2030-01-01 00:00:00 UTC: refused"
    assert marks_of([]) == []
    assert len(marks_of([check(0.0)] * 200)) == HISTORY


def test_the_timeline_in_words() -> None:
    assert timeline_in_words([]) == "No checks yet."
    assert timeline_in_words([check(None)]) == "One check, failed."
    assert timeline_in_words([check(None)] * 2) == "2 checks, all failed."
    told = timeline_in_words([check(2.0), check(None), check(4.0)]).replace(NBSP, " ")
    assert told == "3 checks: 1 failed, half of the others answered within 4.0 ms."


@pytest.mark.parametrize(
    ("subject", "measured", "detail", "words"),
    [
        (Subject.CONTEXT, 4096.0, "4096 tokens", "Context: 4096 tokens"),
        (Subject.CONTEXT, 4096.0, "", "Context: 4 096 tokens"),
        (Subject.SPEED, 41.2, "", "Speed: 41.2 tokens a second"),
        (Subject.FIRST_TOKEN, 120.0, "", "First token: 120 ms"),
        (Subject.CANARY, 0.93, "", "Likeness: 93% alike"),
        (Subject.NAME, None, "answers as another", "Name: answers as another"),
        (Subject.NAME, None, "", "Name: ok"),
    ],
)
def test_what_probes_found_is_told_in_its_unit(
    subject: Subject, measured: float | None, detail: str, words: str
) -> None:
    finding = VerificationView(subject=subject, verdict=Verdict.OK, detail=detail, measured=measured, found_at=NOW)
    assert verification_in_words(finding).replace(NBSP, " ") == words


def test_hours_in_words() -> None:
    assert hours_in_words(None) == "always"
    document = {"timezone": "UTC", "windows": [{"days": ["mon", "tue"], "from": "18:00", "to": "08:00"}]}
    assert hours_in_words(LentHours.model_validate(document)) == "mon-tue 18:00 to 08:00 (UTC)"


def test_a_server_that_is_well_has_no_obstacles() -> None:
    assert obstacles_of(server(), "") == []


def test_each_hold_says_why_and_what_to_do() -> None:
    until = NOW.replace(hour=8)
    held = server(blocked=True, blocked_reason="odd", paused=True, paused_reason="a; b", paused_until=until)
    blocked, paused = obstacles_of(held, "")
    assert (blocked.reason, blocked.until) == ("odd", None)
    assert "operator" in blocked.advice
    assert (paused.text, paused.reason, paused.until) == ("It is paused.", "a; b", until)


def test_a_server_that_fails_says_how_often_and_why() -> None:
    (one,) = obstacles_of(server(health_status=HealthStatus.UNHEALTHY, consecutive_failures=11), "refused")
    assert (one.text, one.reason) == ("Its checks fail, 11 in a row.", "refused")
    (new,) = obstacles_of(server(health_status=HealthStatus.UNKNOWN), "")
    assert "not been checked" in new.text


def test_hours_and_missing_models_are_told() -> None:
    hours = LentHours.model_validate({"timezone": "UTC", "windows": [{"from": "18:00", "to": "08:00"}]})
    (off,) = obstacles_of(server(off_hours=True, hours=hours, next_change_at=NOW), "")
    assert (off.reason, off.until) == ("daily 18:00 to 08:00 (UTC)", NOW)
    gone = [ModelView.model_construct(name=f"m{number}", listed=number == 0) for number in range(9)]
    (missing,) = obstacles_of(server(model_details=gone), "")
    assert missing.text == "It no longer lists m1, m2, m3, m4, m5 and 3 more, so it gets no requests for that."
