"""Does the unmodified OpenAI client find all that it expects, errors as its own exception types included?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx2
import openai
import pytest

from app.demo.bundled import MODEL_NAME
from tests.fakes.gateway_process import ADMIN_KEY, GatewayProcess

pytestmark = [pytest.mark.e2e, pytest.mark.real_model]

PUBLIC_NAME = "lab/little-one"
QUESTION = [{"role": "user", "content": "Name three colours."}]
SHORT = {"max_tokens": 16, "temperature": 0, "seed": 1}


@pytest.fixture
def client(real_gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{real_gateway.url}/v1", api_key=ADMIN_KEY, max_retries=0, timeout=30) as made:
        yield made


def test_models_are_listed(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {MODEL_NAME, PUBLIC_NAME} <= set(listed)
    assert listed[MODEL_NAME].object == "model"


@pytest.mark.parametrize("name", [MODEL_NAME, PUBLIC_NAME])
def test_a_model_is_retrieved(client: openai.OpenAI, name: str) -> None:
    model = client.models.retrieve(name)
    assert model.id == name
    told = model.model_dump()
    assert (told["servers"], told["healthy_servers"], told["context_length"]) == (1, 1, 2048)


@pytest.mark.parametrize("name", [MODEL_NAME, PUBLIC_NAME])
def test_chat(client: openai.OpenAI, name: str) -> None:
    answer = client.chat.completions.create(model=name, messages=QUESTION, **SHORT)
    assert answer.model == name
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 16
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.parametrize("name", [MODEL_NAME, PUBLIC_NAME])
def test_chat_streamed(client: openai.OpenAI, name: str) -> None:
    whole = client.chat.completions.create(model=name, messages=QUESTION, **SHORT)
    with client.chat.completions.create(model=name, messages=QUESTION, stream=True, **SHORT) as stream:
        chunks = list(stream)
    assert {chunk.model for chunk in chunks} == {name}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert all(chunk.usage is None for chunk in chunks)  # nobody asked for it


@pytest.mark.parametrize("name", [MODEL_NAME, PUBLIC_NAME])
def test_chat_streamed_with_usage(client: openai.OpenAI, name: str) -> None:
    whole = client.chat.completions.create(model=name, messages=QUESTION, **SHORT)
    options = {"include_usage": True}
    with client.chat.completions.create(
        model=name, messages=QUESTION, stream=True, stream_options=options, **SHORT
    ) as stream:
        *chunks, last = stream
    assert last.choices == []
    assert last.model == name
    assert last.usage is not None
    assert last.usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks)


def test_completions(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=MODEL_NAME, prompt="The capital of France is", **SHORT)
    assert whole.choices[0].text
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 0
    with client.completions.create(model=MODEL_NAME, prompt="The capital of France is", stream=True, **SHORT) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text


def test_embeddings_that_the_server_does_not_offer(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.embeddings.create(model=MODEL_NAME, input="a line")
    assert caught.value.status_code == 501
    assert isinstance(caught.value, openai.InternalServerError)  # the client's own name for all from 500 on
    assert "embeddings" in caught.value.message


def test_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=f"Available: .*{MODEL_NAME}") as caught:
        client.chat.completions.create(model="nobody-has-this", messages=QUESTION)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    with pytest.raises(openai.NotFoundError, match="nobody-has-this"):
        client.models.retrieve("nobody-has-this")


def test_a_bad_key(client: openai.OpenAI) -> None:
    stranger = client.with_options(api_key="not-a-key-of-this-gateway")
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    with pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model=MODEL_NAME, messages=QUESTION)
    with pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model="nobody-has-this", messages=QUESTION)  # no name leaks to strangers


def test_a_body_that_the_gateway_refuses(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="model"):
        client.chat.completions.create(model=7, messages=QUESTION)
    with pytest.raises(openai.BadRequestError, match="stream"):
        client.chat.completions.create(model=MODEL_NAME, messages=QUESTION, stream="please")


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_fits_no_context(client: openai.OpenAI, stream: bool) -> None:
    far_too_long = [{"role": "user", "content": "word " * 5000}]
    with pytest.raises(openai.BadRequestError, match="largest context") as caught:
        client.chat.completions.create(model=PUBLIC_NAME, messages=far_too_long, stream=stream)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_that_the_server_refuses(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=PUBLIC_NAME, messages=QUESTION, stream=stream, extra_body={"grammar": "root ::= ("}
        )
    assert caught.value.type == "invalid_request_error"  # the server's own words, in the one envelope
    assert "grammar" in caught.value.message


def test_a_model_whose_only_server_is_down(client: openai.OpenAI, real_gateway: GatewayProcess) -> None:
    with HTTPServer(("127.0.0.1", 0), ListOfOne) as short_lived:
        thread = threading.Thread(target=short_lived.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            registered = httpx2.post(
                f"{real_gateway.url}/admin/register",
                json={"endpoint_url": f"http://127.0.0.1:{short_lived.server_port}"},
                headers={"x-api-key": ADMIN_KEY},
            )
        finally:
            short_lived.shutdown()
            thread.join()
    assert registered.status_code == 201, registered.text
    for _time in range(5):  # before and after the gateway knows: the same
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="short-lived", messages=QUESTION)
        assert caught.value.status_code == 503
        assert int(caught.value.response.headers["retry-after"]) > 0
    httpx2.delete(
        f"{real_gateway.url}/admin/register/{registered.json()['registration_id']}", headers={"x-api-key": ADMIN_KEY}
    ).raise_for_status()
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="short-lived", messages=QUESTION)


class ListOfOne(BaseHTTPRequestHandler):
    """Lists one model and can do nothing else."""

    def do_GET(self) -> None:
        body = b'{"object": "list", "data": [{"id": "short-lived", "object": "model"}]}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""
