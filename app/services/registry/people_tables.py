"""What does the database hold of people? Keys, groups, limits, use, aliases, the terms of servers, and the audit."""

from __future__ import annotations

import sqlalchemy as sa

from app.services.registry.columns import UtcDateTime, hold_columns, metadata

__all__ = [
    "AUDIT_GUARDS",
    "aliases",
    "api_keys",
    "audit_log",
    "invites",
    "key_groups",
    "key_secrets",
    "limit_counters",
    "model_limits",
    "server_terms",
    "usage_hours",
]

server_terms = sa.Table(
    "server_terms",
    metadata,
    sa.Column("server_id", sa.ForeignKey("model_servers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("trust", sa.String(16), nullable=True),
    sa.Column("hours", sa.JSON(none_as_null=True), nullable=True),
    *hold_columns("pending"),
)
"""On what terms a server is lent: how far it is trusted (null: as its owner and ``share`` imply), at which hours."""

key_groups = sa.Table(
    "key_groups",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("description", sa.Text(), nullable=False, server_default=""),
    sa.Column("models", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("reach", sa.String(16), nullable=False, server_default="public"),
    sa.Column("weight", sa.Float(), nullable=False, server_default="1"),
    sa.Column("limits", sa.JSON(), nullable=False),
    sa.Column("person_limits", sa.JSON(), nullable=False),
    sa.Column("model_limits", sa.JSON(), nullable=False),
    sa.Column("created_at", UtcDateTime(), nullable=False),
    sa.Column("updated_at", UtcDateTime(), nullable=False),
    sa.UniqueConstraint("name"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("group_id", sa.ForeignKey("key_groups.id"), nullable=True),
    sa.Column("person", sa.Text(), nullable=True),
    sa.Column("minted_by", sa.Text(), nullable=True),
    sa.Column("models", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("routes", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("reach", sa.String(16), nullable=False, server_default="public"),
    sa.Column("tools_anywhere", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("names_people", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("background", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("weight", sa.Float(), nullable=False, server_default="1"),
    sa.Column("limits", sa.JSON(), nullable=False),
    sa.Column("model_limits", sa.JSON(), nullable=False),
    sa.Column("expires_at", UtcDateTime(), nullable=True),
    sa.Column("revoked_at", UtcDateTime(), nullable=True),
    sa.Column("created_at", UtcDateTime(), nullable=False),
    sa.Column("updated_at", UtcDateTime(), nullable=False),
    sa.Index(None, "group_id"),
    sa.Index(None, "minted_by"),
)
"""A revoked key's row stays: what was used and changed with it bears its name."""

key_secrets = sa.Table(
    "key_secrets",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("key_id", sa.ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    sa.Column("shown", sa.String(16), nullable=False),
    sa.Column("created_at", UtcDateTime(), nullable=False),
    sa.Column("expires_at", UtcDateTime(), nullable=True),
    sa.Index(None, "key_id"),
)
"""The SHA-256 of each secret that opens a key: two while it is being rotated."""

invites = sa.Table(
    "invites",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("key_id", sa.ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    sa.Column("created_at", UtcDateTime(), nullable=False),
    sa.Column("expires_at", UtcDateTime(), nullable=False),
    sa.Index(None, "key_id"),
)
"""Links by which a person fetches a key once; used ones are gone."""

limit_counters = sa.Table(
    "limit_counters",
    metadata,
    sa.Column("subject", sa.Text(), primary_key=True),
    sa.Column("model", sa.Text(), primary_key=True),
    sa.Column("state", sa.LargeBinary(), nullable=False),
    sa.Column("saved_at", UtcDateTime(), nullable=False),
)

model_limits = sa.Table(
    "model_limits",
    metadata,
    sa.Column("name", sa.Text(), primary_key=True),
    sa.Column("limits", sa.JSON(), nullable=False),
    sa.Column("updated_at", UtcDateTime(), nullable=False),
)

aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("name", sa.Text(), primary_key=True),
    sa.Column("targets", sa.JSON(), nullable=False),
    sa.Column("fallbacks", sa.JSON(), nullable=False),
    sa.Column("decided_by", sa.Text(), nullable=True),
    sa.Column("created_at", UtcDateTime(), nullable=False),
    sa.Column("updated_at", UtcDateTime(), nullable=False),
)

usage_hours = sa.Table(
    "usage_hours",
    metadata,
    sa.Column("hour", UtcDateTime(), primary_key=True),
    sa.Column("key_id", sa.Text(), primary_key=True),
    sa.Column("person", sa.Text(), primary_key=True),
    sa.Column("group_id", sa.Text(), primary_key=True),
    sa.Column("model", sa.Text(), primary_key=True),
    sa.Column("server_id", sa.Text(), primary_key=True),
    sa.Column("owner", sa.Text(), primary_key=True),
    sa.Column("requests", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("errors", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("prompt_tokens", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("completion_tokens", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("estimated_tokens", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("continuations", sa.BigInteger(), nullable=False, server_default="0"),
    sa.Column("seconds", sa.Float(), nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
"""What was used in an hour. Empty text stands for nobody: no group, no server reached."""

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at", UtcDateTime(), nullable=False),
    sa.Column("actor_id", sa.Text(), nullable=False),
    sa.Column("actor_name", sa.Text(), nullable=False),
    sa.Column("client", sa.Text(), nullable=False, server_default=""),
    sa.Column("request_id", sa.Text(), nullable=False, server_default=""),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("object_kind", sa.String(32), nullable=False),
    sa.Column("object_id", sa.Text(), nullable=False),
    sa.Column("object_name", sa.Text(), nullable=False, server_default=""),
    sa.Column("before", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("after", sa.JSON(none_as_null=True), nullable=True),
    sa.Index(None, "at"),
    sa.Index(None, "object_kind", "object_id"),
)
"""Who changed what. Rows are added and never touched again: on SQLite triggers see to it (migration 0004)."""

AUDIT_GUARDS = {
    "audit_log_no_update": """CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN
SELECT RAISE(ABORT, 'the audit log is append-only');
END""",
    "audit_log_no_delete": """CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN
SELECT RAISE(ABORT, 'the audit log is append-only');
END""",
    "audit_log_no_replace": """CREATE TRIGGER audit_log_no_replace BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE id = NEW.id)
BEGIN
SELECT RAISE(ABORT, 'the audit log is append-only');
END""",
}
"""By the name of each: what refuses to change the past."""
for _statement in AUDIT_GUARDS.values():
    sa.event.listen(audit_log, "after_create", sa.DDL(_statement).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]
