"""What do all tables have in common? How their constraints are named, and the columns that come up again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

__all__ = ["UtcDateTime", "hold_columns", "metadata"]

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware instant, kept as ISO-8601 text in UTC with microseconds: 32 characters that sort by time.

    SQLite has no type for instants; text of one width compares rightly, reads well in a dump, and comes back aware.
    """

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy passes it
        """Turn an aware datetime into text; a naive one is a bug of the caller's and raises ValueError."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = "a naive datetime cannot be stored: give it a time zone"
            raise ValueError(message)
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - as above
        """Turn the text back into an aware datetime."""
        return None if value is None else datetime.fromisoformat(value)


def hold_columns(name: str) -> list[sa.Column[object]]:
    """Make the three columns of one reason to send no new work: is it set, why, until when (null: until undone)."""
    return [
        sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column(f"{name}_reason", sa.Text(), nullable=False, server_default=""),
        sa.Column(f"{name}_until", UtcDateTime(), nullable=True),
    ]
