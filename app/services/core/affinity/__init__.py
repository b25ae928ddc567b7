"""Which server knows the beginning of a prompt, and may a request go there?"""

from __future__ import annotations

from app.services.core.affinity.affinity import Affinity
from app.services.core.affinity.bound import may_go_home
from app.services.core.affinity.sessions import mark_session
from app.services.core.affinity.trail import Trail

__all__ = ["Affinity", "Trail", "mark_session", "may_go_home"]
