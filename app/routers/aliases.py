"""How are names made to stand for models over HTTP?"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BeforeValidator, ConfigDict, Field

from app.routers.bounds import whole_number
from app.routers.deps import DOCUMENTED_SCHEMES, Admin, Operator
from app.routers.documented import DATABASE_FAILS, errors_in_words
from app.routers.model_views import View
from app.routers.schemas import ModelName, StrictModel
from app.services.core.choice.aliases import Alias, Target
from app.services.core.errors import Unavailable
from app.services.registry.aliases.rules import MAX_FALLBACKS, MAX_TARGETS, MAX_TOKENS, MAX_WEIGHT, shown
from app.services.registry.aliases.service import Aliases
from app.services.registry.aliases.store import AliasRecord

__all__ = ["router"]

WORDS: Final = {
    404: (
        "There is no alias of this name.",
        "There is no alias of this name. GET /admin/aliases lists those that exist.",
    ),
    409: (
        "The name is taken by an alias, a model or a class of models, or an alias leads to it.",
        "Servers are registered for a model called llama-3-8b, which the alias would hide. Choose another name.",
    ),
    422: (
        "Fields are missing, unknown, or have wrong types or values, or a target is an alias itself.",
        "fast is an alias itself, and aliases lead to models only. Name what it leads to: llama-3-8b.",
    ),
    **DATABASE_FAILS,
}
"""What some statuses mean here: in words, and by example."""


_errors: Final = partial(errors_in_words, WORDS)

router = APIRouter(prefix="/admin/aliases", tags=["aliases"], dependencies=DOCUMENTED_SCHEMES)

AliasName = Annotated[str, Path(description="What the alias is called; it may have slashes.", examples=["fast"])]
Bound = Annotated[int, Field(ge=1, le=MAX_TOKENS, examples=[8192]), BeforeValidator(whole_number)]
LEAST: Final = "It takes only requests that need at least so many tokens, prompt and longest answer together."
MOST: Final = "It takes only requests that need at most so many tokens, prompt and longest answer together."


class FallbackBody(StrictModel):
    """A model that is asked for when no target can serve."""

    model: ModelName = Field(description="The name of a model, or of a class of models.")
    min_context_tokens: Bound | None = Field(default=None, description=LEAST)
    max_context_tokens: Bound | None = Field(default=None, description=MOST)

    def target(self) -> Target:
        """Return it as routing has it."""
        return Target(self.model, 1.0, self.min_context_tokens, self.max_context_tokens)


class TargetBody(FallbackBody):
    """A model that an alias leads to."""

    weight: float = Field(
        default=1.0,
        gt=0,
        le=MAX_WEIGHT,
        allow_inf_nan=False,
        description="Its share of the requests beside the other targets'.",
        examples=[3],
    )

    def target(self) -> Target:
        """Return it as routing has it."""
        return Target(self.model, self.weight, self.min_context_tokens, self.max_context_tokens)


def as_target(value: Any) -> Any:
    """Take a plain name for a model without bounds."""
    return {"model": value} if isinstance(value, str) else value


class DescribeAlias(StrictModel):
    """A name that stands for models."""

    name: ModelName = Field(description="What clients ask for.", examples=["fast"])
    targets: list[Annotated[TargetBody, BeforeValidator(as_target, json_schema_input_type=ModelName | TargetBody)]] = (
        Field(
            min_length=1,
            max_length=MAX_TARGETS,
            description="One of them is drawn by weight for each request. A plain name has the weight 1.",
            examples=[[{"model": "llama-3-8b", "weight": 3}, {"model": "qwen", "max_context_tokens": 32768}]],
        )
    )
    fallbacks: list[
        Annotated[FallbackBody, BeforeValidator(as_target, json_schema_input_type=ModelName | FallbackBody)]
    ] = Field(
        default=[],
        max_length=MAX_FALLBACKS,
        description="Tried in this order when no target can serve.",
        examples=[["mistral"]],
    )

    def alias(self) -> Alias:
        """Return it as routing has it."""
        targets = tuple(target.target() for target in self.targets)
        return Alias(self.name, targets, tuple(fallback.target() for fallback in self.fallbacks))


class FallbackView(View):
    """A model that is asked for when no target can serve. Bounds that are not set are left out."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    model: str = Field(examples=["mistral"])
    min_context_tokens: int = Field(default=1, description=LEAST)
    max_context_tokens: int = Field(default=MAX_TOKENS, description=MOST)


class TargetView(FallbackView):
    """A model that an alias leads to. Bounds that are not set are left out."""

    weight: float = Field(description="Its share of the requests beside the other targets'.", examples=[3.0])


class AliasView(View):
    """A name that stands for models."""

    name: str = Field(examples=["fast"])
    targets: list[TargetView]
    fallbacks: list[str | FallbackView] = Field(
        description="In the order in which they are tried: a name, or a model with its bounds.", examples=[["mistral"]]
    )
    missing: list[str] = Field(
        description="A warning: models among these that no server is registered for now.", examples=[["mistral"]]
    )
    hides_model: bool = Field(
        description="A warning: servers are registered for a model of the alias's own name, which it hides."
    )
    decided_by: str | None = Field(description="The id of the key that made or changed it last.", examples=["admin"])
    created_at: datetime
    updated_at: datetime


class AliasList(View):
    """All aliases, sorted by name."""

    aliases: list[AliasView]


def aliases_of(request: Request) -> Aliases:
    """Return the aliases.

    Raises:
        Unavailable: they are not there yet.
    """
    aliases = getattr(request.app.state, "aliases", None)
    if aliases is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return cast("Aliases", aliases)


AliasesHere = Annotated[Aliases, Depends(aliases_of)]


@router.get("", responses=_errors(401, 403), response_model_exclude_unset=True)
async def list_aliases(principal: Admin, aliases: AliasesHere) -> AliasList:
    """List the aliases, each with a warning where no server has a model that it leads to."""
    del principal
    served = aliases.served()
    return AliasList(aliases=[_view(record, served) for record in aliases.records])


@router.post("", status_code=201, responses=_errors(401, 403, 409, 422, 503), response_model_exclude_unset=True)
async def create_alias(body: DescribeAlias, principal: Operator, aliases: AliasesHere) -> AliasView:
    """Let a name stand for models.

    From now on it can be asked for and is listed as a model is. One of its targets is drawn by weight for each
    request; where none has a server for it, the fallbacks are tried in their order.
    """
    return _view(await aliases.create(principal, body.alias()), aliases.served())


@router.get("/{name:path}", responses=_errors(401, 403, 404, 422), response_model_exclude_unset=True)
async def show_alias(name: AliasName, principal: Admin, aliases: AliasesHere) -> AliasView:
    """Show one alias."""
    del principal
    return _view(aliases.get(name), aliases.served())


@router.put("/{name:path}", responses=_errors(401, 403, 404, 409, 422, 503), response_model_exclude_unset=True)
async def change_alias(name: AliasName, body: DescribeAlias, principal: Operator, aliases: AliasesHere) -> AliasView:
    """Describe an alias anew, its name too. Requests that run go on as they began."""
    return _view(await aliases.change(principal, name, body.alias()), aliases.served())


@router.delete("/{name:path}", status_code=204, responses=_errors(401, 403, 404, 422, 503))
async def remove_alias(name: AliasName, principal: Operator, aliases: AliasesHere) -> Response:
    """Let the name stand for nothing any more."""
    await aliases.remove(principal, name)
    return Response(status_code=204)


def _view(record: AliasRecord, served: frozenset[str]) -> AliasView:
    told = shown(record.alias)
    return AliasView(
        name=record.name,
        targets=[TargetView(**target) for target in told["targets"]],
        fallbacks=[_fallback(fallback) for fallback in told["fallbacks"]],
        missing=[model for model in record.alias.models if model not in served],
        hides_model=record.name in served,
        decided_by=record.decided_by,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def _fallback(told: dict[str, Any]) -> str | FallbackView:
    return told["model"] if told.keys() == {"model"} else FallbackView(**told)
