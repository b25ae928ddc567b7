"""What does the fifth schema add? The pages': who is signed in, and how much went through, minute by minute."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and say so in ``PRAGMA user_version``."""
    op.create_table(
        "ui_sessions",
        sa.Column("id", sa.LargeBinary(32), nullable=False),
        sa.Column("sealed_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ui_sessions"),
    )
    op.create_index("ix_ui_sessions_expires_at", "ui_sessions", ["expires_at"])
    op.create_table(
        "traffic_minutes",
        sa.Column("minute", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("continuations", sa.Integer(), nullable=False),
        sa.Column("queued_most", sa.Integer(), nullable=False),
        sa.Column("first_tokens", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("minute", "owner", name="pk_traffic_minutes"),
    )
    _set_user_version(5)


def downgrade() -> None:
    """Drop the tables: everybody signs in anew, and the charts begin anew."""
    op.drop_table("traffic_minutes")
    op.drop_index("ix_ui_sessions_expires_at", "ui_sessions")
    op.drop_table("ui_sessions")
    _set_user_version(4)


def _set_user_version(version: int) -> None:
    """SQLite alone has it; ``PRAGMA`` takes no parameters."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"PRAGMA user_version = {version:d}")
