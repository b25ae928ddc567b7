"""Which bytes go to a server: the client's own body, but for the splices that are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.services.core.answer.splice import TooComplexError, add_member, find_members, replace_spans
from app.services.core.errors import RequestInvalid

if TYPE_CHECKING:
    from app.services.core.http.peek import Peek
    from app.services.core.types import ModelEntry

__all__ = ["forwarded_body"]

_USAGE_OPTION = b'{"include_usage":true}'
_LONGEST_OPTIONS_BYTES = 65536


def forwarded_body(body: bytes, seen: Peek, model: ModelEntry, *, ask_usage: bool) -> tuple[bytes, bool]:
    """Splice the server's own model name in and, for a stream, the wish for figures at its end.

    Args:
        body: as the client sent it; ``peek`` has accepted it.
        seen: what ``peek`` found.
        model: the model's two names.
        ask_usage: whether the server takes ``stream_options``.

    Returns:
        The body, and whether figures were asked for that the client did not ask for.

    Raises:
        RequestInvalid: a member that has to be replaced stands there twice, or among too many others to be found in
            the time that one request may take.
    """
    asks = ask_usage and seen.stream is True and not seen.wants_usage
    if not asks and model.upstream_name == model.name:
        return body, False
    names = ["model"] if model.upstream_name != model.name else []
    adds = asks and seen.stream_options is msgspec.UNSET
    if asks and not adds:
        names.append("stream_options")
    try:
        if names:
            body = _with_values(body, names, model.upstream_name)
        if adds:
            body = add_member(body, "stream_options", _USAGE_OPTION)
    except TooComplexError as error:
        wanted = " and ".join([f"'{name}'" for name in names])
        message = (
            f"The body is too complex to find {wanted} in it: {error}. Send less, or send {wanted} before all else, "
            "use no such key anywhere else, and write letters as they are, not as \\u escapes."
        )
        raise RequestInvalid(message, code="too_complex") from None
    except ValueError as error:
        message = f"The body is ambiguous: {error}. Send each member once."
        raise RequestInvalid(message, code="duplicate_member") from None
    return body, asks


def _with_values(body: bytes, names: list[str], upstream_name: str) -> bytes:
    """Replace the members named, all of them found in one go."""
    edits = []
    for name, span in find_members(body, names).items():
        value = msgspec.json.encode(upstream_name) if name == "model" else _with_usage_asked(body, span)
        edits.append((span, value))
    return replace_spans(body, edits)


def _with_usage_asked(body: bytes, span: slice) -> bytes:
    """Set ``include_usage`` among the client's other stream options, which stay."""
    if body[span.start : span.start + 1] != b"{":
        return _USAGE_OPTION
    if span.stop - span.start > _LONGEST_OPTIONS_BYTES:
        raise TooComplexError(f"'stream_options' is longer than {_LONGEST_OPTIONS_BYTES // 1024} KiB")
    options = body[span]
    inner = find_members(options, ["include_usage"])
    if not inner:
        return add_member(options, "include_usage", b"true")
    return replace_spans(options, [(inner["include_usage"], b"true")])
