"""What does a person type or paste to use a model with their own tool? The text of each snippet. Pure.

The gateway never knows a key again once it has shown it, so each text has one place for it, marked with how it is
quoted there; a browser may fill it in. The names of settings and options are those of the tools' own documentation,
which is named beside each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.routers.dashboard.quoting import in_javascript, in_python, in_shell
from app.routers.dashboard.snippet_parts import PLACEHOLDER, Connection, Part, Quoting, Tool
from app.routers.dashboard.snippet_programs import aider, cline, continue_dev, open_webui

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PLACEHOLDER", "Connection", "Part", "Quoting", "Tool", "tools_for"]

_HELLO: Final = "Say hello."
_TEXT: Final = "A text to find again."


def tools_for(connection: Connection) -> tuple[Tool, ...]:
    """Give what each tool takes to use a model; tools that only chat are left out for a model that makes vectors."""
    return tuple(make(connection) for make in (_EMBEDDING_TOOLS if connection.embeds else _CHAT_TOOLS))


def _curl(to: Connection) -> Tool:
    """By ``curl``: everything.curl.dev, "Simple POST"."""
    asked = (
        f'"input": {in_javascript(_TEXT)}'
        if to.embeds
        else f'"messages": [{{"role": "user", "content": {in_javascript(_HELLO)}}}]'
    )
    body = f'{{"model": {in_javascript(to.model)}, {asked}}}'
    path = "embeddings" if to.embeds else "chat/completions"
    command = (
        f"\n\ncurl {in_shell(f'{to.base_url}/{path}')} \\\n"
        '  -H "Authorization: Bearer $MULTIVERSE_KEY" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d '{body}'\n"
    )
    return Tool(
        "curl",
        "curl",
        "Paste both commands into a terminal.",
        (Part("Terminal", "export MULTIVERSE_KEY=", Quoting.SHELL, command),),
    )


def _openai_python(to: Connection) -> Tool:
    """By openai 3.54: github.com/openai/openai-python, README, "Usage" (``base_url``, ``api_key``)."""
    opening = f"from openai import OpenAI\n\nclient = OpenAI(base_url={in_python(to.base_url)}, api_key="
    if to.embeds:
        rest = (
            f")\nanswer = client.embeddings.create(model={in_python(to.model)}, input={in_python(_TEXT)})\n"
            "print(answer.data[0].embedding[:5])\n"
        )
    else:
        rest = (
            ")\nanswer = client.chat.completions.create(\n"
            f"    model={in_python(to.model)},\n"
            f'    messages=[{{"role": "user", "content": {in_python(_HELLO)}}}],\n'
            f"){_told(to, '  # ')}\n"
            "print(answer.choices[0].message.content)\n"
        )
    return Tool(
        "openai-python",
        "OpenAI Python",
        "Install it with pip install openai, save this as hello.py, and run python hello.py.",
        (Part("hello.py", opening, Quoting.STRING, rest),),
    )


def _openai_javascript(to: Connection) -> Tool:
    """By openai 6 and 7: github.com/openai/openai-node, README, "Usage" (``baseURL``, ``apiKey``)."""
    opening = (
        f'import OpenAI from "openai";\n\nconst client = new OpenAI({{ baseURL: {in_javascript(to.base_url)}, apiKey: '
    )
    if to.embeds:
        rest = (
            " });\nconst answer = await client.embeddings.create({\n"
            f"  model: {in_javascript(to.model)},\n  input: {in_javascript(_TEXT)},\n"
            '  encoding_format: "float",\n});\n'
            "console.log(answer.data[0].embedding.slice(0, 5));\n"
        )
    else:
        rest = (
            " });\nconst answer = await client.chat.completions.create({\n"
            f"  model: {in_javascript(to.model)},\n"
            f'  messages: [{{ role: "user", content: {in_javascript(_HELLO)} }}],\n'
            f"}});{_told(to, ' // ')}\n"
            "console.log(answer.choices[0].message.content);\n"
        )
    return Tool(
        "openai-javascript",
        "OpenAI JavaScript",
        "Install it with npm install openai, save this as hello.mjs, and run node hello.mjs.",
        (Part("hello.mjs", opening, Quoting.STRING, rest),),
    )


def _langchain(to: Connection) -> Tool:
    """By langchain-openai 1.7: reference.langchain.com, ``ChatOpenAI``, ``ModelProfile``, ``OpenAIEmbeddings``.

    ``check_embedding_ctx_length`` has to be off where a server takes texts and no tokens of OpenAI's own.
    """
    maker, name = ("OpenAIEmbeddings", "embeddings") if to.embeds else ("ChatOpenAI", "model")
    opening = (
        f"from langchain_openai import {maker}\n\n{name} = {maker}(\n"
        f"    model={in_python(to.model)},\n    base_url={in_python(to.base_url)},\n    api_key="
    )
    if to.embeds:
        rest = f",\n    check_embedding_ctx_length=False,\n)\nprint(embeddings.embed_query({in_python(_TEXT)})[:5])\n"
    else:
        profile = "" if to.context_length is None else f'    profile={{"max_input_tokens": {to.context_length}}},\n'
        rest = f",\n{profile})\nprint(model.invoke({in_python(_HELLO)}).content)\n"
    return Tool(
        "langchain",
        "LangChain",
        "Install it with pip install langchain-openai, save this as hello_chain.py, and run python hello_chain.py.",
        (Part("hello_chain.py", opening, Quoting.STRING, rest),),
    )


def _told(to: Connection, mark: str) -> str:
    """Tell of the context in a comment; nothing where it is not known."""
    if to.context_length is None:
        return ""
    return f"{mark}prompt and answer together: at most {to.context_length:,} tokens"


_CHAT_TOOLS: Final[tuple[Callable[[Connection], Tool], ...]] = (
    _curl,
    _openai_python,
    _openai_javascript,
    open_webui,
    cline,
    continue_dev,
    aider,
    _langchain,
)
_EMBEDDING_TOOLS: Final = (_curl, _openai_python, _openai_javascript, continue_dev, _langchain)
