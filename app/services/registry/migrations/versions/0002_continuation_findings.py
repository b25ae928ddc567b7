"""What does the second schema add? How each server goes on with an answer that broke, as probes found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and say so in ``PRAGMA user_version``."""
    op.create_table(
        "continuation_findings",
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("upstream_name", sa.Text(), nullable=False),
        sa.Column("chat", sa.String(32), nullable=False),
        sa.Column("text", sa.String(32), nullable=False),
        sa.Column("thinking_off", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("trims", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("version", sa.Text(), nullable=False, server_default=""),
        sa.Column("probed_at", sa.String(32), nullable=True),
        sa.ForeignKeyConstraint(
            ["server_id"],
            ["model_servers.id"],
            name="fk_continuation_findings_server_id_model_servers",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("server_id", "upstream_name", name="pk_continuation_findings"),
    )
    _set_user_version(2)


def downgrade() -> None:
    """Drop the table: what it holds is found anew."""
    op.drop_table("continuation_findings")
    _set_user_version(1)


def _set_user_version(version: int) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"PRAGMA user_version = {version:d}")
