"""How strict are bodies read? Unknown fields are refused by name, and values of other types are.

A misspelt ``max_concurency`` that is silently dropped costs an owner an evening.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

__all__ = ["StrictModel"]


class StrictModel(BaseModel):
    """Refuses unknown fields by name and values of other types."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def refuse_unknown_fields(cls, value: Any) -> Any:
        """Name the fields that exist beside each one that does not."""
        names = [field.alias or name for name, field in cls.model_fields.items()]
        unknown = [name for name in value if name not in names] if isinstance(value, dict) else []
        if not unknown:
            return value
        known = ", ".join(names)
        error = PydanticCustomError("unknown_field", "is not a field here. Known fields: {known}", {"known": known})
        details = [InitErrorDetails(type=error, loc=(str(name),), input=None) for name in unknown]
        raise ValidationError.from_exception_data(cls.__name__, details)
