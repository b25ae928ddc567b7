"""What does the third schema add? What was found to hold of servers' claims, and which names mean one model."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and say so in ``PRAGMA user_version``."""
    op.create_table(
        "verification_findings",
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("upstream_name", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(32), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False, server_default=""),
        sa.Column("measured", sa.Float(), nullable=True),
        sa.Column("found_at", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["server_id"],
            ["model_servers.id"],
            name="fk_verification_findings_server_id_model_servers",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("server_id", "upstream_name", "subject", name="pk_verification_findings"),
    )
    op.create_table(
        "model_classes",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_classes"),
    )
    op.create_index("ix_model_classes_name", "model_classes", ["name"])
    op.create_table(
        "model_class_members",
        sa.Column("class_id", sa.String(36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["class_id"],
            ["model_classes.id"],
            name="fk_model_class_members_class_id_model_classes",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("class_id", "name", name="pk_model_class_members"),
    )
    op.create_index("ix_model_class_members_name", "model_class_members", ["name"])
    _set_user_version(3)


def downgrade() -> None:
    """Drop the tables: findings are found anew, names are confirmed anew."""
    op.drop_table("model_class_members")
    op.drop_table("model_classes")
    op.drop_table("verification_findings")
    _set_user_version(2)


def _set_user_version(version: int) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"PRAGMA user_version = {version:d}")
