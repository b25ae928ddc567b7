"""On what terms may a server be lent? Hours and trust as they come in and go out."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from app.routers.strict_model import StrictModel
from app.services.core.people.hours import Hours
from app.services.core.people.principal import Trust
from app.services.registry.terms import MAX_WINDOWS, hours_document, hours_from
from app.services.registry.terms_zones import MAX_ZONE_LENGTH

__all__ = ["ApproveServer", "LentHours", "LentWindow", "Share", "TrustServer", "hours_view"]

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EVERY_DAY: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def trust_word(value: Any) -> Any:
    """Take the words that JSON has for the values that the registry has."""
    return Trust(value) if isinstance(value, str) and value in set(Trust) else value


TrustWord = Annotated[
    Trust,
    BeforeValidator(trust_word),
    Field(
        description="`trusted`: for all requests, those with tools too. `group`: for members of its owner's group. "
        "`public`: for requests that ask for no trust.",
        examples=["trusted"],
    ),
]


Share = Annotated[
    Literal["everyone", "group", "me"],
    Field(
        description="Who may use it: `everyone`, the keys of its owner's `group`, or its owner alone (`me`).",
        examples=["everyone"],
    ),
]


class LentWindow(StrictModel):
    """A time of day on some days of the week. It passes midnight if `to` is no later than `from`."""

    model_config = ConfigDict(populate_by_name=False)

    days: list[Day] = Field(
        default_factory=lambda: list(EVERY_DAY),
        min_length=1,
        max_length=len(EVERY_DAY),
        description="The days that it begins on. Left out: every day.",
        examples=[["mon", "tue", "wed", "thu", "fri"]],
    )
    opens: str = Field(alias="from", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["18:00"])
    closes: str = Field(
        alias="to",
        pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
        description="The same as `from` for the whole day.",
        examples=["08:00"],
    )


class LentHours(StrictModel):
    """When a server is lent: within these windows, by the clock of its time zone, summer time included."""

    timezone: str = Field(
        min_length=1,
        max_length=MAX_ZONE_LENGTH,
        description="A name of the IANA database.",
        examples=["Europe/Berlin"],
    )
    windows: list[LentWindow] = Field(min_length=1, max_length=MAX_WINDOWS)

    def hours(self) -> Hours:
        """Return them as the registry has them, the zone not looked up yet."""
        return hours_from(self.model_dump(by_alias=True))


def hours_view(hours: Hours | None) -> LentHours | None:
    """Show hours the way they are given."""
    return None if hours is None else LentHours.model_validate(hours_document(hours))


class ApproveServer(StrictModel):
    """What the operator thinks of a server that waits for approval."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"trust": "group"}]})

    trust: TrustWord | None = Field(default=None, description="Left out or null: as it is.")


class TrustServer(StrictModel):
    """How far the operator trusts a server."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"trust": "trusted"}]})

    trust: TrustWord | None = Field(description="Null: as its owner and `share` imply.")
