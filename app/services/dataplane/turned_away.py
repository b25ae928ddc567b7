"""What is told of an answer that needed no server: a refusal at the door, or the list of models?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.answer.usage import Usage
from app.services.core.reporting.outcome import Outcome

if TYPE_CHECKING:
    from app.services.dataplane.reception import Call, Reply

__all__ = ["outcome_of_reply"]

_NO_USAGE: Final = Usage(0, 0)


def outcome_of_reply(reply: Reply, call: Call | None, model: str, ended_at: float) -> Outcome:
    """Make the outcome of a request that was answered at once.

    Args:
        reply: what was answered.
        call: the head, where the key was good.
        model: what was asked for, where that is known.
        ended_at: Unix seconds.
    """
    principal = None if call is None else call.principal
    return Outcome(
        request_id=reply.request_id.decode("latin-1"),
        client=reply.client,
        key_id="" if principal is None else principal.key_id,
        path=reply.path,
        model=model,
        server_id=None,
        status=reply.status,
        error_code=reply.code,
        stream=False,
        attempts=0,
        duration_seconds=0.0,
        first_token_seconds=None,
        usage=_NO_USAGE,
        ended_at=ended_at,
        person="" if call is None else call.person,
        group="" if principal is None else principal.group or "",
    )
