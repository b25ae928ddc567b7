"""Which request asks a server to go on with an answer?

The client's own body, with splices: the text that was delivered stands in it as what the assistant, or the prompt, has
said so far, and the limits on tokens are lower by what is used up. No other byte is touched, so the caller puts the
server's own model name in with ``forwarding.forwarded_body`` as for any request. Chats that only go on as raw text are
made in ``rendering``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.answer.splice import add_member, find_members, replace_spans
from app.services.core.continuation.ability import Rung
from app.services.core.continuation.judgement import spent_tokens
from app.services.core.continuation.reading import LIMITS, elements, whole_number
from app.services.core.http.surfaces import COMPLETIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.services.core.continuation.ability import Ability
    from app.services.core.continuation.asked import Asked
    from app.services.core.continuation.delivered import Delivered

__all__ = [
    "CHATS",
    "DEFAULT_LIMITS",
    "NotContinuable",
    "continued_body",
    "lowered_limits",
    "text_sent",
    "without_thinking",
]

CHATS: Final = "/v1/chat/completions"
DEFAULT_LIMITS: Final = {"vllm": 16, "sglang": 16}
"""How many tokens these engines give a completion that names no ``max_tokens``. Others set no bound."""
_COUNTED: Final = (*LIMITS, "n_predict")
"""Limits that are lowered; the last is llama.cpp's, which takes it on all its routes."""
_OPENS_A_TURN: Final = frozenset(("vllm", "sglang"))
"""Engines that take a trailing assistant message for said and done, unless ``continue_final_message`` is true."""
_CONTINUE, _PROMPTED, _TEMPLATE = "continue_final_message", "add_generation_prompt", "chat_template_kwargs"
_WHITE: Final = b" \t\r\n"


class NotContinuable(ValueError):
    """The body can't be made into one that goes on with the answer.

    A member stands there twice, is not what it was taken for, or can't be found in the time that one request may take;
    or the server has no rung for it.
    """


def continued_body(
    body: bytes, asked: Asked, delivered: Delivered, ability: Ability, tokens: int | None, *, first_engine: str = ""
) -> tuple[str, bytes]:
    """Make the request that asks a server to go on behind the delivered text.

    Args:
        body: as the client sent it.
        asked: what was read from it.
        delivered: what the client has; its content is not empty.
        ability: of the server that is asked.
        tokens: how many tokens the content is, where somebody counted; None takes ``delivered.tokens``.
        first_engine: the engine that began the answer, for what its defaults made of the request.

    Returns:
        The path and the body.

    Raises:
        NotContinuable: it can't be made.
    """
    spent = spent_tokens(delivered, tokens)
    text = text_sent(asked, delivered, ability)
    if text != delivered.content and spent:
        spent -= min(spent, delivered.white_tokens)  # what comes again
    try:
        if asked.chat and ability.chat in (Rung.FLAGS, Rung.TRAILING):
            return CHATS, _continued_chat(body, asked, ability, _message(delivered, text), spent, first_engine)
        if not asked.chat and ability.text is Rung.TEXT:
            return COMPLETIONS, _continued_completion(body, text, spent, first_engine)
    except NotContinuable:
        raise
    except ValueError as error:
        raise NotContinuable(f"the request can't be continued: {error}") from None
    raise NotContinuable("the server was not found to go on with such answers")


def text_sent(asked: Asked, delivered: Delivered, ability: Ability) -> str:
    """The part of the delivered text that the server is sent.

    White space at its end is left out where the server trims it, or would take it for other tokens than were said. It
    then comes again, and is not to be shown twice.
    """
    by_message = asked.chat and ability.chat in (Rung.FLAGS, Rung.TRAILING)
    trims = (by_message and ability.trims) or ((by_message or not asked.chat) and delivered.split_white)
    return delivered.content.rstrip() if trims else delivered.content


def lowered_limits(body: bytes, spans: Mapping[str, slice], spent: int) -> dict[str, bytes]:
    """New values for the limits among ``spans``: an upper one at least 1, a lower one at least 0.

    Values that are no numbers, and upper limits of 0, which bind nothing, stay as they are.
    """
    values: dict[str, bytes] = {}
    for name in (*_COUNTED, "min_tokens"):
        number = whole_number(body[spans[name]]) if name in spans else None
        if number:
            least = 0 if name == "min_tokens" else 1
            values[name] = str(max(least, number - spent)).encode()
    return values


def without_thinking(options: bytes) -> bytes:
    """Set ``enable_thinking`` to false among the template's other options, which stay.

    Raises:
        ValueError: it stands there twice.
    """
    if options[:1] != b"{":
        return b'{"enable_thinking":false}'
    span = find_members(options, ("enable_thinking",)).get("enable_thinking")
    if span is None:
        return add_member(options, "enable_thinking", b"false")
    return replace_spans(options, [(span, b"false")])


def _message(delivered: Delivered, text: str) -> dict[str, str]:
    """The assistant's message so far; with its thoughts, which templates put before the text."""
    message = {"role": "assistant", "content": text}
    if delivered.reasoning and text:
        message[delivered.reasoning_member or "reasoning_content"] = delivered.reasoning
    return message


def _continued_chat(
    body: bytes, asked: Asked, ability: Ability, message: dict[str, str], spent: int, first_engine: str
) -> bytes:
    spans = find_members(body, ("messages", *_COUNTED, "min_tokens", _CONTINUE, _PROMPTED, _TEMPLATE))
    if "messages" not in spans:
        raise NotContinuable("the request has no 'messages'")
    values = lowered_limits(body, spans, spent)
    if not message["content"]:  # only white space went out, which comes again
        return _with_members(body, spans, values)
    messages = body[spans["messages"]]
    continues = _CONTINUE in spans and body[spans[_CONTINUE]] not in (b"false", b"null")
    if asked.prefilled and (continues or first_engine not in _OPENS_A_TURN):
        values["messages"] = _with_last(messages, lambda last: _with_text_in(last, "content", message["content"]))
    else:
        values["messages"] = _with_message(messages, message)
    if ability.chat is Rung.FLAGS:
        values[_CONTINUE], values[_PROMPTED] = b"true", b"false"
    if ability.thinking_off:
        values[_TEMPLATE] = without_thinking(body[spans[_TEMPLATE]] if _TEMPLATE in spans else b"")
    return _with_members(body, spans, values)


def _continued_completion(body: bytes, text: str, spent: int, first_engine: str) -> bytes:
    spans = find_members(body, ("prompt", *_COUNTED, "min_tokens"))
    if "prompt" not in spans:
        raise NotContinuable("the request has no 'prompt'")
    values = lowered_limits(body, spans, spent)
    values["prompt"] = _with_text(body[spans["prompt"]], text)
    limit = DEFAULT_LIMITS.get(first_engine, 0)
    if "max_tokens" not in spans and limit > spent:  # had more come, there would be no such limit
        values["max_tokens"] = str(limit - spent).encode()
    return _with_members(body, spans, values)


def _with_members(body: bytes, spans: Mapping[str, slice], values: Mapping[str, bytes]) -> bytes:
    """Put values in the place of those that are there, and add the others in front."""
    body = replace_spans(body, [(spans[name], value) for name, value in values.items() if name in spans])
    for name, value in values.items():
        if name not in spans:
            body = add_member(body, name, value)
    return body


def _with_message(messages: bytes, message: dict[str, str]) -> bytes:
    """Put one more message at the end of the list."""
    if messages[:1] != b"[":
        raise NotContinuable("'messages' is no list")
    comma = b"," if messages[1:-1].strip(_WHITE) else b""
    return b"%b%b%b]" % (messages[:-1], comma, msgspec.json.encode(message))


def _with_text(value: bytes, text: str) -> bytes:
    """Lengthen a string; or the last of a list: a text itself, or a part that bears one."""
    if value[:1] == b'"':
        return b'%b%b"' % (value[:-1], msgspec.json.encode(text)[1:-1])
    return _with_last(value, lambda last: _with_text_in(last, "text", text))


def _with_text_in(element: bytes, name: str, text: str) -> bytes:
    """Lengthen the text in a member of an object; or the element, where it is a string itself."""
    if element[:1] == b'"':
        return _with_text(element, text)
    span = find_members(element, (name,)).get(name)
    if span is None:
        raise NotContinuable(f"what was to be lengthened has no '{name}'")
    return b"%b%b%b" % (element[: span.start], _with_text(element[span], text), element[span.stop :])


def _with_last(array: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Change the last element of a list."""
    listed = elements(array)
    if not listed:
        raise NotContinuable("what was to be lengthened is no list of texts")
    last = bytes(listed[-1])
    end = len(array[:-1].rstrip(_WHITE))
    return b"%b%b%b" % (array[: end - len(last)], change(last), array[end:])
