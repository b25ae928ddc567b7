"""What comes in of keys and limits? The bodies, with their bounds."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import UNSET
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, Field

from app.routers.bounds import last_moment, single_line, whole_number
from app.routers.schemas import ModelName, StrictModel
from app.services.core.errors import FieldsInvalid
from app.services.core.people.principal import Limits, Role, Trust
from app.services.registry.people.forms import (
    MAX_MODEL_LIMITS,
    MAX_NAME_LENGTH,
    MAX_PERSON_LENGTH,
    MAX_ROUTE_LENGTH,
    MAX_ROUTES,
)
from app.services.registry.people.key_decisions import MAX_OVERLAP_SECONDS
from app.services.registry.people.records import GroupRecord, KeyChange, KeySpec
from app.services.registry.specification import MAX_MODELS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ChangeKey",
    "KeyTerms",
    "LimitsBody",
    "MakeKey",
    "ModelLimits",
    "Models",
    "OneLine",
    "Reach",
    "RotateKey",
    "Weight",
    "changing",
    "given",
    "group_named",
]

MAX_LIMIT: Final = 10**12
OVERLAP_SECONDS: Final = 3600.0
"""How long a key that is rotated has two secrets, if nobody says otherwise."""
GROUPS_SHOWN: Final = 20
ONE_LINE: Final = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f\u2028\u2029]*[^\s\x00-\x1f\x7f-\x9f])?$"
"""For the description alone; ``single_line`` judges."""

OneLine = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME_LENGTH, json_schema_extra={"pattern": ONE_LINE}),
    AfterValidator(single_line),
]
Count = Annotated[int, Field(ge=1, le=MAX_LIMIT), BeforeValidator(whole_number)]
RoleName = Annotated[
    Literal["admin", "owner", "user"],
    Field(description="What it may do: `user` uses models, `owner` lends servers too, `admin` does all."),
]
Reach = Annotated[
    Literal["trusted", "group", "public"],
    Field(description="How far requests may go: to trusted servers alone, to those of the group too, or to all."),
]
Weight = Annotated[
    float,
    Field(
        ge=0.01,
        le=100,
        allow_inf_nan=False,
        description="Its share beside others' when servers are full.",
        examples=[1],
    ),
]
Models = Annotated[
    list[ModelName],
    Field(min_length=1, max_length=MAX_MODELS, description="The only models it may ask for; null: all."),
]
Route = Annotated[str, Field(max_length=MAX_ROUTE_LENGTH, pattern=r"^/[!-~]*$", examples=["/v1/chat/completions"])]
Routes = Annotated[
    list[Route],
    Field(
        min_length=1, max_length=MAX_ROUTES, description="The only paths it may call, all below included; null: all."
    ),
]
Instant = Annotated[
    Annotated[AwareDatetime, Field(strict=False)],
    BeforeValidator(last_moment, json_schema_input_type=AwareDatetime | date),
]
Expiry = Annotated[
    Instant,
    Field(
        description="When it ends: ISO 8601 with zone, or a date for the end of that day in UTC; null: never.",
        examples=["2030-02-28T23:59:59Z"],
    ),
]
GroupName = Annotated[OneLine, Field(description="The name or the id of a group.", examples=["physics-101"])]
PersonName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_PERSON_LENGTH,
        description="Whose use counts together, such as an address.",
        examples=["ada@example.org"],
        json_schema_extra={"pattern": ONE_LINE},
    ),
    AfterValidator(single_line),
]


class LimitsBody(StrictModel):
    """How much may be used. What is left out or null is without limit. Days and months are calendar ones in UTC."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"requests_per_minute": 60, "tokens_per_day": 200_000}]})

    requests_per_minute: Count | None = Field(
        default=None, description="At most so many in any 60 seconds; all of them may come at once."
    )
    tokens_per_minute: Count | None = None
    tokens_per_day: Count | None = None
    tokens_per_month: Count | None = None
    concurrency: Count | None = Field(default=None, description="How many requests may run at once.")

    def limits(self) -> Limits:
        """Return them as the core has them."""
        return Limits(**{name: getattr(self, name) for name in LimitsBody.model_fields})


ModelLimits = Annotated[
    dict[ModelName, LimitsBody],
    Field(
        max_length=MAX_MODEL_LIMITS,
        description="More limits, by the model that alone counts for them.",
        json_schema_extra={"additionalProperties": False},
    ),
]


def changing(**example: Any) -> ConfigDict:
    """Configure the body of a change: what is left out stays as it is, so no default is told.

    Args:
        example: a body.
    """

    def describe(schema: dict[str, Any]) -> None:
        for field in schema["properties"].values():
            field.pop("default", None)
        schema["examples"] = [example]

    return ConfigDict(json_schema_extra=describe)


def given(body: StrictModel, *without: str) -> dict[str, Any]:
    """Return the fields that were given as the registry takes them, but for some."""
    return {name: _stored(name, getattr(body, name)) for name in body.model_fields_set - set(without)}


def group_named(wanted: str | None, groups: Iterable[GroupRecord]) -> str | None:
    """Return the id of the group that an id or a name means; None for none.

    Args:
        wanted: as it was given.
        groups: those that one may see.

    Raises:
        FieldsInvalid: there is none; the message names those that there are.
    """
    if wanted is None:
        return None
    by_name = {group.name: group.id for group in groups}
    if wanted in by_name.values():
        return wanted
    if wanted in by_name:
        return by_name[wanted]
    more = f" and {len(by_name) - GROUPS_SHOWN} more" if len(by_name) > GROUPS_SHOWN else ""
    known = f"There are: {', '.join(sorted(by_name)[:GROUPS_SHOWN])}{more}." if by_name else "You see none."
    message = f"There is no group of this name or id. {known} POST /admin/groups makes one."
    raise FieldsInvalid(message, param="group")


def _stored(name: str, value: Any) -> Any:
    """Turn one field of a body into what the registry keeps; null is no limits where limits are meant."""
    match name:
        case "limits" | "person_limits":
            return value.limits() if value else Limits()
        case "model_limits":
            return {model: limits.limits() for model, limits in (value or {}).items()}
        case "models" | "routes":
            return None if value is None else frozenset(value)
        case "reach":
            return Trust(value)
        case "role":
            return Role(value)
        case _:
            return value.astimezone(UTC) if isinstance(value, datetime) else value


class KeyTerms(StrictModel):
    """What a key may do. What is left out is as with the key that asks."""

    role: RoleName = "user"
    group: GroupName | None = None
    models: Models | None = None
    routes: Routes | None = None
    reach: Reach = "public"
    tools_anywhere: bool = Field(
        default=False, description="Whether its requests with tools may go as far as its others."
    )
    background: bool = Field(default=False, description="Whether its requests yield to those of people.")
    weight: Weight = 1
    limits: LimitsBody | None = None
    model_limits: ModelLimits | None = None
    expires_at: Expiry | None = None


class MakeKey(KeyTerms):
    """A key as it is asked for. Everything but `name` may be left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "ada's notebook",
                    "role": "user",
                    "models": ["llama-3-8b"],
                    "expires_at": "2099-02-28T23:59:59Z",
                    "limits": {"requests_per_minute": 60, "tokens_per_day": 200_000},
                }
            ]
        }
    )

    name: OneLine = Field(description="What it is called.", examples=["ada's notebook"])
    person: PersonName | None = None
    names_people: bool = Field(
        default=False, description="Whether it is a front end's, which names its users in a header."
    )

    def spec(self, group_id: str | None) -> KeySpec:
        """Return it as the registry takes it; the group's name has become an id."""
        fields = given(self, "group")
        return KeySpec(**fields, group_id=group_id if "group" in self.model_fields_set else UNSET)


class ChangeKey(StrictModel):
    """The fields of a key to change. What is left out stays; `limits` and `model_limits` are replaced whole."""

    model_config = changing(limits={"requests_per_minute": 120})

    name: OneLine = ""
    role: RoleName = "user"
    group: GroupName | None = None
    person: PersonName | None = None
    models: Models | None = None
    routes: Routes | None = None
    reach: Reach = "public"
    tools_anywhere: bool = False
    names_people: bool = False
    background: bool = False
    weight: Weight = 1
    limits: LimitsBody | None = None
    model_limits: ModelLimits | None = None
    expires_at: Expiry | None = None

    def change(self, group_id: str | None, now: datetime) -> KeyChange:
        """Return the given fields as the registry takes them; the group's name has become an id.

        Raises:
            FieldsInvalid: the key would have ended already.
        """
        if self.expires_at is not None and self.expires_at <= now:
            message = "expires_at has passed already. Give a later one, or DELETE the key to end it."
            raise FieldsInvalid(message, param="expires_at")
        fields = given(self, "group")
        return KeyChange(**fields, group_id=group_id if "group" in self.model_fields_set else UNSET)


class RotateKey(StrictModel):
    """How long the old secret lives on beside the new one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_seconds": 86400}]})

    overlap_seconds: float = Field(
        default=OVERLAP_SECONDS,
        ge=0,
        le=MAX_OVERLAP_SECONDS,
        allow_inf_nan=False,
        description="For so long both secrets open the key. Left out: 3600, an hour. With 0 the old one ends at once, "
        "as it should where somebody else has come to know it.",
    )
