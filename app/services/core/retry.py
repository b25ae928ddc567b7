"""May a failed attempt move on to another server, and if not, what does the client hear?

==================  ========  ==========  =====================================
failure             moves on  the lane    the client, when none is left
==================  ========  ==========  =====================================
DIAL                yes       suspect     503 unavailable, Retry-After
DENIED (address)    yes       -           503 unavailable
OWN (no sockets)    yes       -           503 unavailable
STALE connection    same one  -           (never seen: dialled anew)
RESET before head   yes       suspect     502
OVERLOADED 429/503  yes       cools       429 or 503, Retry-After
FAILED 500/502/504  yes       suspect     502
CREDENTIALS         yes       suspect     502
NOT_SERVED          yes       -           the server's own answer
TOO_LONG            yes       -           400 context_length_exceeded
SILENT              yes       suspect     504
DEAD                yes       suspect     502
BROKEN protocol     yes       suspect     502
==================  ========  ==========  =====================================

NOT_SERVED is 404, 405 or 501; FAILED is every other 5xx. A redirect, which is never followed, is BROKEN protocol.
SILENT is one whose time was over, DEAD one that did not answer a check beside the stream either. A 400, 413 or 422 is
the client's own: it is passed on and counts against nobody. TOO_LONG is the exception: one that says that the prompt is
longer than the server's context, while another server may hold it. Where none may, the server's own words go to the
client. Failed dials draw nothing from the retry budget: they cost the pool nothing. Nor do prompts that were too long,
for which nothing was computed; requests at a server that was found dead, which computes nothing and is sent nothing
more; nor continuations of answers that broke off, which are no retries.

There is no pause between attempts. Backoff is for those who ask the same server again; here each attempt goes to
another one, and each server is asked once. What keeps retries from piling up is the budget, what keeps them from a
server in trouble its lane: suspicion, cool-down, cap and ejection, with doubling times and jitter.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

from app.services.core.errors import GatewayError, RequestInvalid, ServerMisbehaved, TooMany, TooSlow, Unavailable

__all__ = ["Failure", "RetryBudget", "blames_server", "classify_status", "costs_nothing", "final_error", "may_move_on"]

RETRY_AFTER_SECONDS = 5
WINDOW_SECONDS: Final = 10.0
_ROUNDING = 1e-6
"""Shares that do not add up to a whole retry by a hair, as ten tenths do."""


class Failure(StrEnum):
    """Why an attempt gave no answer."""

    DIAL = "dial"
    DENIED = "denied"
    OWN = "own"
    RESET = "reset"
    OVERLOADED = "overloaded"
    FAILED = "failed"
    CREDENTIALS = "credentials"
    NOT_SERVED = "not_served"
    TOO_LONG = "too_long"
    SILENT = "silent"
    DEAD = "dead"
    BROKEN = "broken"


_BLAMELESS = frozenset((Failure.DENIED, Failure.OWN, Failure.OVERLOADED, Failure.NOT_SERVED, Failure.TOO_LONG))
_UNCOMPUTED = frozenset((Failure.TOO_LONG, Failure.DEAD))
_FREE = frozenset((Failure.DIAL, Failure.DENIED, Failure.OWN))
_STATUS = {
    401: Failure.CREDENTIALS,
    403: Failure.CREDENTIALS,
    404: Failure.NOT_SERVED,
    405: Failure.NOT_SERVED,
    429: Failure.OVERLOADED,
    501: Failure.NOT_SERVED,
    503: Failure.OVERLOADED,
}


class RetryBudget:
    """A bucket of retries: each request pays a share in, each retry takes one out.

    So retries stay a fixed part of the traffic even when half of the pool is down (Envoy's and Finagle's retry
    budgets). It begins with a loan, so that a gateway that has just started can retry at once; what the first requests
    pay in pays the loan off. Since its start it has let through at most ``ratio`` retries a request, or the loan where
    that is more. It holds ``capacity``, or what ten seconds of the traffic pay in where that is more.
    """

    __slots__ = ("_capacity", "_debt", "_least", "_paid", "_ratio", "_tokens", "_window_ends_at")

    def __init__(self, ratio: float, capacity: float = 100.0, loan: float = 40.0) -> None:
        self._ratio = ratio
        self._least = self._capacity = capacity
        self._debt = self._tokens = min(loan, capacity) if ratio > 0 else 0.0
        self._paid = 0.0
        self._window_ends_at = -math.inf

    def request(self, now: float) -> None:
        """Pay in for one request. ``now`` in monotonic seconds."""
        if now >= self._window_ends_at:
            self._roll(now)
        paid = self._paid = self._paid + self._ratio
        self._capacity = max(self._capacity, paid)
        if self._debt > 0.0:
            self._debt -= self._ratio
        elif self._tokens < self._capacity:
            self._tokens = min(self._capacity, self._tokens + self._ratio)

    def take(self) -> bool:
        """Take one retry out, if there is one."""
        if self._tokens < 1.0 - _ROUNDING:
            return False
        self._tokens -= 1.0
        return True

    def _roll(self, now: float) -> None:
        """Begin a new window. The last one says how much ten seconds of the traffic pay in, until this one has more."""
        was_the_last = now < self._window_ends_at + WINDOW_SECONDS
        self._capacity = max(self._least, self._paid if was_the_last else 0.0)
        self._tokens = min(self._tokens, self._capacity)
        self._paid = 0.0
        self._window_ends_at = now + WINDOW_SECONDS


def classify_status(status: int) -> Failure | None:
    """What a status means for the attempt; None when it is an answer for the client (2xx, and 4xx of his own)."""
    known = _STATUS.get(status)
    if known is not None:
        return known
    if status >= 500:
        return Failure.FAILED
    if 300 <= status < 400 or status < 200:
        return Failure.BROKEN  # redirects are never followed
    return None


def blames_server(failure: Failure) -> bool:
    """Whether the failure counts against the server on the board."""
    return failure not in _BLAMELESS


def costs_nothing(failure: Failure) -> bool:
    """Whether the request never reached a server, so that trying another is no repetition."""
    return failure in _FREE


def may_move_on(failure: Failure, sent: int, max_attempts: int, budget: RetryBudget) -> bool:
    """Whether another server may be tried. ``sent`` counts requests that reached a server so far."""
    if costs_nothing(failure):
        return True
    return sent < max_attempts and (failure in _UNCOMPUTED or budget.take())


def final_error(failure: Failure, status: int | None, model: str, retry_after_seconds: int | None) -> GatewayError:
    """What the client is told when no other server can be tried."""
    wait = retry_after_seconds or RETRY_AFTER_SECONDS
    match failure:
        case Failure.DIAL | Failure.DENIED | Failure.OWN:
            return Unavailable(
                f"No server of model '{model}' can be reached now. Try again in {wait} seconds.",
                retry_after_seconds=wait,
            )
        case Failure.OVERLOADED:
            return _overloaded(status, model, wait)
        case Failure.TOO_LONG:
            return RequestInvalid(
                f"The prompt is too long for the servers of model '{model}' that were asked, and no other can be asked "
                "now. Shorten it, or try again later.",
                code="context_length_exceeded",
            )
        case Failure.SILENT:
            return TooSlow(
                f"No server of model '{model}' began to answer in time. Try again, or send a shorter prompt."
            )
        case Failure.CREDENTIALS:
            return ServerMisbehaved(
                f"The server of model '{model}' refused the gateway's key. Its owner has to update its api_key.",
                code="server_misconfigured",
            )
        case _:
            told = f"answered {status}" if status else "broke off or sent an invalid answer"
            told = "stopped answering" if failure is Failure.DEAD else told
            return ServerMisbehaved(f"The server of model '{model}' {told}, and no other could take over. Try again.")


def _overloaded(status: int | None, model: str, wait: int) -> GatewayError:
    if status == 429:
        return TooMany(
            f"Every server of model '{model}' is at its limit. Try again in {wait} seconds.", retry_after_seconds=wait
        )
    return Unavailable(
        f"Every server of model '{model}' is overloaded or still loading. Try again in {wait} seconds.",
        retry_after_seconds=wait,
    )
