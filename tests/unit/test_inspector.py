"""What one look at a server finds, and in which words it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest

from app.services.core.errors import EndpointRefused
from app.services.core.types import CheckFailure, DiscoveredModel, Endpoint, Inspection
from app.services.dataplane.fetch import AnswerBroken, FetchedAnswer
from app.services.dataplane.link import ConnectFailed, ConnectFailure
from app.services.engines.vllm import Vllm
from app.services.inspector import Inspector

ENDPOINT = Endpoint("http", "gpu.example", 8000)
KEY = "sk-canary-0123456789"


@dataclass
class ScriptedServer:
    """Stands for the network: answers each path as scripted, 404 otherwise, and notes what was asked."""

    answers: dict[str, FetchedAnswer | Exception]
    asked: list[tuple[str, str | None, float, int]] = field(default_factory=list)

    async def get(
        self, endpoint: Endpoint, path: str, *, api_key: str | None, timeout_seconds: float, limit_bytes: int = 0
    ) -> FetchedAnswer:
        assert endpoint == ENDPOINT
        self.asked.append((path, api_key, timeout_seconds, limit_bytes))
        answer = self.answers.get(path, answered(b"Not Found", 404))
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def paths(self) -> list[str]:
        return [path for path, *_ in self.asked]


def answered(body: bytes, status: int = 200, **headers: str) -> FetchedAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return FetchedAnswer(status, named, body, 12.5)


def listing(*names: str, owned_by: str = "vllm") -> bytes:
    entries = [{"id": name, "object": "model", "owned_by": owned_by} for name in names]
    return msgspec.json.encode({"object": "list", "data": entries})


async def look(
    answer: FetchedAnswer | Exception, *expected: str, api_key: str | None = None, engine: str | None = "unknown"
) -> Inspection:
    server = ScriptedServer({"/v1/models": answer})
    return await Inspector(server, 5).inspect(ENDPOINT, api_key, expected, engine=engine)


async def test_a_refused_address_keeps_the_code_of_its_rule() -> None:
    refused = await look(EndpointRefused("10.0.0.5 is private.", code="address_not_public"))
    assert (refused.failure, refused.code) == (CheckFailure.REFUSED_ADDRESS, "address_not_public")
    assert (await look(answered(listing("llama")))).code is None


async def test_a_clean_pass() -> None:
    server = ScriptedServer({"/v1/models": answered(listing("llama", "qwen"))})
    inspection = await Inspector(server, 5).inspect(ENDPOINT, KEY, ["qwen"])
    models = (DiscoveredModel("llama"), DiscoveredModel("qwen"))
    assert inspection == Inspection(None, "", models, "vllm", 12.5)
    assert server.asked == [("/v1/models", KEY, 5, 4 * 1024 * 1024), ("/version", KEY, 2.0, 1024 * 1024)]


@pytest.mark.parametrize(
    ("answer", "failure", "reason"),
    [
        (EndpointRefused("10.0.0.5 is private."), CheckFailure.REFUSED_ADDRESS, "10.0.0.5 is private."),
        (
            ConnectFailed("connection refused", ConnectFailure.REFUSED),
            CheckFailure.UNREACHABLE,
            "connection refused",
        ),
        (ConnectFailed("TLS: expired", ConnectFailure.TLS), CheckFailure.TLS, "TLS: expired"),
        (AnswerBroken("no answer within 5 s"), CheckFailure.UNREACHABLE, "no answer within 5 s"),
        (
            AnswerBroken("the answer is larger than 4 MiB"),
            CheckFailure.UNREACHABLE,
            "the list of models is larger than 4 MiB",
        ),
        (
            answered(b"", 302, location="http://169.254.169.254/"),
            CheckFailure.BAD_ANSWER,
            "answered 302: redirects are not followed; register the address it points to",
        ),
        (
            answered(b'{"error":{"message":"Loading model","code":503}}', 503, server="llama.cpp"),
            CheckFailure.LOADING,
            "loading the model",
        ),
        (
            answered(b'{"error":{"message":"Loading model failed","code":503}}', 503, server="llama.cpp"),
            CheckFailure.NOT_READY,
            "answered 503: Loading model failed",
        ),
        (answered(b"overloaded", 503), CheckFailure.NOT_READY, "answered 503: overloaded"),
        (answered(b"", 429), CheckFailure.NOT_READY, "answered 429: Too Many Requests"),
        (
            answered(b'{"error":"Unauthorized"}', 401),
            CheckFailure.CREDENTIALS,
            "answered 401: Unauthorized, update the server's api_key",
        ),
        (
            answered(b"<html>no</html>", 403),
            CheckFailure.CREDENTIALS,
            "answered 403: Forbidden, update the server's api_key",
        ),
        (
            answered(b'{"detail":"Not Found"}', 404),
            CheckFailure.BAD_ANSWER,
            "answered 404: Not Found (there is no /v1/models at this address)",
        ),
        (answered(b"oops", 500), CheckFailure.BAD_ANSWER, "answered 500: oops"),
        (
            answered(b"\n<!doctype html><html>", content_type="text/html"),
            CheckFailure.BAD_ANSWER,
            "answered with HTML, not a list of models",
        ),
        (
            answered(b"hello"),
            CheckFailure.BAD_ANSWER,
            "answered with something that is not JSON",
        ),
        (
            answered(b"[" * 5000),
            CheckFailure.BAD_ANSWER,
            "answered with something that is not JSON",
        ),
        (answered(b"  "), CheckFailure.BAD_ANSWER, "answered with an empty body"),
        (
            answered(b'{"error":"Unexpected endpoint or method. (GET /v1/models)"}', x_powered_by="Express"),
            CheckFailure.BAD_ANSWER,
            "answered 200, but with an error: Unexpected endpoint or method. (GET /v1/models)",
        ),
        (answered(b'{"status":"ok"}'), CheckFailure.BAD_ANSWER, "answered with JSON that is not a list of models"),
        (answered(b"[1,2]"), CheckFailure.BAD_ANSWER, "answered with JSON that is not a list of models"),
        (answered(b'{"data":[]}'), CheckFailure.MODEL_MISSING, "lists no model at all"),
        (answered(b'{"object":"list","data":null}'), CheckFailure.MODEL_MISSING, "lists no model at all"),
        (
            answered(b'{"data":[' + b"[]," * 100_001 + b"0]}"),
            CheckFailure.BAD_ANSWER,
            "answered with a list of models that is too complex to read",
        ),
        (answered(b'{"data":[{"id":7},"x"]}'), CheckFailure.MODEL_MISSING, "lists no model at all"),
    ],
)
async def test_failures_in_an_owners_words(
    answer: FetchedAnswer | Exception, failure: CheckFailure, reason: str
) -> None:
    inspection = await look(answer)
    assert (inspection.failure, inspection.reason) == (failure, reason)


async def test_who_is_loading_is_known_by_an_earlier_look_where_the_answer_bears_no_mark() -> None:
    wordless = answered(b"", 503)
    assert (await look(wordless, engine="sglang")).failure is CheckFailure.LOADING
    assert (await look(wordless, engine="vllm")).failure is CheckFailure.NOT_READY
    registering = await look(answered(b'{"error":{"message":"Loading model"}}', 503), engine=None)
    assert (registering.failure, registering.reason) == (CheckFailure.LOADING, "loading the model")
    assert registering.models == ()


async def test_the_list_itself_may_say_that_the_model_is_still_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    body = listing("a")
    monkeypatch.setattr(Vllm, "is_loading", lambda _, status, said: (status, said) == (200, body))
    inspection = await look(answered(body), "a")
    assert (inspection.failure, inspection.engine) == (CheckFailure.LOADING, "vllm")
    assert (await look(answered(listing("a", "b")), "a")).passed


async def test_what_the_gateway_itself_lacks_is_not_the_servers_fault() -> None:
    failure = ConnectFailed("the gateway is out of file descriptors", ConnectFailure.OWN)
    assert (await look(failure)).failure is CheckFailure.NOT_MADE


async def test_a_list_that_lacks_some_expected_models_passes_with_a_reason() -> None:
    inspection = await look(answered(listing("a", "b")), "a", "c")
    assert inspection.passed
    assert inspection.reason == "lists models a, b but not c"
    assert inspection.missing_models == {"c"}


async def test_ollama_takes_a_name_without_a_tag_for_the_latest() -> None:
    inspection = await look(answered(listing("mistral:latest", "qwen:7b", owned_by="library")), "mistral", "qwen")
    assert inspection.passed
    assert inspection.missing_models == {"qwen"}


async def test_a_list_that_lacks_all_expected_models_fails() -> None:
    inspection = await look(answered(listing("a", "b")), "c", "d", "d")
    assert inspection.failure is CheckFailure.MODEL_MISSING
    assert inspection.reason == "lists models a, b but not c, d"
    assert inspection.missing_models == {"c", "d"}
    assert inspection.models == (DiscoveredModel("a"), DiscoveredModel("b"))


async def test_an_empty_list_lacks_everything() -> None:
    inspection = await look(answered(listing()), "c")
    assert inspection.failure is CheckFailure.MODEL_MISSING
    assert inspection.missing_models == {"c"}


async def test_long_lists_are_shortened() -> None:
    inspection = await look(answered(listing(*[f"m{number}" for number in range(17)])), "x")
    assert inspection.reason == "lists models m0, m1, m2, m3, m4 ... 12 more but not x"
    assert len(inspection.models) == 17


async def test_the_engine_is_looked_for_in_the_order_of_its_marks() -> None:
    server = ScriptedServer(
        {"/v1/models": answered(listing("mine:1b", owned_by="me")), "/": answered(b"Ollama is running")}
    )
    assert (await Inspector(server, 5).inspect(ENDPOINT, None, [])).engine == "ollama"
    assert server.paths == ["/v1/models", "/", "/api/version"]


async def test_tgi_tells_its_context_length_at_info() -> None:
    server = ScriptedServer(
        {
            "/v1/models": answered(listing("tgi", owned_by="tgi")),
            "/info": answered(b'{"model_id":"tgi","max_total_tokens":4096}'),
        }
    )
    inspection = await Inspector(server, 5).inspect(ENDPOINT, None, [])
    assert inspection.engine == "tgi"
    assert inspection.models == (DiscoveredModel("tgi", 4096),)
    assert server.paths == ["/v1/models", "/", "/info", "/info"]


@pytest.mark.parametrize(
    "side",
    [
        AnswerBroken("the answer is larger than 64 KiB"),
        ConnectFailed("connection refused", ConnectFailure.REFUSED),
        EndpointRefused("no"),
        answered(b"<html>"),
    ],
)
async def test_a_server_that_hides_its_engine_still_passes(side: FetchedAnswer | Exception) -> None:
    server = ScriptedServer({"/v1/models": answered(listing("a", owned_by="me")), "/": side, "/info": side})
    inspection = await Inspector(server, 5).inspect(ENDPOINT, KEY, ["a"])
    assert inspection.passed
    assert inspection.engine == "unknown"
    assert [limit for *_, limit in server.asked] == [4 * 1024 * 1024, 64 * 1024, 64 * 1024]


async def test_nothing_more_is_asked_once_the_engine_was_looked_for() -> None:
    server = ScriptedServer({"/v1/models": answered(listing("a", owned_by="me"))})
    inspector = Inspector(server, 5)
    assert (await inspector.inspect(ENDPOINT, None, [], engine="unknown")).engine == "unknown"
    assert (await inspector.inspect(ENDPOINT, None, [], engine="tgi")).engine == "tgi"
    assert server.paths == ["/v1/models"] * 2


async def test_a_server_that_became_another_engine_is_told_by_its_list() -> None:
    assert (await look(answered(listing("a", owned_by="sglang")), engine="vllm")).engine == "sglang"


@pytest.mark.parametrize(
    "answer",
    [
        answered(b'{"error":{"message":"Incorrect API key provided: ' + KEY.encode() + b'."}}', 401),
        answered(b"x" * 190 + KEY.encode(), 500),
        answered(b'{"error":"bad key ' + KEY.encode() + b'"}'),
        answered(listing(KEY, "a")),
    ],
)
async def test_the_servers_key_is_never_repeated(answer: FetchedAnswer) -> None:
    inspection = await look(answer, "b", api_key=KEY)
    assert inspection.reason
    assert KEY[:8] not in inspection.reason
    assert "[redacted" in inspection.reason or inspection.reason.startswith("answered 500: xxx")


async def test_placeholder_keys_do_not_garble_reasons() -> None:
    inspection = await look(answered(b"none of it", 500), api_key="none")
    assert inspection.reason == "answered 500: none of it"


@pytest.mark.parametrize(
    ("owner", "path", "body", "version"),
    [
        ("vllm", "/version", b'{"version":"0.11.0"}', "0.11.0"),
        ("llamacpp", "/props", b'{"build_info":"b8681-abc","chat_template":"{{ x }}"}', "b8681-abc"),
        ("library", "/api/version", b'{"version":"0.12.6"}', "0.12.6"),
        ("sglang", "/get_server_info", b'{"api_key":"sk-canary-0123456789","version":"0.5.2"}', "0.5.2"),
        ("vllm", "/version", b'{"version":"' + KEY.encode() + b'"}', "[redacted]"),
        ("vllm", "/version", b"<html>", ""),
    ],
)
async def test_a_registration_learns_the_engines_version(owner: str, path: str, body: bytes, version: str) -> None:
    server = ScriptedServer({"/v1/models": answered(listing("a", owned_by=owner)), path: answered(body)})
    assert (await Inspector(server, 5).inspect(ENDPOINT, KEY, ["a"])).version == version


async def test_a_check_asks_for_no_version_nor_does_one_that_failed() -> None:
    server = ScriptedServer({"/v1/models": answered(listing("a")), "/version": answered(b'{"version":"1"}')})
    assert (await Inspector(server, 5).inspect(ENDPOINT, None, ["a"], engine="vllm")).version == ""
    assert (await Inspector(server, 5).inspect(ENDPOINT, None, ["b"])).version == ""
    assert server.paths == ["/v1/models"] * 2


@pytest.mark.parametrize(
    "trouble",
    [
        AnswerBroken("no answer within 2 s"),
        ConnectFailed("connection refused", ConnectFailure.REFUSED),
        EndpointRefused("no"),
        answered(b'{"version":"1"}', 404),
    ],
)
async def test_a_version_that_is_not_told_is_empty(trouble: FetchedAnswer | Exception) -> None:
    server = ScriptedServer({"/version": trouble})
    assert await Inspector(server, 0.5).version(ENDPOINT, None, "vllm") == ""
    assert await Inspector(server, 0.5).version(ENDPOINT, None, "mlx-lm") == ""
    assert [timeout for *_, timeout, _ in server.asked] == [0.5]


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (answered(listing("a")), None),
        (answered(b"", 200), None),
        (answered(b"Loading model", 503), None),
        (answered(b"", 401), None),
        (answered(b"<html>", 404), None),
        (AnswerBroken("no answer within 1 s"), CheckFailure.UNREACHABLE),
        (ConnectFailed("connection refused", ConnectFailure.REFUSED), CheckFailure.UNREACHABLE),
        (ConnectFailed("out of file descriptors", ConnectFailure.OWN), CheckFailure.NOT_MADE),
        (ConnectFailed("TLS: expired", ConnectFailure.TLS), CheckFailure.TLS),
        (EndpointRefused("no"), CheckFailure.REFUSED_ADDRESS),
    ],
)
async def test_any_whole_answer_is_a_sign_of_life(
    answer: FetchedAnswer | Exception, failure: CheckFailure | None
) -> None:
    server = ScriptedServer({"/v1/models": answer})
    assert await Inspector(server, 5).hears(ENDPOINT, KEY, 1.0) is failure
    assert server.asked == [("/v1/models", KEY, 1.0, 4 * 1024 * 1024)]
