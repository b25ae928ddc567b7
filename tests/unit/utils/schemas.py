"""Small schemas in Alembic's form, for tests of the database itself."""

from __future__ import annotations

from pathlib import Path

ENV = """
from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["target_metadata"],
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
"""
MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {before!r}


def upgrade():
    {statement}
"""
FIRST = (
    "op.create_table('things', sa.Column('id', sa.Integer(), primary_key=True), "
    "sa.Column('name', sa.Text(), nullable=False, unique=True))"
)


def write_migration(folder: Path, revision: str, before: str | None, statement: str) -> None:
    """Add one step to a folder of migrations; ``statement`` is the body of its ``upgrade``."""
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    (folder / "env.py").write_text(ENV)
    text = MIGRATION.format(revision=revision, before=before, statement=statement)
    (folder / "versions" / f"v{revision}.py").write_text(text)
