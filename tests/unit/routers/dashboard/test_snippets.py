"""Is what people copy read back by shells, Python, JavaScript, JSON and YAML as the very name of the model?"""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.routers.dashboard.quoting import in_javascript, in_python, in_shell, in_yaml
from app.routers.dashboard.snippet_parts import PLACEHOLDER, Connection, Quoting
from app.routers.dashboard.snippet_programs import CONTINUE_TOKENS
from app.routers.dashboard.snippet_urls import api_url, is_loopback, seen_from_container
from app.routers.dashboard.snippets import tools_for

URL = "https://gateway.example:8443/llm/v1"
HOSTILE = [
    "plain",
    "org/Model-7B:latest",
    "it's",
    '"; rm -rf ~; "',
    "$(reboot) `reboot` ${HOME} $HOME !!",
    "back\\slash\\",
    "a: b # c",
    "- [x] {y: z} & *w",
    "<script>alert(1)</script>",
    "${{ secrets.KEY }}",
    "modèle 模型 🦙",
    "bidi \u202eoverride\u202c and \u2066isolate\u2069",
    "odd\u00a0space \ufeff mark",
    "beyond \U000e0041 the plane",
    "'''\"\"\"",
    "#",
    "null",
    "1.0",
    "%s %(x)s {0}",
    PLACEHOLDER,
    "@file",
]
"""Names that a server may list: no control characters, no space at the ends."""

names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=64).filter(
        lambda name: name == name.strip()
    ),
)


def tool(model: str, tool_id: str, *, context_length: int | None = 8192, embeds: bool = False):
    found = {one.id: one for one in tools_for(Connection(model, URL, context_length, embeds))}
    return found[tool_id]


def read_by_bash(*words: str) -> list[str]:
    """What bash makes of words, each read back whole."""
    script = "printf '%s\\0' " + " ".join(words)
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, check=True, timeout=10)
    return done.stdout.decode().split("\0")[:-1]


def arguments_of(command: str) -> list[str]:
    """The words of a command of many lines, as bash reads them; ``curl``, ``docker`` and ``aider`` only print them."""
    script = (
        'show() { printf \'%s\\0\' "$@"; }; curl() { show "$@"; }; docker() { show "$@"; }; aider() { show "$@"; }\n'
    )
    done = subprocess.run(["bash", "--norc", "-c", script + command], capture_output=True, check=True, timeout=10)
    return done.stdout.decode().split("\0")[:-1]


@given(names)
@example("modèle \u202e")
def test_strings_are_read_back_as_they_were(name):
    assert ast.literal_eval(in_python(name)) == name
    assert json.loads(in_javascript(name)) == name
    assert yaml.safe_load(in_yaml(name)) == name
    assert yaml.safe_load(f"model: {in_yaml(name)} # more") == {"model": name}


@given(names.filter(str.isprintable))
def test_what_is_visible_is_one_word_of_any_shell(name):
    assert shlex.split(in_shell(name)) == [name]


def test_bash_reads_every_name_back():
    assert read_by_bash(*map(in_shell, HOSTILE)) == HOSTILE


@given(names)
def test_what_cannot_be_seen_is_spelled_out(name):
    for quoted in (in_shell(name), in_python(name), in_javascript(name), in_yaml(name)):
        assert quoted.isprintable()


@given(names)
def test_python_says_what_it_should(name):
    for tool_id, call in (("openai-python", "create"), ("langchain", "ChatOpenAI")):
        tree = ast.parse(tool(name, tool_id).parts[0].text)
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        named = {
            getattr(node.func, "attr", getattr(node.func, "id", "")): {word.arg: word.value for word in node.keywords}
            for node in calls
        }
        assert ast.literal_eval(named[call]["model"]) == name
        client = named["OpenAI" if tool_id == "openai-python" else "ChatOpenAI"]
        assert ast.literal_eval(client["base_url"]) == URL
        assert ast.literal_eval(client["api_key"]) == PLACEHOLDER


@given(names)
def test_continue_reads_its_settings(name):
    (model,) = yaml.safe_load(tool(name, "continue").parts[0].text)["models"]
    assert model == {
        "name": name,
        "provider": "openai",
        "model": name,
        "apiBase": URL,
        "apiKey": PLACEHOLDER,
        "roles": ["chat", "edit", "apply"],
        "defaultCompletionOptions": {"contextLength": 8192},
    }


@given(names)
def test_the_file_of_aider_knows_the_model_by_the_name_that_it_is_started_with(name):
    (_commands, file) = tool(name, "aider").parts
    assert json.loads(file.text) == {
        f"openai/{name}": {"max_input_tokens": 8192, "litellm_provider": "openai", "mode": "chat"}
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_commands_get_the_name_as_it_is(name):
    (curl,) = tool(name, "curl").parts
    words = arguments_of(curl.text)
    assert words[0] == f"{URL}/chat/completions"
    assert f"Authorization: Bearer {PLACEHOLDER}" in words
    assert json.loads(words[words.index("-d") + 1])["model"] == name
    assert arguments_of(tool(name, "aider").parts[0].text) == ["--model", f"openai/{name}"]
    docker = arguments_of(tool(name, "open-webui").parts[0].text)
    assert {f"OPENAI_API_BASE_URL={URL}", f"OPENAI_API_KEY={PLACEHOLDER}"} <= set(docker)


@given(names, st.integers(1, 10**7) | st.none(), st.booleans())
@settings(max_examples=50)
def test_a_key_has_its_place_once_and_a_name_never_makes_another(name, context_length, embeds):
    tools = tools_for(Connection(name, URL, context_length, embeds))
    assert len({one.id for one in tools}) == len(tools)
    for one in tools:
        assert sum(part.key is not None for part in one.parts) >= 1
        for part in one.parts:
            assert part.text == part.before + part.placeholder + part.after
            assert (PLACEHOLDER in part.placeholder) is (part.key is not None)
        told = {"cline", "aider", "langchain"} | ({"continue"} if (context_length or 0) >= CONTINUE_TOKENS else set())
        if context_length is not None and one.id in told and not embeds:
            assert any(re.search(rf"\b{context_length}\b", part.text) for part in one.parts)
        assert "None" not in "".join(part.text.replace(name, "") for part in one.parts) or "None" in name


def test_every_tool_is_there():
    assert [one.name for one in tools_for(Connection("m", URL))] == [
        "curl", "OpenAI Python", "OpenAI JavaScript", "Open WebUI", "Cline", "Continue", "aider", "LangChain",
    ]  # fmt: skip
    embedding = tools_for(Connection("m", URL, embeds=True))
    assert [one.id for one in embedding] == ["curl", "openai-python", "openai-javascript", "continue", "langchain"]
    assert "/embeddings" in embedding[0].parts[0].text
    assert yaml.safe_load(embedding[3].parts[0].text)["models"][0]["roles"] == ["embed"]


def test_fields_of_a_form_are_copied_one_by_one():
    parts = {part.label: part for part in tool("m", "cline").parts}
    assert {label: part.text for label, part in parts.items()} == {
        "API Provider": "OpenAI Compatible",
        "Base URL": URL,
        "OpenAI Compatible API Key": PLACEHOLDER,
        "Model ID": "m",
        "Context Window Size": "8192",
        "Terminal": f"cline auth -p openai-compatible -b '{URL}' -m 'm' -k '{PLACEHOLDER}'",
    }
    assert parts["OpenAI Compatible API Key"].key is Quoting.PLAIN
    assert all(part.is_short for part in parts.values())


def test_a_context_that_is_too_short_for_a_program_is_told():
    for long in (None, 8192, 131_072):
        assert "DEFAULT_MODEL_METADATA" not in tool("m", "open-webui", context_length=long).parts[0].text
        assert "too short" not in tool("m", "cline", context_length=long).steps
        assert "needs a context" not in tool("m", "continue", context_length=long).steps
    web = tool("m", "open-webui", context_length=2048)
    words = [word for word in arguments_of(web.parts[0].text) if word.startswith("DEFAULT_MODEL_METADATA=")]
    assert [json.loads(word.partition("=")[2]) for word in words] == [{"capabilities": {"builtin_tools": False}}]
    assert "turns them off" in web.steps
    assert "too short" in tool("m", "cline", context_length=2048).steps
    editor = tool("m", "continue", context_length=2048)
    assert "needs a context" in editor.steps
    assert "contextLength" not in editor.parts[0].text


def test_a_container_reaches_this_machine_by_another_name():
    (one,) = [one for one in tools_for(Connection("m", "http://127.0.0.1:8000/v1")) if one.id == "open-webui"]
    words = arguments_of(one.parts[0].text)
    assert "OPENAI_API_BASE_URL=http://host.docker.internal:8000/v1" in words
    assert "--add-host=host.docker.internal:host-gateway" in words
    assert "HOST=0.0.0.0" in one.steps
    assert "--add-host" not in tool("m", "open-webui").parts[0].text


@pytest.mark.parametrize(
    ("host", "is_https", "url"),
    [
        ("gateway.example", False, "http://gateway.example/v1"),
        ("gateway.example:8000", True, "https://gateway.example:8000/v1"),
        ("127.0.0.1:8000", False, "http://127.0.0.1:8000/v1"),
        ("[2001:db8::5]:8000", False, "http://[2001:db8::5]:8000/v1"),
        ("my_box.local", False, "http://my_box.local/v1"),
    ],
)
def test_a_plain_host_is_taken_as_the_browser_used_it(host, is_https, url):
    assert api_url("", host=host, is_https=is_https) == url


@pytest.mark.parametrize(
    "host",
    ["", "a b", "evil'; rm -rf ~", "a@b", "a/b", "a?b", "a#b", "a:0", "a:99999", "a:x", "[", "-a", "a..b", "ü", "$(x)",
     "a" * 300, "a:80:80", "<b>", 'a"b', "a\\b", "a\nb", "a."],
)  # fmt: skip
def test_a_host_that_makes_no_sense_is_not_taken(host):
    assert api_url("", host=host, is_https=False, listener=("0.0.0.0", 9000)) == "http://127.0.0.1:9000/v1"
    assert api_url("", host=host, is_https=False, listener=("::1", 9000)) == "http://[::1]:9000/v1"


@given(st.text(max_size=60))
def test_no_host_makes_a_url_of_anything_but_plain_characters(host):
    assert re.fullmatch(r"http://[A-Za-z0-9._\[\]:-]+/v1", api_url("", host=host, is_https=False))


def test_what_the_operator_says_goes_before_the_browser():
    assert api_url("https://llm.example/gw/", host="evil.example", is_https=False) == "https://llm.example/gw/v1"


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://localhost:8000/v1", "http://host.docker.internal:8000/v1"),
        ("http://127.0.0.2/v1", "http://host.docker.internal/v1"),
        ("http://[::1]:1/v1", "http://host.docker.internal:1/v1"),
        ("http://10.0.0.5:8000/v1", "http://10.0.0.5:8000/v1"),
        ("https://localhost.example/v1", "https://localhost.example/v1"),
    ],
)
def test_only_loopback_is_another_machine_from_a_container(url, seen):
    assert seen_from_container(url) == seen
    assert is_loopback(url) is (url != seen)
