"""What does the first schema hold? Servers, their models, and the last checks of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.String(32)


def upgrade() -> None:
    """Create the tables and say so in ``PRAGMA user_version``."""
    _create_model_servers()
    _create_server_models()
    _create_health_checks()
    _set_user_version(1)


def downgrade() -> None:
    """Drop the tables, and all that they hold."""
    op.drop_table("health_checks")
    op.drop_table("server_models")
    op.drop_table("model_servers")
    _set_user_version(0)


def _set_user_version(version: int) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"PRAGMA user_version = {version:d}")


def _hold(name: str) -> list[sa.Column[object]]:
    return [
        sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column(f"{name}_reason", sa.Text(), nullable=False, server_default=""),
        sa.Column(f"{name}_until", INSTANT, nullable=True),
    ]


def _create_model_servers() -> None:
    op.create_table(
        "model_servers",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("endpoint_url", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("api_key_ciphertext", sa.LargeBinary(), nullable=True),
        sa.Column("engine", sa.String(64), nullable=False, server_default="unknown"),
        sa.Column("discovers_models", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("max_concurrency", sa.Integer(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("weight", sa.Float(), nullable=False, server_default="1"),
        sa.Column("share", sa.String(16), nullable=False, server_default="everyone"),
        sa.Column("capabilities", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        *_hold("paused"),
        *_hold("quarantined"),
        *_hold("blocked"),
        *_hold("draining"),
        sa.Column("health_status", sa.String(16), nullable=False, server_default="unknown"),
        sa.Column("health_reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("consecutive_failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("consecutive_successes", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("missing_models", sa.JSON(), nullable=False),
        sa.Column("last_checked_at", INSTANT, nullable=True),
        sa.Column("last_transition_at", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("deleted_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_model_servers"),
    )
    for column in ("health_status", "deleted_at", "owner"):
        op.create_index(f"ix_model_servers_{column}", "model_servers", [column])
    op.create_index(
        "uq_model_servers_live_endpoint",
        "model_servers",
        ["endpoint_url"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )


def _create_server_models() -> None:
    op.create_table(
        "server_models",
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("upstream_name", sa.Text(), nullable=False),
        sa.Column("context_length", sa.Integer(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["server_id"], ["model_servers.id"], name="fk_server_models_server_id_model_servers", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("server_id", "name", name="pk_server_models"),
    )
    op.create_index("ix_server_models_name", "server_models", ["name"])


def _create_health_checks() -> None:
    op.create_table(
        "health_checks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("checked_at", INSTANT, nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("latency_ms", sa.Float(), nullable=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.ForeignKeyConstraint(
            ["server_id"], ["model_servers.id"], name="fk_health_checks_server_id_model_servers", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_health_checks"),
    )
    op.create_index(
        "ix_health_checks_server_id_checked_at", "health_checks", ["server_id", sa.literal_column("checked_at DESC")]
    )
