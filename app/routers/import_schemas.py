"""What comes in and goes out of lists of people, each of whom gets a key or a link to one?"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Self

from msgspec import UNSET
from pydantic import ConfigDict, Field, model_validator

from app.routers.key_schemas import KeyTerms, given
from app.routers.key_views import EXAMPLE_ID
from app.routers.model_views import View
from app.routers.schemas import StrictModel
from app.services.registry.people.importing import ImportedPerson, people_of_csv, people_of_list
from app.services.registry.people.invites import INVITE_DAYS, HandedOut
from app.services.registry.people.records import KeySpec

if TYPE_CHECKING:
    from app.services.registry.people.invites import Imported

__all__ = ["ImportPeople", "ImportedKeys", "InviteView", "MakeInvite", "imported_keys"]

MAX_INVITE_DAYS: Final = 90
EXAMPLE_LINK: Final = "https://gateway.example/invite/mvi_0000000000000000000000000000000aBcDe"

InviteDays = Annotated[
    float, Field(gt=0, le=MAX_INVITE_DAYS, allow_inf_nan=False, description="How many days a link works.")
]
Cell = Annotated[str, Field(max_length=1000)]
"""Of a list; ``importing`` judges, and tells each fault by its number."""


class MakeInvite(StrictModel):
    """How long a link works."""

    invite_days: InviteDays = INVITE_DAYS


class ListedPerson(StrictModel):
    """One of a list. One of the three is enough: who has no `person` is known by `email`, else by `name`."""

    person: Cell | None = Field(default=None, description="Whose use counts together.", examples=["ada"])
    name: Cell | None = Field(default=None, description="What the key is called.", examples=["Ada Lovelace"])
    email: Cell | None = Field(default=None, examples=["ada@example.org"])


class ImportPeople(KeyTerms):
    """A list of people, and what the key of each may do."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "csv": "name,email\nAda Lovelace,ada@example.org\n",
                    "as": "invites",
                    "models": ["llama-3-8b"],
                    "expires_at": "2099-02-28T23:59:59Z",
                    "limits": {"requests_per_minute": 20},
                }
            ]
        }
    )

    people: Annotated[list[ListedPerson], Field(min_length=1)] | None = Field(
        default=None, description="The list, of 5,000 at most; or give `csv`."
    )
    csv: str | None = Field(
        default=None,
        min_length=1,
        description="The list as CSV: commas, semicolons or tabs; its first row names the columns.",
        examples=["name,email\nAda Lovelace,ada@example.org\n"],
    )
    handed_out: Annotated[HandedOut, Field(strict=False)] = Field(
        default=HandedOut.KEYS, alias="as", description="Whether each gets a key, or a link by which to fetch it."
    )
    invite_days: InviteDays = INVITE_DAYS
    skip_existing: bool = Field(
        default=False, description="Leave out who has a live key in the group, or stands in the list twice."
    )

    @model_validator(mode="after")
    def refuse_no_list_and_two(self) -> Self:
        """Take one list."""
        if (self.people is None) == (self.csv is None):
            message = "give the list either as people or as csv"
            raise ValueError(message)
        return self

    def listed(self) -> list[ImportedPerson]:
        """Return the people of the list.

        Raises:
            FieldsInvalid: some of it is not good.
        """
        if self.csv is not None:
            return people_of_csv(self.csv)
        return people_of_list(one.model_dump() for one in self.people or [])

    def terms(self, group_id: str | None) -> KeySpec:
        """Return what each of the keys may do; name and person are filled in for each."""
        own = ("group", "people", "csv", "handed_out", "invite_days", "skip_existing")
        return KeySpec("", **given(self, *own), group_id=group_id if "group" in self.model_fields_set else UNSET)


class ImportedKey(View):
    """What one person of a list got: a key, or a link to one; shown this once."""

    line: int = Field(description="Of the CSV, or the number in the list.", examples=[2])
    person: str = Field(examples=["ada@example.org"])
    name: str = Field(examples=["Ada Lovelace"])
    email: str = Field(description="As it was given; empty if it was not.", examples=["ada@example.org"])
    id: str = Field(examples=[EXAMPLE_ID])
    key: str | None = Field(examples=[None])
    link: str | None = Field(examples=[EXAMPLE_LINK])
    link_expires_at: datetime | None


class LeftOutView(View):
    """Somebody of a list who got nothing."""

    line: int = Field(examples=[3])
    person: str = Field(examples=["grace@example.org"])
    reason: str = Field(examples=["has a key in the group physics-101 already"])


class ImportedKeys(View):
    """What came of a list."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    handed_out: HandedOut = Field(alias="as")
    made: list[ImportedKey]
    left_out: list[LeftOutView]


class InviteView(View):
    """A link by which a key is fetched; shown this once."""

    id: str = Field(description="Of the key.", examples=[EXAMPLE_ID])
    link: str = Field(examples=[EXAMPLE_LINK])
    expires_at: datetime


def imported_keys(handed_out: HandedOut, imported: Imported) -> ImportedKeys:
    """Show what came of a list, this once."""
    return ImportedKeys(
        handed_out=handed_out,
        made=[
            ImportedKey(
                line=one.person.line,
                person=one.person.person,
                name=one.person.name,
                email=one.person.email,
                id=one.record.id,
                key=one.key,
                link=one.link.url if one.link else None,
                link_expires_at=one.link.expires_at if one.link else None,
            )
            for one in imported.made
        ],
        left_out=[LeftOutView(line=one.line, person=one.person, reason=one.reason) for one in imported.left_out],
    )
