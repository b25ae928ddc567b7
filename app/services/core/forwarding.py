"""Which bytes go to a server: the client's own body, but for the splices that are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.services.core.errors import RequestInvalid
from app.services.core.splice import add_member, find_member, set_member

if TYPE_CHECKING:
    from app.services.core.peek import Peek
    from app.services.core.types import ModelEntry

__all__ = ["forwarded_body"]

_USAGE_OPTION = b'{"include_usage":true}'


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
        RequestInvalid: a member that has to be replaced stands there twice.
    """
    try:
        if model.upstream_name != model.name:
            body = set_member(body, "model", msgspec.json.encode(model.upstream_name))
        if not seen.stream or seen.wants_usage or not ask_usage:
            return body, False
        if seen.stream_options is msgspec.UNSET:
            return add_member(body, "stream_options", _USAGE_OPTION), True
        return _with_usage_asked(body), True
    except ValueError as error:
        raise RequestInvalid(
            f"The body is ambiguous: {error}. Send each member once.", code="duplicate_member"
        ) from None


def _with_usage_asked(body: bytes) -> bytes:
    """Set ``include_usage`` among the client's other stream options, which stay."""
    span = find_member(body, "stream_options")
    options = b"null" if span is None else body[span]
    if options.startswith(b"{"):
        splice = add_member if find_member(options, "include_usage") is None else set_member
        options = splice(options, "include_usage", b"true")
    else:
        options = _USAGE_OPTION
    return set_member(body, "stream_options", options)
