"""Which settings are in force, as they may be shown? Of a secret only whether it is set."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from app.utils.config import form_of

if TYPE_CHECKING:
    from app.services.registry.accounting.audit_entry import Shown
    from app.utils.config import Settings

__all__ = ["shown_settings"]

_PLAIN: Final = (bool, int, float, type(None))
_USERINFO: Final = re.compile(r"(://)[^\s/?#]*@")
_MASK: Final = "********"
_MOST_CHARACTERS: Final = 1000


def shown_settings(settings: Settings) -> Shown:
    """Name every setting in capitals, with its value as JSON has it."""
    shown: Shown = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, SecretStr) or form_of(field).is_secret:
            shown[name.upper()] = "set" if value is not None else "unset"
        elif isinstance(value, tuple | list | frozenset):
            shown[name.upper()] = [_plain(item) for item in value]
        else:
            shown[name.upper()] = _plain(value)
    return shown


def _plain(value: object) -> object:
    """A number, a truth value or nothing as it is, all else as text, without the password of a URL."""
    if isinstance(value, _PLAIN):
        return value
    return _USERINFO.sub(rf"\1{_MASK}@", str(value))[:_MOST_CHARACTERS]
