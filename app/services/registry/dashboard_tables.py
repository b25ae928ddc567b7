"""What does the database hold for the pages? Who is signed in, and how much went through, minute by minute."""

from __future__ import annotations

import sqlalchemy as sa

from app.services.registry.columns import UtcDateTime, metadata

__all__ = ["traffic_minutes", "ui_sessions"]

ui_sessions = sa.Table(
    "ui_sessions",
    metadata,
    sa.Column("id", sa.LargeBinary(32), primary_key=True),
    sa.Column("sealed_digest", sa.LargeBinary(32), nullable=False),
    sa.Column("created_at", UtcDateTime(), nullable=False),
    sa.Column("expires_at", UtcDateTime(), nullable=False, index=True),
)
"""One sign-in each. ``id`` is the SHA-256 of the cookie; ``sealed_digest`` is the digest of the key that signed in, and
only the cookie opens it: a copy of the database opens no session and tells of no key."""

traffic_minutes = sa.Table(
    "traffic_minutes",
    metadata,
    sa.Column("minute", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("owner", sa.Text(), primary_key=True),
    sa.Column("requests", sa.Integer(), nullable=False),
    sa.Column("errors", sa.Integer(), nullable=False),
    sa.Column("prompt_tokens", sa.Integer(), nullable=False),
    sa.Column("completion_tokens", sa.Integer(), nullable=False),
    sa.Column("continuations", sa.Integer(), nullable=False),
    sa.Column("queued_most", sa.Integer(), nullable=False),
    sa.Column("first_tokens", sa.JSON(), nullable=False),
)
"""What went through in one minute. ``minute`` counts Unix minutes. ``owner`` is the key whose servers served it, empty
for the whole pool. ``first_tokens``: how many streams began within each of ``core.reporting.tallies``' time bounds."""
