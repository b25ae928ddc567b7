"""How are groups of keys made, shown, changed and removed over HTTP?"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator, ConfigDict, Field

from app.routers.bounds import single_line
from app.routers.deps import DOCUMENTED_SCHEMES, Admin
from app.routers.documented import DATABASE_FAILS, errors_in_words
from app.routers.key_schemas import LimitsBody, ModelLimits, Models, OneLine, Reach, Weight, changing, given
from app.routers.key_views import EXAMPLE_ID, GroupList, GroupView, group_view
from app.routers.keys import Keeper, KeysHere
from app.routers.schemas import StrictModel
from app.services.registry.people.forms import MAX_DESCRIPTION_LENGTH
from app.services.registry.people.records import GroupChange, GroupSpec

__all__ = ["router"]

WORDS: Final = {
    404: (
        "There is no group with this id that one may see.",
        "There is no group of this id that you may see. GET /admin/groups lists those.",
    ),
    409: (
        "The name is taken, or keys are in the group that is to be removed.",
        "There is a group called physics-101 already. Choose another name.",
    ),
}
"""What some statuses mean here: in words, and by example."""
FOLLOWING: Final = ("show_group", "change_group", "remove_group")
LINKS: Final = {name: {"operationId": name, "parameters": {"group_id": "$response.body#/id"}} for name in FOLLOWING}

_errors: Final = partial(errors_in_words, {**DATABASE_FAILS, **WORDS})
router = APIRouter(prefix="/admin/groups", tags=["keys"], dependencies=DOCUMENTED_SCHEMES)

GroupId = Annotated[str, Path(description="The group's `id`.", examples=[EXAMPLE_ID])]


class DescribeGroup(StrictModel):
    """A group as it is asked for. Everything but `name` may be left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "physics-101",
                    "description": "Spring term",
                    "models": ["llama-3-8b"],
                    "person_limits": {"requests_per_minute": 20, "tokens_per_day": 100_000},
                }
            ]
        }
    )

    name: OneLine = Field(description="What it is called; no two groups have one name.", examples=["physics-101"])
    description: Annotated[str, AfterValidator(single_line)] = Field(default="", max_length=MAX_DESCRIPTION_LENGTH)
    models: Models | None = None
    reach: Reach = "public"
    weight: Weight = 1
    limits: LimitsBody | None = Field(default=None, description="Of all of its keys together.")
    person_limits: LimitsBody | None = Field(default=None, description="Of each person in it.")
    model_limits: ModelLimits | None = None

    def spec(self) -> GroupSpec:
        """Return it as the registry takes it."""
        return GroupSpec(**given(self))


class ChangeGroup(StrictModel):
    """The fields of a group to change. What is left out stays; limits are replaced whole."""

    model_config = changing(person_limits={"requests_per_minute": 40})

    name: OneLine = ""
    description: Annotated[str, AfterValidator(single_line)] = Field(default="", max_length=MAX_DESCRIPTION_LENGTH)
    models: Models | None = None
    reach: Reach = "public"
    weight: Weight = 1
    limits: LimitsBody | None = None
    person_limits: LimitsBody | None = None
    model_limits: ModelLimits | None = None

    def change(self) -> GroupChange:
        """Return the given fields as the registry takes them."""
        return GroupChange(**given(self))


@router.get("", responses=_errors(401, 403))
async def list_groups(principal: Keeper, keys: KeysHere) -> GroupList:
    """List the groups that one may see, by name."""
    found = keys.list_groups(principal)
    return GroupList(groups=[group_view(record) for record in found], total=len(found))


@router.post("", status_code=201, responses={**_errors(401, 403, 409, 422, 503), 201: {"links": LINKS}})
async def create_group(body: DescribeGroup, principal: Admin, keys: KeysHere) -> GroupView:
    """Make a group of keys: a class, a lab. Its bounds narrow each of its keys."""
    return group_view(await keys.create_group(principal, body.spec()))


@router.get("/{group_id}", responses=_errors(401, 403, 404, 422))
async def show_group(group_id: GroupId, principal: Keeper, keys: KeysHere) -> GroupView:
    """Show one group."""
    return group_view(keys.get_group(principal, group_id))


@router.patch("/{group_id}", responses=_errors(401, 403, 404, 409, 422, 503))
async def change_group(group_id: GroupId, body: ChangeGroup, principal: Admin, keys: KeysHere) -> GroupView:
    """Change some fields of a group; its keys follow from the next request on.

    Fields that are left out stay as they are. A null clears `models` and limits.
    """
    return group_view(await keys.change_group(principal, group_id, body.change()))


@router.delete("/{group_id}", status_code=204, responses=_errors(401, 403, 404, 409, 422, 503))
async def remove_group(group_id: GroupId, principal: Admin, keys: KeysHere) -> Response:
    """Remove a group that no key is in but revoked ones."""
    await keys.remove_group(principal, group_id)
    return Response(status_code=204)
