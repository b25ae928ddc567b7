"""How is it said over HTTP how much everybody together may use of a model?"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Path, Response

from app.routers.deps import DOCUMENTED_SCHEMES, Admin
from app.routers.documented import DATABASE_FAILS, errors_in_words
from app.routers.key_schemas import LimitsBody
from app.routers.key_views import ModelLimitsList, ModelLimitsView, model_limits_view
from app.routers.keys import KeysHere
from app.routers.schemas import StrictModel

__all__ = ["router"]

WORDS: Final = {
    404: (
        "This model has no limits.",
        "This model has no limits. GET /admin/model-limits lists those that have.",
    ),
    409: (
        "Too many models have limits already.",
        "1000 models have limits already, which is the most. Drop some first.",
    ),
}
"""What some statuses mean here: in words, and by example."""

_errors: Final = partial(errors_in_words, {**DATABASE_FAILS, **WORDS})
router = APIRouter(prefix="/admin/model-limits", tags=["keys"], dependencies=DOCUMENTED_SCHEMES)

ModelInPath = Annotated[
    str, Path(description="The model as users ask for it; it may have slashes.", examples=["llama-3-8b"])
]


class SetModelLimits(StrictModel):
    """Limits of one model, for all who ask for it together."""

    limits: LimitsBody


@router.get("", responses=_errors(401, 403))
async def list_model_limits(principal: Admin, keys: KeysHere) -> ModelLimitsList:
    """List the models that have limits of their own."""
    del principal
    return ModelLimitsList(
        model_limits=[model_limits_view(name, limits) for name, limits in sorted(keys.model_limits.items())]
    )


@router.put("/{name:path}", responses=_errors(401, 403, 409, 422, 503))
async def set_model_limits(
    name: ModelInPath, body: SetModelLimits, principal: Admin, keys: KeysHere
) -> ModelLimitsView:
    """Limit a model for everybody together, in place of the limits that it had."""
    limits = body.limits.limits()
    await keys.set_model_limits(principal, name, limits)
    return model_limits_view(name, limits)


@router.delete("/{name:path}", status_code=204, responses=_errors(401, 403, 404, 422, 503))
async def drop_model_limits(name: ModelInPath, principal: Admin, keys: KeysHere) -> Response:
    """Limit a model no more. What keys and groups may use of it stays."""
    await keys.drop_model_limits(principal, name)
    return Response(status_code=204)
