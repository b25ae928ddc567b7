"""What do requests for inference and the answers to them look like, as far as the gateway itself knows?

Models that describe, and judge nothing: the data plane reads ``model``, ``stream``, ``stream_options`` and ``n`` and
hands all else on unread. Only what it judges has a type here; the servers judge the rest.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.config import JsonDict

from app.services.core.http.peek import MAX_CHOICES, MAX_MODEL_NAME_LENGTH

__all__ = ["ChatRequest", "CompletionRequest", "EmbeddingsRequest", "ModelList", "ModelObject"]

MESSAGES: Final[list[JsonValue]] = [{"role": "user", "content": "Say hello."}]


def _without_default(schema: JsonDict) -> None:
    """Leaving a field out is not the same as sending null: the server decides what it then takes."""
    schema.pop("default", None)


def _unread(description: str, *examples: Any) -> Any:
    """Describe a field that is handed on as it comes."""
    return Field(
        default=None, description=description, examples=list(examples) or None, json_schema_extra=_without_default
    )


ModelName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_MODEL_NAME_LENGTH,
        description="One of the names that `GET /v1/models` lists.",
        examples=["llama-3-8b"],
    ),
]
Switch = Annotated[bool | None, Field(json_schema_extra=_without_default)]


class StreamOptions(BaseModel):
    """How a stream is sent. More members may be given."""

    model_config = ConfigDict(extra="allow")

    include_usage: Switch = Field(default=None, description="Whether a last event tells the tokens used.")


class InferenceRequest(BaseModel):
    """What every request for inference has. More fields may be given; they are handed on unread."""

    model_config = ConfigDict(extra="allow")

    model: ModelName


class TextRequest(InferenceRequest):
    """What requests for text have in common."""

    stream: Switch = Field(default=None, description="Whether the answer comes as server-sent events.")
    stream_options: StreamOptions | None = Field(
        default=None, description="How a stream is sent.", json_schema_extra=_without_default
    )
    choices: int | None = Field(
        default=None,
        alias="n",
        ge=1,
        le=MAX_CHOICES,
        description="How many answers are wanted.",
        json_schema_extra=_without_default,
    )
    max_tokens: Any = _unread("The longest answer, in tokens.", 256)
    temperature: Any = _unread("0 for always the likeliest token, more for more variety.", 0.7)
    top_p: Any = _unread("Only the likeliest tokens that together have this probability.", 1)
    stop: Any = _unread("Text, or a list of texts, at which the answer ends.", "\n\n")
    seed: Any = _unread("The same seed asks for the same answer, where the server can.", 42)


class ChatRequest(TextRequest):
    """A conversation to be continued, as OpenAI's Chat Completions API takes it."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"model": "llama-3-8b", "messages": MESSAGES, "stream": False}]},
    )

    messages: Any = _unread("The conversation so far: objects with `role` and `content`.", MESSAGES)
    max_completion_tokens: Any = _unread("The newer name of `max_tokens`.", 256)
    response_format: Any = _unread("The form of the answer, such as JSON.", {"type": "json_object"})
    tools: Any = _unread("Functions that the model may ask to have called.")
    tool_choice: Any = _unread("Whether and which tool is to be called.", "auto")


class CompletionRequest(TextRequest):
    """A text to be continued, as OpenAI's Completions API takes it."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"model": "llama-3-8b", "prompt": "Once upon a time", "max_tokens": 64}]},
    )

    prompt: Any = _unread("The text so far.", "Once upon a time")


class EmbeddingsRequest(InferenceRequest):
    """Texts to be turned into vectors, as OpenAI's Embeddings API takes them."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"model": "nomic-embed-text", "input": ["first text", "second text"]}]},
    )

    input: Any = _unread("A text, or a list of texts.", ["first text", "second text"])
    encoding_format: Any = _unread("`float` or `base64`.", "float")


class ModelObject(BaseModel):
    """A model that can be asked for: OpenAI's object, and what the pool knows of it."""

    id: str = Field(description="The name to ask for.", examples=["llama-3-8b"])
    object: Literal["model"]
    created: int = Field(description="Always 0: the gateway does not know.", examples=[0])
    owned_by: str = Field(examples=["multiverse"])
    servers: int = Field(description="How many registered servers have it.", examples=[2])
    healthy_servers: int = Field(description="How many of them can serve it now.", examples=[2])
    context_length: int | None = Field(
        description="Context window in tokens; null if no server tells.", examples=[8192]
    )


class ModelList(BaseModel):
    """All models that can be asked for."""

    object: Literal["list"]
    data: list[ModelObject]
