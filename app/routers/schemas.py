"""What comes in? The bodies that the admin API takes, with their bounds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from app.routers.bounds import MAX_COUNT, bounded_object, instant, single_line, visible_ascii, whole_number
from app.routers.strict_model import StrictModel
from app.routers.terms_schemas import LentHours, Share
from app.services.core.types import ModelEntry
from app.services.registry.specification import MAX_MODEL_NAME_LENGTH, MAX_MODELS, ServerChange, ServerSpec

__all__ = [
    "Capabilities",
    "ChangeServer",
    "HoldRequest",
    "ModelMapping",
    "ModelName",
    "RegisterServer",
    "StrictModel",
    "as_mapping",
]

MAX_URL_LENGTH = 2048
"""For the description alone; ``parse_endpoint`` judges, so that every bad URL is told in one way."""
MAX_API_KEY_LENGTH = 4096
MAX_REASON_LENGTH = 500
ONE_LINE = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f\u2028\u2029]*[^\s\x00-\x1f\x7f-\x9f])?$"
"""For the description alone; ``single_line`` judges."""

Line = AfterValidator(single_line)
ModelName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_MODEL_NAME_LENGTH,
        examples=["llama-3-8b"],
        json_schema_extra={"pattern": ONE_LINE},
    ),
    Line,
]
EndpointUrl = Annotated[
    str,
    Field(
        description="Where the server listens, with or without `/v1`. Only http and https; private addresses must lie "
        "in `ALLOWED_SERVER_NETWORKS`.",
        examples=["http://10.0.0.5:8000"],
        json_schema_extra={
            "format": "uri",
            "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^\\s\\\\@?#]+$",
            "minLength": 1,
            "maxLength": MAX_URL_LENGTH,
        },
    ),
]
ApiKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_API_KEY_LENGTH,
        description="The key that the server itself asks for. Stored encrypted, never given back.",
        examples=["sk-the-servers-own-key"],
        json_schema_extra={"pattern": "^[!-~]+$"},
    ),
    AfterValidator(visible_ascii),
]
MaxConcurrency = Annotated[
    int,
    Field(ge=1, le=100_000, description="How many requests it may serve at once. Left out: no cap.", examples=[8]),
    BeforeValidator(whole_number),
]
Priority = Annotated[
    int,
    Field(
        ge=-1000, le=1000, description="Servers of a higher priority are preferred while they can serve.", examples=[0]
    ),
    BeforeValidator(whole_number),
]
Weight = Annotated[
    float,
    Field(
        gt=0,
        le=1000,
        allow_inf_nan=False,
        description="Its share of the work among servers of one priority.",
        examples=[1],
    ),
]
Tokens = Annotated[int, Field(ge=1, le=MAX_COUNT, examples=[8192]), BeforeValidator(whole_number)]
Metadata = Annotated[
    dict[str, Any],
    AfterValidator(bounded_object),
    Field(
        description="Whatever its owner wants to note: at most 16 KiB of JSON, 8 levels deep.",
        examples=[{"owner": "alice", "description": "lab box"}],
    ),
]


class ModelMapping(StrictModel):
    """A model as users ask for it, and as the server calls it."""

    name: ModelName = Field(description="The name that users ask for.")
    upstream_name: ModelName | None = Field(
        default=None,
        description="What the server calls it. Left out: the same.",
        examples=["meta-llama/Llama-3.1-8B-Instruct"],
    )

    def entry(self) -> ModelEntry:
        """Return the mapping as the registry has it."""
        return ModelEntry(self.name, self.upstream_name or self.name)


def as_mapping(value: Any) -> Any:
    """Take a plain name for a model that is called the same on both sides."""
    return {"name": value} if isinstance(value, str) else value


Models = Annotated[
    list[Annotated[ModelMapping, BeforeValidator(as_mapping, json_schema_input_type=ModelName | ModelMapping)]],
    Field(
        min_length=1,
        max_length=MAX_MODELS,
        description="The models that it serves: names, or names with the server's own name for each. Left out, and "
        "without `model_name`: all that it lists, followed as the list changes.",
        examples=[[{"name": "llama-3-8b", "upstream_name": "meta-llama/Llama-3.1-8B-Instruct"}]],
    ),
]


class Capabilities(BaseModel):
    """What its owner says that the server can do. More members may be given."""

    model_config = ConfigDict(extra="allow", strict=True)

    max_tokens: Tokens | None = Field(default=None, description="Longest answer, in tokens. Stored and shown only.")
    context_length: Tokens | None = Field(
        default=None, description="Context window in tokens; used where the server does not tell."
    )
    streaming: bool | None = Field(default=None, description="Whether it can stream. Stored and shown only.")

    @model_validator(mode="after")
    def bound(self) -> Self:
        """Hold the members that are not known to the same bounds as metadata."""
        bounded_object(self.model_extra or {})
        return self

    def given(self) -> dict[str, Any]:
        """Return the members that were given."""
        return self.model_dump(exclude_unset=True)


def chosen(model_name: str | None, models: list[ModelMapping] | None) -> tuple[ModelEntry, ...] | None:
    """Join the two ways to name models; None for "all that it lists".

    Raises:
        ValueError: a name is given twice.
    """
    if model_name is None and models is None:
        return None
    entries = [mapping.entry() for mapping in models or []]
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        message = f"the name {twice} is given twice"
        raise ValueError(message)
    if model_name is not None and model_name not in names:
        entries.insert(0, ModelEntry(model_name, model_name))
    return tuple(entries)


class RegisterServer(StrictModel):
    """A server as its owner describes it. Everything but `endpoint_url` may be left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model_name": "llama-3-8b",
                    "endpoint_url": "http://10.0.0.5:8000",
                    "models": [{"name": "llama-3-8b", "upstream_name": "meta-llama/Llama-3.1-8B-Instruct"}],
                    "capabilities": {"max_tokens": 4096, "context_length": 8192, "streaming": True},
                    "metadata": {"owner": "alice", "description": "lab box"},
                    "max_concurrency": 8,
                    "priority": 0,
                    "weight": 1,
                    "share": "everyone",
                    "hours": {
                        "timezone": "Europe/Berlin",
                        "windows": [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "18:00", "to": "08:00"}],
                    },
                }
            ]
        }
    )

    endpoint_url: EndpointUrl
    model_name: ModelName | None = Field(default=None, description="One model, called the same by users and server.")
    models: Models | None = None
    api_key: ApiKey | None = None
    capabilities: Capabilities | None = None
    metadata: Metadata | None = None
    max_concurrency: MaxConcurrency | None = None
    priority: Priority = 0
    weight: Weight = 1.0
    share: Share = "everyone"
    hours: LentHours | None = Field(default=None, description="When it is lent. Left out or null: always.")

    @model_validator(mode="after")
    def refuse_names_given_twice(self) -> Self:
        """A name leads to one model of a server."""
        chosen(self.model_name, self.models)
        return self

    def spec(self) -> ServerSpec:
        """Return the description as the registry has it."""
        return ServerSpec(
            endpoint_url=self.endpoint_url,
            api_key=self.api_key,
            models=chosen(self.model_name, self.models),
            capabilities=self.capabilities.given() if self.capabilities else {},
            metadata=self.metadata or {},
            max_concurrency=self.max_concurrency,
            priority=self.priority,
            weight=self.weight,
            share=self.share,
            hours=self.hours.hours() if self.hours else None,
        )


class ChangeServer(StrictModel):
    """What is to change. Fields that are left out stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"max_concurrency": 16, "priority": 10}]})

    endpoint_url: EndpointUrl | SkipJsonSchema[None] = None
    model_name: ModelName | SkipJsonSchema[None] = Field(default=None, description="Serve this one model.")
    models: Models | None = Field(default=None, description="The models that it serves; null: all that it lists.")
    api_key: ApiKey | None = Field(default=None, description="The server's own key; null: it asks for none.")
    capabilities: Capabilities | None = None
    metadata: Metadata | None = None
    max_concurrency: MaxConcurrency | None = Field(default=None, description="Null: no cap.")
    priority: Priority | SkipJsonSchema[None] = None
    weight: Weight | SkipJsonSchema[None] = None
    share: Share | SkipJsonSchema[None] = None
    hours: LentHours | None = Field(default=None, description="When it is lent; null: always.")

    @model_validator(mode="after")
    def refuse_what_cannot_be_cleared(self) -> Self:
        """Null means "none" only where a server can be without."""
        for name in ("endpoint_url", "model_name", "priority", "weight", "share"):
            if name in self.model_fields_set and getattr(self, name) is None:
                message = f"{name} cannot be null. Leave it out to keep it as it is"
                raise ValueError(message)
        chosen(self.model_name, self.models)
        return self

    def change(self) -> ServerChange:
        """Return the given fields as the registry takes them."""
        given: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set - {"model_name"}}
        if self.hours is not None:
            given["hours"] = self.hours.hours()
        if self.capabilities is not None:
            given["capabilities"] = self.capabilities.given()
        for name in {"capabilities", "metadata"} & self.model_fields_set:
            given[name] = given[name] or {}
        if self.model_fields_set & {"model_name", "models"}:
            given["models"] = chosen(self.model_name, self.models)
        return ServerChange(**given)


class HoldRequest(StrictModel):
    """Why, and until when. Both may be left out."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "moving the box", "until": "2030-01-01T08:00:00Z"}]}
    )

    reason: Annotated[str, Line] = Field(default="", max_length=MAX_REASON_LENGTH, description="Shown with the server.")
    until: (
        Annotated[
            Annotated[AwareDatetime, Field(strict=False)],
            BeforeValidator(instant),
        ]
        | None
    ) = Field(default=None, description="When it ends by itself (ISO 8601 with zone). Left out: when undone.")

    def until_utc(self) -> datetime | None:
        """Return the end in UTC."""
        return self.until.astimezone(UTC) if self.until else None
