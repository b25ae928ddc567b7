"""Where would the next request for a model go, and why? Over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from app.routers.deps import DOCUMENTED_SCHEMES, GatewayHere, Operator
from app.routers.documented import errors
from app.routers.model_views import View
from app.routers.views import EXAMPLE_ID
from app.services.core.http.peek import MAX_MODEL_NAME_LENGTH
from app.services.registry.access import steers

__all__ = ["ExplanationView", "PlaceView", "router"]

MOST_TOKENS = 10**9
LONGEST_SESSION = 256

router = APIRouter(prefix="/admin", tags=["servers"], dependencies=DOCUMENTED_SCHEMES)

ModelName = Annotated[
    str,
    Query(min_length=1, max_length=MAX_MODEL_NAME_LENGTH, description="As clients name it.", examples=["llama-3-8b"]),
]
PromptTokens = Annotated[
    int, Query(ge=0, le=MOST_TOKENS, description="About how many tokens the prompt has; 0 for a short one.")
]
AnswerTokens = Annotated[int, Query(ge=0, le=MOST_TOKENS, description="The `max_tokens` that it asks for; 0 for none.")]
SessionId = Annotated[
    str | None, Query(max_length=LONGEST_SESSION, description="The `X-Session-ID` that it is sent with, with this key.")
]


class PlaceView(View):
    """How one server stands with the next request."""

    registration_id: str = Field(examples=[EXAMPLE_ID])
    model: str = Field(
        description="What it would be asked for: of an alias one of its models.", examples=["llama-3-8b"]
    )
    endpoint_url: str | None = Field(examples=["http://10.0.0.5:8000"])
    takes: bool = Field(description="Whether the next request may go there.")
    share: float = Field(description="Of the next requests, 0.0 to 1.0.", examples=[0.5])
    word: str = Field(description="What speaks against it, in short; empty if nothing does.", examples=["full"])
    why: str = Field(description="The same with its figures.", examples=["full, 4 of 4"])
    in_flight: int = Field(description="The gateway's requests there.", examples=[4])
    foreign: float = Field(description="What its engine counts beyond them, by its last word.", examples=[1.5])
    places: int = Field(description="How many requests it computes at once, as far as is known.", examples=[4])
    cap: int | None = Field(description="How many the gateway sends at most; null for any number.", examples=[4])
    priority: int
    weight: float
    ramp: float = Field(description="How much of the weight counts: less than 1.0 while it comes back.", examples=[1.0])
    warm: bool = Field(description="Whether it has the model in memory.")
    context_length: int | None = Field(description="In tokens; null if unknown.", examples=[8192])
    home: str = Field(description="`session` where this session ran before; else empty.", examples=["session"])


class LeadingView(View):
    """One model that an alias leads to."""

    model: str = Field(examples=["llama-3-8b"])
    fallback: bool = Field(description="Whether it is asked only where no target can serve.")
    weight: float | None = Field(description="Its share beside the other targets'; null for a fallback.")
    bounds: str = Field(description="The requests that it takes, in words; empty for any.")
    takes: bool = Field(description="Whether it takes this one.")
    share: float = Field(description="Of the next requests, 0.0 to 1.0.", examples=[0.5])
    healthy_servers: int = Field(examples=[2])


class ExplanationView(View):
    """Where the next request for a model would go, and why."""

    model: str = Field(examples=["llama-3-8b"])
    verdict: Literal["forward", "queue", "await", "refuse"]
    why: str = Field(description="Why the server is taken that is taken most; empty if none is.", examples=["drawn"])
    message: str = Field(description="What the client would hear if nobody took it; empty where a server takes it.")
    sentence: str = Field(description="All of it, for a person.")
    leads: list[LeadingView] = Field(description="Where an alias leads; empty for a model.")
    servers: list[PlaceView]


@router.get("/explain", responses=errors(401, 403, 404, 422))
async def explain_route(
    model: ModelName,
    principal: Operator,
    gateway: GatewayHere,
    prompt_tokens: PromptTokens = 0,
    answer_tokens: AnswerTokens = 0,
    session: SessionId = None,
) -> ExplanationView:
    """Say where the next request for a model would go, and what speaks against every other server.

    Nothing is sent and nothing changes. Shares are what 1,024 such requests would get if all came now.
    """
    told = gateway.plane.explain(model, prompt_tokens, answer_tokens, session, principal.key_id).as_dict()
    for place in told["servers"]:
        server_id = place.pop("server_id")
        record = gateway.registry.servers.get(server_id)
        place["registration_id"] = server_id
        place["endpoint_url"] = (
            record.endpoint.url if record is not None and steers(principal, record, gateway.registry.owners) else None
        )
    return ExplanationView(**told)
