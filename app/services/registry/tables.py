"""What does the database hold? The schema of the registry, for SQLite and PostgreSQL alike.

``model_servers`` keeps a row for ever (until retention purges it): removal sets ``deleted_at``, so that history stays
while the endpoint may be registered anew. The migrations under ``migrations/`` build exactly this; a test compares.
"""

from __future__ import annotations

import sqlalchemy as sa

from app.services.registry.columns import UtcDateTime, hold_columns, metadata
from app.services.registry.dashboard_tables import traffic_minutes, ui_sessions
from app.services.registry.people_tables import (
    AUDIT_GUARDS,
    aliases,
    api_keys,
    audit_log,
    invites,
    key_groups,
    key_secrets,
    limit_counters,
    model_limits,
    server_terms,
    usage_hours,
)

__all__ = [
    "AUDIT_GUARDS",
    "SCHEMA_VERSION",
    "UtcDateTime",
    "aliases",
    "api_keys",
    "audit_log",
    "continuation_findings",
    "health_checks",
    "invites",
    "key_groups",
    "key_secrets",
    "limit_counters",
    "metadata",
    "model_class_members",
    "model_classes",
    "model_limits",
    "model_servers",
    "server_models",
    "server_terms",
    "traffic_minutes",
    "ui_sessions",
    "usage_hours",
    "verification_findings",
]

SCHEMA_VERSION = 5
"""What ``PRAGMA user_version`` says of a database that these tables describe."""

model_servers = sa.Table(
    "model_servers",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
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
    *hold_columns("paused"),
    *hold_columns("quarantined"),
    *hold_columns("blocked"),
    *hold_columns("draining"),
    sa.Column("health_status", sa.String(16), nullable=False, server_default="unknown"),
    sa.Column("health_reason", sa.Text(), nullable=False, server_default=""),
    sa.Column("consecutive_failures", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("consecutive_successes", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("missing_models", sa.JSON(), nullable=False),
    sa.Column("last_checked_at", UtcDateTime(), nullable=True),
    sa.Column("last_transition_at", UtcDateTime(), nullable=True),
    sa.Column("created_at", UtcDateTime(), nullable=False),
    sa.Column("updated_at", UtcDateTime(), nullable=False),
    sa.Column("deleted_at", UtcDateTime(), nullable=True),
    sa.Index(None, "health_status"),
    sa.Index(None, "deleted_at"),
    sa.Index(None, "owner"),
)

sa.Index(
    "uq_model_servers_live_endpoint",
    model_servers.c.endpoint_url,
    unique=True,
    sqlite_where=model_servers.c.deleted_at.is_(None),
    postgresql_where=model_servers.c.deleted_at.is_(None),
)

server_models = sa.Table(
    "server_models",
    metadata,
    sa.Column("server_id", sa.ForeignKey("model_servers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.Text(), primary_key=True),
    sa.Column("upstream_name", sa.Text(), nullable=False),
    sa.Column("context_length", sa.Integer(), nullable=True),
    sa.Column("position", sa.Integer(), nullable=False),
    sa.Index(None, "name"),
)

health_checks = sa.Table(
    "health_checks",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("server_id", sa.ForeignKey("model_servers.id", ondelete="CASCADE"), nullable=False),
    sa.Column("checked_at", UtcDateTime(), nullable=False),
    sa.Column("ok", sa.Boolean(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False, server_default=""),
    sa.Column("latency_ms", sa.Float(), nullable=True),
    sa.Column("source", sa.String(16), nullable=False),
)

continuation_findings = sa.Table(
    "continuation_findings",
    metadata,
    sa.Column("server_id", sa.ForeignKey("model_servers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("upstream_name", sa.Text(), primary_key=True),
    sa.Column("chat", sa.String(32), nullable=False),
    sa.Column("text", sa.String(32), nullable=False),
    sa.Column("thinking_off", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("trims", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("reason", sa.Text(), nullable=False, server_default=""),
    sa.Column("version", sa.Text(), nullable=False, server_default=""),
    sa.Column("probed_at", UtcDateTime(), nullable=True),
)

sa.Index("ix_health_checks_server_id_checked_at", health_checks.c.server_id, health_checks.c.checked_at.desc())

verification_findings = sa.Table(
    "verification_findings",
    metadata,
    sa.Column("server_id", sa.ForeignKey("model_servers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("upstream_name", sa.Text(), primary_key=True),
    sa.Column("subject", sa.String(32), primary_key=True),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("detail", sa.Text(), nullable=False, server_default=""),
    sa.Column("measured", sa.Float(), nullable=True),
    sa.Column("found_at", UtcDateTime(), nullable=False),
)

model_classes = sa.Table(
    "model_classes",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("decided_by", sa.Text(), nullable=True),
    sa.Column("created_at", UtcDateTime(), nullable=False),
    sa.Index(None, "name"),
)

model_class_members = sa.Table(
    "model_class_members",
    metadata,
    sa.Column("class_id", sa.ForeignKey("model_classes.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.Text(), primary_key=True),
    sa.Index(None, "name"),
)
