"""What do the programs that people chat and write code with take to use a model? Their settings. Pure.

The names of settings are those of the programs' own documentation, which is named beside each.
"""

from __future__ import annotations

from typing import Final

from app.routers.dashboard.quoting import in_javascript, in_shell, in_yaml
from app.routers.dashboard.snippet_parts import Connection, Part, Quoting, Tool
from app.routers.dashboard.snippet_urls import is_loopback, seen_from_container

__all__ = ["CONTINUE_TOKENS", "aider", "cline", "continue_dev", "open_webui"]

OPEN_WEBUI_TOOLS_TOKENS: Final = 8192
"""Below this context Open WebUI 0.12.4 has no room for its own tools: they make about 6,000 tokens of "Say hello."."""
CLINE_TOKENS: Final = 8192
"""Below this context Cline 3.0.65 has no room: its own prompt takes about 5,500 tokens."""
CONTINUE_TOKENS: Final = 3072
"""Below this context Continue 1.5.47 shortens what was said over and over, and never asks, if it is told of it."""


def _is_below(to: Connection, tokens: int) -> bool:
    """Whether a model's context is known, and shorter."""
    return to.context_length is not None and to.context_length < tokens


def open_webui(to: Connection) -> Tool:
    """By docs.openwebui.com, "OpenAI-Compatible" (Manage OpenAI API Connections) and "Environment Variables".

    The variables count at the first start alone; later ones are changed in its settings ("PersistentConfig").
    The fields are those of 0.12.4.
    """
    is_small = _is_below(to, OPEN_WEBUI_TOOLS_TOKENS)
    tools_off = ' \\\n  -e DEFAULT_MODEL_METADATA=\'{"capabilities": {"builtin_tools": false}}\'' if is_small else ""
    url = seen_from_container(to.base_url)
    hosts = "  --add-host=host.docker.internal:host-gateway \\\n" if is_loopback(to.base_url) else ""
    opening = (
        "docker run -d -p 3000:8080 \\\n"
        f"{hosts}"
        "  -v open-webui:/app/backend/data \\\n"
        f"  -e OPENAI_API_BASE_URL={in_shell(url)} \\\n"
        "  -e OPENAI_API_KEY="
    )
    rest = f"{tools_off} \\\n  --name open-webui --restart always ghcr.io/open-webui/open-webui:main\n"
    where = (
        " From a container, this machine is called host.docker.internal; on Linux the gateway has to listen there too "
        "(HOST=0.0.0.0)."
        if hosts
        else ""
    )
    small = (
        f" Its own tools need a context of {OPEN_WEBUI_TOOLS_TOKENS:,} tokens; this model's is shorter, so the command "
        "turns them off."
        if is_small
        else ""
    )
    return Tool(
        "open-webui",
        "Open WebUI",
        "A new one is started by this command and opened at http://localhost:3000. In one that runs, add a connection "
        "under Settings, Admin, Connections, Manage OpenAI API Connections. Model IDs is under Advanced there: press + "
        f"after the name, or leave it empty for all models.{where}{small}",
        (
            Part("Terminal", opening, Quoting.SHELL, rest),
            Part("URL", url),
            Part("API Key", "", Quoting.PLAIN),
            Part("Model IDs", to.model),
        ),
    )


def cline(to: Connection) -> Tool:
    """By docs.cline.bot, "OpenAI Compatible", its settings page (OpenAICompatible.tsx, 2026), and its help (3.0.65)."""
    context = () if to.context_length is None else (Part("Context Window Size", str(to.context_length)),)
    window = " The context window is under Model Configuration." if context else ""
    if _is_below(to, CLINE_TOKENS):
        window += " Its own prompt takes about 5,500 tokens: this model's context is too short for it."
    command = f"cline auth -p openai-compatible -b {in_shell(to.base_url)} -m {in_shell(to.model)} -k "
    return Tool(
        "cline",
        "Cline",
        f"Open its settings (the gear), and fill in these fields; its command line takes one command.{window}",
        (
            Part("API Provider", "OpenAI Compatible"),
            Part("Base URL", to.base_url),
            Part("OpenAI Compatible API Key", "", Quoting.PLAIN),
            Part("Model ID", to.model),
            *context,
            Part("Terminal", command, Quoting.SHELL),
        ),
    )


def continue_dev(to: Connection) -> Tool:
    """By docs.continue.dev, "config.yaml Reference" (schema v1) and "OpenAI API compatible providers"."""
    roles = "[embed]" if to.embeds else "[chat, edit, apply]"
    name = in_yaml(to.model)
    opening = (
        "name: Multiverse\nversion: 1.0.0\nschema: v1\nmodels:\n"
        f"  - name: {name}\n    provider: openai\n    model: {name}\n"
        f"    apiBase: {in_yaml(to.base_url)}\n    apiKey: "
    )
    is_small = _is_below(to, CONTINUE_TOKENS) and not to.embeds
    options = (
        ""
        if to.context_length is None or to.embeds or is_small
        else f"    defaultCompletionOptions:\n      contextLength: {to.context_length}\n"
    )
    small = (
        f" Its agent needs a context of some {CONTINUE_TOKENS:,} tokens. This model's is shorter, which it is not told "
        "here: it would try to shorten what was said for ever."
        if is_small
        else ""
    )
    return Tool(
        "continue",
        "Continue",
        "Save this as ~/.continue/config.yaml (on Windows %USERPROFILE%\\.continue\\config.yaml), or add what stands "
        f"under models to the file that is there.{small}",
        (Part("config.yaml", opening, Quoting.STRING, f"\n    roles: {roles}\n{options}"),),
    )


def aider(to: Connection) -> Tool:
    """By aider.chat/docs, "OpenAI compatible APIs" and "Advanced model settings" (``.aider.model.metadata.json``)."""
    name = f"openai/{to.model}"
    opening = f"export OPENAI_API_BASE={in_shell(to.base_url)}\nexport OPENAI_API_KEY="
    metadata = (
        "{\n"
        f"  {in_javascript(name)}: {{\n"
        f'    "max_input_tokens": {to.context_length},\n'
        '    "litellm_provider": "openai",\n'
        '    "mode": "chat"\n'
        "  }\n}\n"
    )
    file = () if to.context_length is None else (Part(".aider.model.metadata.json", metadata),)
    size = " The file tells it how long the context is: save it in your home folder or project." if file else ""
    return Tool(
        "aider",
        "aider",
        f"Run this in the folder of your project.{size}",
        (Part("Terminal", opening, Quoting.SHELL, f"\naider --model {in_shell(name)}\n"), *file),
    )
