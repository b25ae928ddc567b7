"""How does a person read what was found of a server: whether it does what it says, and what it is loading?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from rich.text import Text

from app.cli.ages import describe_age

__all__ = ["finding_rows"]

_STYLES: Final = {"ok": "green", "mismatch": "red", "unclear": "yellow"}
_UNITS: Final = {"speed": "tokens a second", "first_token": "ms to the first token", "context": "tokens of context"}
_FIGURES_ALONE: Final = frozenset({"speed", "first_token"})
"""What is measured and not judged."""


def finding_rows(server: Mapping[str, Any], now: datetime) -> list[tuple[str, Text]]:
    """Label and text of each line: first what is being loaded, then what was found, model by model.

    Args:
        server: as the API shows it.
        now: aware; ages are told from it.
    """
    rows = [("Loading", Text(_loading(load, now))) for load in server.get("loading") or []]
    models = server.get("model_details") or []
    for model in models:
        for found in model.get("verification") or []:
            lead = f"{model['name']}: " if len(models) > 1 else ""
            rows.append(("Found", Text.assemble(lead, *_words(found), f", {describe_age(found.get('found_at'), now)}")))
    return rows


def _words(found: Mapping[str, Any]) -> list[str | tuple[str, str]]:
    subject, verdict = str(found.get("subject")), str(found.get("verdict"))
    figure = _figure(subject, found.get("measured"))
    if subject in _FIGURES_ALONE and verdict == "ok":
        return [figure or subject.replace("_", " ")]
    detail = str(found.get("detail") or "") or figure
    return [f"{subject} ", (verdict, _STYLES.get(verdict, "")), f", {detail}" if detail else ""]


def _figure(subject: str, measured: object) -> str:
    if not isinstance(measured, int | float) or subject not in _UNITS:
        return ""
    return f"{measured:,.0f} {_UNITS[subject]}"


def _loading(load: Mapping[str, Any], now: datetime) -> str:
    about = load.get("about_seconds")
    takes = f", takes about {about:.0f} s" if isinstance(about, int | float) else ""
    return f"{load.get('model')}, began {describe_age(load.get('since'), now)}{takes}"
