"""How are names confirmed to be one model over HTTP?"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import Field

from app.routers.deps import DOCUMENTED_SCHEMES, Admin, Operator
from app.routers.documented import DATABASE_FAILS, errors_in_words
from app.routers.model_views import View
from app.routers.schemas import ModelName, StrictModel
from app.services.core.choice.classes import MAX_MEMBERS
from app.services.core.errors import Unavailable
from app.services.core.naming.proposals import Proposal
from app.services.registry.class_store import ClassRecord
from app.services.registry.classes import ModelClasses

__all__ = ["router"]

WORDS: Final = {
    404: (
        "There is no confirmed class of this name.",
        "There is no confirmed class of this name. GET /admin/model-classes lists those that exist.",
    ),
    409: (
        "One of the names is in another class already, or the class would hide a model.",
        "llama3.1:8b is in the class house already, and a name means one model. Leave it out.",
    ),
    **DATABASE_FAILS,
}
"""What some statuses mean here: in words, and by example."""


_errors: Final = partial(errors_in_words, WORDS)

router = APIRouter(prefix="/admin/model-classes", tags=["servers"], dependencies=DOCUMENTED_SCHEMES)

Members = Annotated[
    list[ModelName],
    Field(
        min_length=1,
        max_length=MAX_MEMBERS,
        description="The names that mean one model, as users ask for them.",
        examples=[["llama3.1:8b", "meta-llama/Llama-3.1-8B-Instruct"]],
    ),
]
ClassName = Annotated[
    str, Path(description="What the class is called; it may have slashes.", examples=["llama-3.1-8b-instruct"])
]


class DescribeClass(StrictModel):
    """One model under many names."""

    name: ModelName = Field(
        description="What the class is called. It can be asked for too, and may be one of the members.",
        examples=["llama-3.1-8b-instruct"],
    )
    members: Members


class DismissNames(StrictModel):
    """Names that are not one model."""

    members: Members


class ClassView(View):
    """Names that were confirmed to mean one model. Each leads to every server that has one of them."""

    name: str = Field(examples=["llama-3.1-8b-instruct"])
    members: list[str] = Field(examples=[["llama3.1:8b", "meta-llama/Llama-3.1-8B-Instruct"]])
    decided_by: str | None = Field(description="The id of the key that confirmed it.", examples=["admin"])
    created_at: datetime


class ProposalView(View):
    """Names that are probably one model. Nothing is routed by it until it is confirmed."""

    name: str = Field(description="What the class would be called.", examples=["llama-3.1-8b-instruct"])
    members: list[str] = Field(examples=[["llama3.1:8b", "meta-llama/Llama-3.1-8B-Instruct"]])
    reason: str = Field(
        description="Why, and in what the models differ as far as it is known.",
        examples=["same family, version and size; quantizations differ: FP16, Q4_K_M; contexts 8,192 and 131,072"],
    )
    extends: bool = Field(description="Whether a confirmed class of this name would grow: then PUT it.")


class ClassList(View):
    """What was confirmed, and what is proposed."""

    confirmed: list[ClassView]
    proposals: list[ProposalView]


def classes_of(request: Request) -> ModelClasses:
    """Return the classes.

    Raises:
        Unavailable: they are not there yet.
    """
    classes = getattr(request.app.state, "classes", None)
    if classes is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return cast("ModelClasses", classes)


ClassesHere = Annotated[ModelClasses, Depends(classes_of)]


@router.get("", responses=_errors(401, 403))
async def list_model_classes(principal: Admin, classes: ClassesHere) -> ClassList:
    """List the confirmed classes, and names that are probably one model too."""
    del principal
    proposals = await classes.proposals()
    return ClassList(
        confirmed=[_class_view(record) for record in classes.confirmed],
        proposals=[_proposal_view(proposal) for proposal in proposals],
    )


@router.post("", status_code=201, responses=_errors(401, 403, 409, 422, 503))
async def confirm_model_class(body: DescribeClass, principal: Operator, classes: ClassesHere) -> ClassView:
    """Confirm that names mean one model.

    From now on each of them, and the class's own name, leads to every server that has one of them. Servers are still
    asked by their own names, and answers bear the name that was asked for.
    """
    return _class_view(await classes.confirm(principal, body.name, body.members))


@router.post("/dismiss", status_code=204, responses=_errors(401, 403, 422, 503))
async def dismiss_model_names(body: DismissNames, principal: Operator, classes: ClassesHere) -> Response:
    """Propose these names no more, unless another one joins them."""
    await classes.dismiss(principal, body.members)
    return Response(status_code=204)


@router.put("/{name:path}", responses=_errors(401, 403, 404, 409, 422, 503))
async def change_model_class(
    name: ClassName, body: DescribeClass, principal: Operator, classes: ClassesHere
) -> ClassView:
    """Describe a class anew, its name too."""
    return _class_view(await classes.change(principal, name, body.name, body.members))


@router.delete("/{name:path}", status_code=204, responses=_errors(401, 403, 404, 422, 503))
async def dissolve_model_class(name: ClassName, principal: Operator, classes: ClassesHere) -> Response:
    """Dissolve a class: each name means its own servers again."""
    await classes.dissolve(principal, name)
    return Response(status_code=204)


def _class_view(record: ClassRecord) -> ClassView:
    return ClassView(
        name=record.name, members=list(record.members), decided_by=record.decided_by, created_at=record.created_at
    )


def _proposal_view(proposal: Proposal) -> ProposalView:
    return ProposalView(
        name=proposal.name, members=list(proposal.members), reason=proposal.reason, extends=proposal.extends
    )
