"""What relays a stream: by itself, or joined to what another server began?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core.answer.relay import EventRelay
from app.services.core.continuation.call_hold import CallHold
from app.services.core.continuation.seam import Seam
from app.services.core.http.surfaces import COMPLETIONS
from app.services.dataplane.onward import offers_tools

if TYPE_CHECKING:
    from app.services.dataplane.exchange import Exchange
    from app.services.dataplane.onward import Order
    from app.services.dataplane.sides import Limits

__all__ = ["event_relay"]


def event_relay(
    exchange: Exchange, order: Order | None, limits: Limits, model: bytes | None, *, hide_usage: bool
) -> EventRelay:
    """Make the relay of one attempt's stream; ``order``: what its server was sent, where it goes on with an answer."""
    leg, onward, seam, hold = exchange.leg, exchange.onward, None, None
    if leg is not None:
        seam = Seam(
            leg.asked,
            leg.delivered,
            anew=leg.anew,
            trims=order is not None and order.trims,
            tokens=order.tokens if order is not None else leg.delivered.tokens,
            hide_usage=hide_usage,
            from_completions=order is not None and order.from_completions,
        )
    if onward is not None and limits.hold_tool_calls and offers_tools(exchange.body):
        hold = CallHold()
    return EventRelay(
        model,
        hide_usage=hide_usage,
        choices=exchange.seen.choices or 1,
        may_be_more=exchange.call.path == COMPLETIONS,
        journal=onward.journal if onward is not None else None,
        seam=seam,
        hold=hold,
    )
