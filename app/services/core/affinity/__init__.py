"""Which server knows the beginning of a prompt?"""

from __future__ import annotations

from app.services.core.affinity.affinity import Affinity
from app.services.core.affinity.sessions import mark_session
from app.services.core.affinity.trail import Trail

__all__ = ["Affinity", "Trail", "mark_session"]
