"""What was counted for one subject: its requests and tokens of the last minute, of the day and of the month?

A request is drawn at the door with an estimate of its tokens (the prompt's, and the answer that is usual here, or the
most that the client asks for where that is less) and settled at its end by what it used. What it used beyond the
estimate counts from its end on; what it used less is taken back from where it was drawn. Only what a limit asks for is
counted. After a restart the estimates of requests that died with the process stay counted.
"""

from __future__ import annotations

from typing import Final

import msgspec

from app.services.core.limits.calendar import Calendar, Period, day_of, month_of
from app.services.core.limits.sliding import Mark, SlidingLog
from app.services.core.people.principal import Limits

__all__ = ["USUAL_ANSWER_TOKENS", "Counter", "Draw", "Need", "fits"]

USUAL_ANSWER_TOKENS: Final = 256
"""How long an answer is taken to be where none was counted yet."""
_STEADY_ANSWERS: Final = 8
"""What is usual is the mean while fewer were counted; then each answer moves it by one in so many."""


class Need(msgspec.Struct, frozen=True, gc=False):
    """What a request will take, as far as can be told at the door.

    Attributes:
        prompt_tokens: an estimate of its prompt, never negative.
        answer_tokens: the most that the client asks for; 0 where it says nothing.
    """

    prompt_tokens: int = 0
    answer_tokens: int = 0


class Draw(msgspec.Struct, gc=False):
    """What one request drew from one counter.

    Attributes:
        counter: which one.
        limits: by which limits.
        prompt: the tokens of its prompt by estimate.
        reserved: the tokens that were drawn; 0 where no limit asks for tokens.
        mark: where they are in the minute; None where no limit asks for that.
        periods: the limit, the calendar and the period of each, day or month, that they were drawn from.
    """

    counter: Counter
    limits: Limits
    prompt: int = 0
    reserved: int = 0
    mark: Mark | None = None
    periods: tuple[tuple[int, Calendar, Period], ...] = ()


class Counter:
    """What was counted for a subject, or for a subject and a model.

    Args:
        subject: whose it is.
        model: the only model that counts; None: all do.

    Attributes:
        in_flight: requests that were drawn and not settled yet.
        kept: whether it is where requests find it.
        drawn_at: when the last one was drawn, in monotonic seconds.
        unsaved: whether something was counted since it was saved.
        usual: how many tokens an answer usually has here.
        answers: how many answers that was learnt from; what is beyond eight is not counted.
    """

    __slots__ = (
        "answers",
        "day",
        "drawn_at",
        "in_flight",
        "kept",
        "minute",
        "model",
        "month",
        "subject",
        "unsaved",
        "usual",
    )

    def __init__(self, subject: str, model: str | None = None) -> None:
        self.subject = subject
        self.model = model
        self.minute = SlidingLog()
        self.day: Calendar | None = None
        self.month: Calendar | None = None
        self.in_flight = 0
        self.kept = False
        self.drawn_at = 0.0
        self.unsaved = False
        self.usual = float(USUAL_ANSWER_TOKENS)
        self.answers = 0

    def estimate(self, need: Need) -> int:
        """Return how many tokens a request will take, one at least: its prompt's, and the answer that is usual here."""
        answer, usual = need.answer_tokens, int(self.usual)
        return need.prompt_tokens + (answer if 0 < answer < usual else usual) or 1

    def room(self, limits: Limits, need: Need, now: float, wall: float) -> int | None:
        """Return how many tokens a request draws here; 0 where tokens are not limited, None where it does not fit.

        One whose prompt fits always does where nothing was used yet: what is usual is but a guess.
        """
        limit = limits.concurrency
        if limit is not None and self.in_flight >= limit:
            return None
        log = self.minute
        if now >= log.next_out_at:
            log.sweep(now)
        limit = limits.requests_per_minute
        if limit is not None and log.requests >= limit:
            return None
        minute, day, month = limits.tokens_per_minute, limits.tokens_per_day, limits.tokens_per_month
        if minute is None and day is None and month is None:
            return 0
        prompt, whole = need.prompt_tokens, self.estimate(need)
        if (
            (minute is None or log.tokens + whole <= minute or fits(prompt, whole, log.tokens, minute))
            and (day is None or fits(prompt, whole, self.used_today(wall), day))
            and (month is None or fits(prompt, whole, self.used_this_month(wall), month))
        ):
            return whole
        return None

    def draw(self, limits: Limits, need: Need, tokens: int, now: float, wall: float) -> Draw:
        """Count a request that is let through; ``tokens`` is what ``room`` returned just now."""
        self.in_flight += 1
        self.drawn_at = now
        by_tokens = tokens and limits.tokens_per_minute is not None
        mark = None
        if by_tokens or limits.requests_per_minute is not None:
            mark = self.minute.add(1 if limits.requests_per_minute is not None else 0, tokens if by_tokens else 0, now)
        if not tokens:
            return Draw(self, limits)
        periods: tuple[tuple[int, Calendar, Period], ...] = ()
        if limits.tokens_per_day is not None or limits.tokens_per_month is not None:
            periods = self._draw_periods(limits, tokens, wall)
        return Draw(self, limits, need.prompt_tokens, tokens, mark if by_tokens else None, periods)

    def settle(self, draw: Draw, tokens: int, now: float, wall: float) -> None:
        """Give the place of a request back, and count what it used in place of what was drawn.

        Args:
            draw: what ``draw`` gave.
            tokens: what it used, of prompt and answer; 0 if no server took it.
            now: monotonic seconds.
            wall: Unix seconds.
        """
        self.in_flight -= 1
        if not draw.reserved:
            return
        answer = tokens - draw.prompt if tokens > draw.prompt else 0
        was_bounded = draw.reserved - draw.prompt < int(self.usual)  # its client asked for less: that tells little
        if tokens and (not was_bounded or answer > self.usual):  # the first answer takes the place of what was assumed
            if self.answers < _STEADY_ANSWERS:
                self.answers += 1
            self.usual += (answer - self.usual) / self.answers
        more = tokens - draw.reserved
        if more:
            self._correct(draw, more, now, wall)

    def used_today(self, wall: float) -> int:
        """Return how many tokens were used since midnight, UTC."""
        return 0 if self.day is None else self.day.at(wall).used

    def used_this_month(self, wall: float) -> int:
        """Return how many tokens were used since the first of the month, UTC."""
        return 0 if self.month is None else self.month.at(wall).used

    def is_empty(self, now: float, wall: float) -> bool:
        """Whether nothing counts any more, so that a new one would do as well."""
        self.minute.sweep(now)
        return not (
            self.in_flight
            or self.minute.requests
            or self.minute.tokens
            or self.used_today(wall)
            or self.used_this_month(wall)
        )

    def _draw_periods(self, limits: Limits, tokens: int, wall: float) -> tuple[tuple[int, Calendar, Period], ...]:
        """Draw tokens from the day and the month, where these are limited."""
        periods = []
        if limits.tokens_per_day is not None:
            if self.day is None:
                self.day = Calendar(day_of, wall)
            periods.append((limits.tokens_per_day, self.day, self.day.at(wall)))
        if limits.tokens_per_month is not None:
            if self.month is None:
                self.month = Calendar(month_of, wall)
            periods.append((limits.tokens_per_month, self.month, self.month.at(wall)))
        for _, _, period in periods:
            period.used += tokens
        return tuple(periods)

    def _correct(self, draw: Draw, more: int, now: float, wall: float) -> None:
        """Count from now on what a request used beyond what it drew; or take back what it did not use, where it drew.

        Of a minute or a day that is over nothing is taken back.
        """
        if draw.mark is not None:
            if more > 0:
                self.minute.add(0, more, now)
            else:
                self.minute.take_back(draw.mark, -more)
        for _, calendar, drawn_from in draw.periods:
            period = calendar.at(wall) if more > 0 else drawn_from
            period.used += more


def fits(prompt: int, whole: int, used: int, limit: int) -> bool:
    """Whether a request fits under a limit of tokens: whole, or by its prompt where nothing was used."""
    return prompt <= limit and (used + whole <= limit or used <= 0 < limit)
