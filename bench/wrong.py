"""What makes a measurement worthless?"""

from __future__ import annotations

__all__ = ["AnswerWrong"]


class AnswerWrong(Exception):
    """An answer is not what the upstream sent, or none came."""
