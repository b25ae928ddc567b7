"""How does a refusal that was written for a program read beside a field of a form? Pure: what it says in, words out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["for_people", "words_of"]

_METHODS: Final = "(?:GET|POST|PUT|PATCH|DELETE)"
_ROUTE: Final = re.compile(rf"\b{_METHODS} /")
_CLAUSE: Final = re.compile(rf": {_METHODS} /.*$", re.DOTALL)
_ASIDE: Final = re.compile(rf"(?: with|, see) {_METHODS} /[^\s,]*?(?=[.!?]?$|, or )")
_SENTENCES: Final = re.compile(r"(?<=[.!?]) ")
_SUBJECT: Final = re.compile(
    r"(?:Value error, )?(?:Input |String |List |Dictionary |Data )?(?=should |must )|Value error, "
)
_CALLS: Final = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"Leave it out, or send null, for", "Leave it empty for"),
        (r"\bSend null for", "Leave it empty for"),
        (r", or DELETE the key to end it", ", or revoke the key"),
        (r"Change that with PUT, or", "Change that one, or"),
    )
)
_LABELS: Final[Mapping[str, str]] = {
    "expires_at": "the last day",
    "model_limits": "the limits of single models",
    "person_limits": "the limits of each person",
    "overlap_seconds": "the time of the old secret",
    "invite_days": "the days of the link",
    "requests_per_minute": "requests in 60 s",
    "tokens_per_minute": "tokens in 60 s",
    "tokens_per_day": "tokens a day",
    "tokens_per_month": "tokens a month",
    "max_concurrency": "requests at once",
    "context_length": "the context length",
    "max_tokens": "the longest answer",
    "endpoint_url": "the address",
    "api_key": "the server's own key",
}
_FIELD: Final = re.compile(rf"(?<![\w.'])(?:limits\.|person_limits\.|capabilities\.)?({'|'.join(_LABELS)})(?![\w'])")
_QUOTED: Final = re.compile(r"'([^']*)'")
_ANEW: Final = "This can't be read. Load the page again, and choose or write it anew."
_WORDS: Final[Mapping[str, str]] = {
    "missing": "Is needed.",
    "string_type": "Write a text.",
    "string_too_short": "Write at least {min_length} characters.",
    "string_too_long": "Write at most {max_length} characters.",
    "string_unicode": "Write a text without broken characters.",
    "bool_type": "Choose yes or no.",
    "bool_parsing": "Choose yes or no.",
    "int_type": "Write a whole number, such as 8.",
    "int_parsing": "Write a whole number, such as 8.",
    "int_parsing_size": "Write a smaller number.",
    "int_from_float": "Write a whole number, such as 8.",
    "float_type": "Write a number, such as 1 or 0.5.",
    "float_parsing": "Write a number, such as 1 or 0.5.",
    "finite_number": "Write a number, such as 1 or 0.5.",
    "greater_than": "Write a number above {gt}.",
    "greater_than_equal": "Write a number of at least {ge}.",
    "less_than": "Write a number below {lt}.",
    "less_than_equal": "Write a number of at most {le}.",
    "too_short": "Name at least {min_length}.",
    "too_long": "Name at most {max_length}.",
    "literal_error": "Choose {expected}.",
    "enum": "Choose {expected}.",
    "timezone_aware": "Say the time zone too: 2030-01-31T08:00:00Z.",
    "is_instance_of": "Choose one of those that the form lists.",
    "list_type": _ANEW,
    "set_type": _ANEW,
    "tuple_type": _ANEW,
    "dict_type": _ANEW,
    "model_type": _ANEW,
    "unknown_field": _ANEW,
    "extra_forbidden": _ANEW,
}
"""By the kinds that pydantic gives faults. What a validator of ours says is in its own words."""
_PATTERNS: Final[Mapping[str, str]] = {
    r"^/[!-~]*$": "Begin with / and write no spaces, such as /v1/chat/completions.",
    r"^([01][0-9]|2[0-3]):[0-5][0-9]$": "Write it like 18:00.",
    r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$": "Write it like 18:00.",
}
_OTHER_PATTERN: Final = "This has characters, or a form, that can't be here."


def words_of(fault: Mapping[str, Any]) -> str:
    """Say what is wrong with one field, in a sentence without the field's name.

    Args:
        fault: one of pydantic's, as ``ValidationError.errors`` gives it, with its context.
    """
    kind, context = str(fault["type"]), fault.get("ctx") or {}
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(str(context.get("pattern")), _OTHER_PATTERN)
    if kind == "string_too_short" and context.get("min_length") == 1:
        return "Write something here."
    if kind.startswith(("datetime_", "date_")):
        return "Write a day or a time, such as 2030-01-31."
    words = _WORDS.get(kind)
    if words is None:
        return for_people(str(fault["msg"]))
    return words.format_map({name: _figure(value) for name, value in context.items()})


def for_people(message: str, param: str | None = None) -> str:
    """Write a message of the admin API for somebody who sees a page.

    Routes to call are left out, and fields have their labels. Where that leaves nothing, the message stays as it is.

    Args:
        message: one or more sentences.
        param: the field that they are about, which a form shows already; it is not named again.
    """
    text = message.removeprefix(f"{param}: ") if param else message
    begins = _SUBJECT.match(text)
    is_part = text != message or begins is not None
    if is_part:
        text = f"This {text[begins.end() if begins else 0 :]}"
    for pattern, words in _CALLS:
        text = pattern.sub(words, text)
    sentences = [_ASIDE.sub("", _CLAUSE.sub(".", each)) for each in _SENTENCES.split(text)]
    text = " ".join(_labelled(each) for each in sentences if not _ROUTE.search(each)).strip()
    if is_part and text and text[-1] not in ".!?":
        text = f"{text}."
    return text or message


def _labelled(sentence: str) -> str:
    """Call fields as their labels do; a sentence that begins with one begins in upper case."""
    words = _FIELD.sub(lambda found: _LABELS[found[1]], sentence)
    return words[:1].upper() + words[1:] if _FIELD.match(sentence) else words


def _figure(value: object) -> str:
    """Write a bound, or the words to choose from, without the marks of a program."""
    return f"{value:g}" if isinstance(value, float) else _QUOTED.sub(r"\1", str(value))
