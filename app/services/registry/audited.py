"""What does the audit say of a change of a server? Pure: records in, lines out, never a server's key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from app.services.core.people.principal import Principal, Role
from app.services.registry.accounting.audit_entry import entry
from app.services.registry.terms import hours_document

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from app.services.registry.accounting.audit_entry import AuditEntry, Shown
    from app.services.registry.records import Hold, ServerRecord

    Told = Callable[[ServerRecord | None, ServerRecord | None], tuple[AuditEntry, ...]]
    """Makes the lines of a change out of the server before and after it; None: it was not, or is no more."""

__all__ = ["GATEWAY", "told_nobody", "told_of"]

GATEWAY: Final = Principal("gateway", "gateway", Role.ADMIN)
"""Who changes what nobody asked for."""
_MOST_MODELS: Final = 100
_SAME: Final = ("engine", "max_concurrency", "priority", "weight", "share")


def told_of(action: str, principal: Principal, now: datetime) -> Told:
    """Make what writes a change down.

    Args:
        action: what was done, as a verb in the past: ``paused``.
        principal: whose key asked for it.
        now: when.
    """

    def told(before: ServerRecord | None, after: ServerRecord | None) -> tuple[AuditEntry, ...]:
        known = after or before
        if known is None:
            return ()
        was, becomes = _shown(before), _shown(after)
        if before is not None and after is not None:
            changed = [name for name, value in becomes.items() if value != was[name]]
            was, becomes = {name: was[name] for name in changed}, {name: becomes[name] for name in changed}
            becomes |= _key_change(before, after)
            if not becomes:
                return ()
        elif after is not None and after.api_key is not None:
            becomes["api_key"] = "set"
        line = entry(
            principal,
            now,
            f"server.{action}",
            "server",
            known.id,
            known.endpoint.url,
            before=was if before is not None else None,
            after=becomes if after is not None else None,
        )
        return (line,)

    return told


def told_nobody(_before: ServerRecord | None, _after: ServerRecord | None) -> tuple[AuditEntry, ...]:
    """For what the gateway follows by itself, such as the list of a server's models."""
    return ()


def _key_change(before: ServerRecord, after: ServerRecord) -> Shown:
    """Say what became of a server's key, and nothing of what it is."""
    if after.api_key == before.api_key and after.key_unreadable == before.key_unreadable:
        return {}
    had, has = before.api_key is not None or before.key_unreadable, after.api_key is not None
    return {"api_key": "cleared" if not has else "changed" if had else "set"}


def _shown(record: ServerRecord | None) -> Shown:
    """Show a server as the audit does: all that people set."""
    if record is None:
        return {}
    return {
        "endpoint_url": record.endpoint.url,
        "models": _models(record),
        **{name: getattr(record, name) for name in _SAME},
        "capabilities": dict(record.capabilities),
        "metadata": dict(record.metadata),
        "trust": None if record.trust is None else record.trust.value,
        "hours": None if record.hours is None else hours_document(record.hours),
        **{name: _hold(hold) for name, hold in record.holds.items()},
    }


def _models(record: ServerRecord) -> Any:
    """Name the models, those that bear another name there as ``name=there``; many are not all named."""
    if record.discovers_models:
        return "all that it lists"
    names = [
        model.name if model.name == model.upstream_name else f"{model.name}={model.upstream_name}"
        for model in record.models
    ]
    more = len(names) - _MOST_MODELS
    return names if more <= 0 else [*names[:_MOST_MODELS], f"and {more} more"]


def _hold(hold: Hold) -> Shown | None:
    if not hold.active:
        return None
    return {"reason": hold.reason, "until": None if hold.until is None else hold.until.isoformat()}
