"""What does the fourth schema add? People: their keys and groups, limits, use, aliases, terms, and who changed what."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

AUDIT_GUARDS: Final = (
    """CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN
SELECT RAISE(ABORT, 'the audit log is append-only');
END""",
    """CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN
SELECT RAISE(ABORT, 'the audit log is append-only');
END""",
    """CREATE TRIGGER audit_log_no_replace BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE id = NEW.id)
BEGIN
SELECT RAISE(ABORT, 'the audit log is append-only');
END""",
)


def upgrade() -> None:
    """Create the tables, guard the audit log, and say so in ``PRAGMA user_version``."""
    _create_terms_and_groups()
    _create_keys()
    _create_invites()
    _create_limits_and_aliases()
    _create_usage()
    _create_audit()
    _set_user_version(4)


def downgrade() -> None:
    """Drop the tables, and with them every minted key."""
    op.drop_table("audit_log")
    op.drop_table("usage_hours")
    op.drop_table("aliases")
    op.drop_table("model_limits")
    op.drop_table("limit_counters")
    op.drop_table("invites")
    op.drop_table("key_secrets")
    op.drop_table("api_keys")
    op.drop_table("key_groups")
    op.drop_table("server_terms")
    _set_user_version(3)


def _create_terms_and_groups() -> None:
    op.create_table(
        "server_terms",
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("trust", sa.String(16), nullable=True),
        sa.Column("hours", sa.JSON(), nullable=True),
        sa.Column("pending", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("pending_reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("pending_until", sa.String(32), nullable=True),
        sa.ForeignKeyConstraint(
            ["server_id"], ["model_servers.id"], name="fk_server_terms_server_id_model_servers", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("server_id", name="pk_server_terms"),
    )
    op.create_table(
        "key_groups",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False, server_default=""),
        sa.Column("models", sa.JSON(), nullable=True),
        sa.Column("reach", sa.String(16), nullable=False, server_default="public"),
        sa.Column("weight", sa.Float(), nullable=False, server_default="1"),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("person_limits", sa.JSON(), nullable=False),
        sa.Column("model_limits", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_key_groups"),
        sa.UniqueConstraint("name", name="uq_key_groups_name"),
    )


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("group_id", sa.String(36), nullable=True),
        sa.Column("person", sa.Text(), nullable=True),
        sa.Column("minted_by", sa.Text(), nullable=True),
        sa.Column("models", sa.JSON(), nullable=True),
        sa.Column("routes", sa.JSON(), nullable=True),
        sa.Column("reach", sa.String(16), nullable=False, server_default="public"),
        sa.Column("tools_anywhere", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("names_people", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("background", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("weight", sa.Float(), nullable=False, server_default="1"),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("model_limits", sa.JSON(), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=True),
        sa.Column("revoked_at", sa.String(32), nullable=True),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["key_groups.id"], name="fk_api_keys_group_id_key_groups"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_group_id", "api_keys", ["group_id"])
    op.create_index("ix_api_keys_minted_by", "api_keys", ["minted_by"])
    op.create_table(
        "key_secrets",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("shown", sa.String(16), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_key_secrets_key_id_api_keys", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name="pk_key_secrets"),
    )
    op.create_index("ix_key_secrets_key_id", "key_secrets", ["key_id"])


def _create_invites() -> None:
    op.create_table(
        "invites",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("key_id", sa.String(36), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_invites_key_id_api_keys", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name="pk_invites"),
    )
    op.create_index("ix_invites_key_id", "invites", ["key_id"])


def _create_limits_and_aliases() -> None:
    op.create_table(
        "limit_counters",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("saved_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("subject", "model", name="pk_limit_counters"),
    )
    op.create_table(
        "model_limits",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_model_limits"),
    )
    op.create_table(
        "aliases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("targets", sa.JSON(), nullable=False),
        sa.Column("fallbacks", sa.JSON(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_aliases"),
    )


def _create_usage() -> None:
    op.create_table(
        "usage_hours",
        sa.Column("hour", sa.String(32), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("errors", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("estimated_tokens", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("continuations", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("seconds", sa.Float(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint(
            "hour", "key_id", "person", "group_id", "model", "server_id", "owner", name="pk_usage_hours"
        ),
        sqlite_with_rowid=False,
    )


def _create_audit() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False, server_default=""),
        sa.Column("request_id", sa.Text(), nullable=False, server_default=""),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("object_kind", sa.String(32), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("object_name", sa.Text(), nullable=False, server_default=""),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_at", "audit_log", ["at"])
    op.create_index("ix_audit_log_object_kind_object_id", "audit_log", ["object_kind", "object_id"])
    if op.get_bind().dialect.name == "sqlite":
        for statement in AUDIT_GUARDS:
            op.execute(statement)


def _set_user_version(version: int) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"PRAGMA user_version = {version:d}")
