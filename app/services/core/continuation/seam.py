"""How do the events of a server that goes on with an answer look like those of the one that began it?

Whole events come in, checked by ``EventRelay``; what the client is to have of them goes out. A stream is one to a
client if it has one ``id``, ``created`` and ``model``, one role, each text once, one reason why it ended, figures of
all of it and one ``[DONE]``. So the later server's events are changed in these and in nothing else, and those that then
say nothing are left out. Twice may come: the role; thoughts, where the answer is made anew, or where the model thinks
again; white space that a template cut off the end of the delivered text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.services.core.answer.sse import data_of, events_of, has_data, is_done
from app.services.core.answer.template import Template
from app.services.core.continuation.choices import ABSENT, as_chat, ends_text, is_first, speaks
from app.services.core.continuation.delivered import Identity
from app.services.core.continuation.endings import finish_event, text_event
from app.services.core.continuation.members import (
    Members,
    is_bare,
    joined,
    json_text,
    list_in,
    members_in,
    string_in,
    with_data,
)
from app.services.core.continuation.merging import merged_figures, merged_usage
from app.services.core.continuation.repeats import Thoughts, White
from app.services.core.continuation.stops import StopScan

if TYPE_CHECKING:
    from app.services.core.answer.usage import Usage
    from app.services.core.continuation.asked import Asked
    from app.services.core.continuation.delivered import Delivered

__all__ = ["Seam"]

_REASONING = ("reasoning_content", "reasoning")
_TEXTS = frozenset(("content", "text"))


class Seam:
    """Joins one server's events to what others delivered. A server that takes over from it gets a seam of its own.

    Args:
        asked: what the client wants.
        delivered: what it has.
        anew: whether the server makes the answer from its beginning, as no text of it was delivered.
        trims: whether the server was sent the delivered text without the white space at its end.
        tokens: how many tokens of the answer it was sent.
        hide_usage: leave out the closing usage event, which the gateway asked for and the client did not.
        from_completions: whether a chat comes back as a completion.
    """

    __slots__ = (
        "_chat",
        "_done",
        "_estimated",
        "_from_completions",
        "_hide_usage",
        "_identified",
        "_identity",
        "_known",
        "_misses",
        "_reasoning_member",
        "_role",
        "_scan",
        "_thoughts",
        "_tokens",
        "_white",
        "_white_tokens",
        "template",
    )

    def __init__(
        self,
        asked: Asked,
        delivered: Delivered,
        *,
        anew: bool,
        trims: bool,
        tokens: int,
        hide_usage: bool,
        from_completions: bool = False,
    ) -> None:
        text = delivered.content
        self._chat = asked.chat
        self._from_completions = from_completions
        self._hide_usage = hide_usage
        self._identity = delivered.identity or Identity()
        self._known = _known(self._identity)
        self._identified = False
        self._role = delivered.role
        self._reasoning_member = delivered.reasoning_member
        self._thoughts = Thoughts(delivered.reasoning, silent=not anew)
        self._white = White(text if trims else "")
        self._white_tokens = delivered.white_tokens
        self._tokens = 0 if anew else tokens
        self._estimated = delivered.content_tokens is None and tokens == delivered.text_events
        self._scan = StopScan(
            asked.stops, text, keeps_stop=asked.keeps_stop, unstoppable_texts=(asked.min_tokens or 0) - tokens
        )
        self._done = False
        self._misses = 0
        self.template: Template | None = None
        """What the next events may be like, and what becomes of them: else they have to be read."""

    @property
    def stopped(self) -> bool:
        """Whether a stop string that began in the delivered text is complete: the answer ends here.

        The event that says so went out; figures and ``[DONE]`` are left to the caller (``endings.closing``).
        """
        return self._scan.stopped

    def merged(self, usage: Usage | None) -> Usage | None:
        """Figures of the whole answer, by those that the server gave."""
        return merged_usage(usage, self._resent_tokens, estimated=self._estimated)

    def join(self, block: bytes) -> bytes:
        """Take whole events; return those for the client, possibly none."""
        if block.find(b"\n") == len(block) - 2:
            return self._one(block)
        return b"".join([self._one(event) for event in events_of(block)])

    def beyond(self, template: Template) -> Template | None:
        """What comes to this seam as ``template`` has it, as it goes out. None where each event has to be joined."""
        own = self.template
        if own is None or (own.front, own.back) != (template.new_front, template.new_back):
            return None
        return Template(template.front, template.back, own.new_front, own.new_back, renames=True, member=own.member)

    @property
    def _resent_tokens(self) -> int:
        """How many of the delivered tokens the server was sent. White space that it wrote itself is not of them."""
        return max(0, self._tokens - self._white_tokens) if self._white.came_again else self._tokens

    # -- most events

    def _one(self, event: bytes) -> bytes:
        """Join one event: at a glance where it is like the one before but for its text."""
        template = self.template
        text = template.text_of(event, 0, len(event)) if template is not None else None
        if template is not None and text:
            self._misses = 0
            return template.filled_with(text)
        settled = self._settled
        said = self._event(event)
        self.template = self._learned(event, said) if settled and not self._done else None
        return said

    @property
    def _settled(self) -> bool:
        """Whether nothing that was delivered has any say in what becomes of an event with text."""
        has_role = self._role or not self._from_completions
        return has_role and self._identified and self._white.over and not self._scan.searching

    def _learned(self, event: bytes, said: bytes) -> Template | None:
        """What the next events may be like; learned ever less often where they are not."""
        server, client = Template.of(event, None), Template.of(said, None)
        if server is None or client is None or not {server.member, client.member} <= _TEXTS:
            return None
        self._misses += 1
        if self._misses & (self._misses - 1):
            return None
        front, back = client.front, client.back
        both = Template(server.front, server.back, front, back, renames=True, member=client.member)
        text = both.text_of(event, 0, len(event))
        return both if text is not None and both.filled_with(text) == said else None

    # -- one event

    def _event(self, event: bytes) -> bytes:
        if self._done or self.stopped:
            return b""
        if not has_data(event):
            return event
        if is_done(event):
            self._done = True
            return self._waited() + event
        whole = members_in(data_of(event)) or {}
        listed = list_in(whole.get("choices", ABSENT))
        if listed is None and is_bare(whole.get("usage", ABSENT)):
            return event  # nothing that is known: it goes on unharmed, as in a stream of one server
        self._identify(whole)
        choices = [members_in(choice) for choice in listed or ()]
        return self._rebuilt(event, whole, [choice for choice in choices if choice is not None])

    def _rebuilt(self, event: bytes, whole: Members, choices: list[Members]) -> bytes:
        """The event with what the client is to have of its choices and figures."""
        if self._from_completions:
            whole["object"] = msgspec.Raw(b'"chat.completion.chunk"')
            choices = [as_chat(choice, with_role=not self._role) for choice in choices]
        before = b"".join([self._choice(choice) for choice in choices])
        self._role = self._role or (self._from_completions and bool(choices))
        usage = whole.get("usage", ABSENT)
        has_figures = not is_bare(usage)
        if has_figures:
            whole["usage"] = merged_figures(usage, self._resent_tokens)
        if self.stopped:
            said = before + finish_event(self._identity, "stop", chat=self._chat)
        elif any(map(speaks, choices)) or (has_figures and (choices or not self._hide_usage)):
            whole["choices"] = msgspec.Raw(msgspec.json.encode(choices))
            said = before + with_data(event, msgspec.json.encode(whole))
        else:
            said = before
        return said

    def _identify(self, whole: Members) -> None:
        """Make it an event of this stream. Where the first server left a member out, each event keeps its own."""
        for name, told in self._known:
            whole[name] = told
        if not self._identified:
            self._identified = True
            own = {name: bytes(whole.get(name, b"")) for name in ("id", "created", "model")}
            self._identity = Identity(**own)

    # -- one choice

    def _choice(self, choice: Members) -> bytes:
        """Change a choice; return events that go before its own. Of several, the others had nothing delivered."""
        if not is_first(choice):
            return b""
        if not self._chat:
            return self._say(choice, "text", ends=ends_text(choice, {}))
        delta = members_in(choice.get("delta", ABSENT)) or {}
        if self._role:
            delta.pop("role", None)
        self._think(delta)
        before = self._say(delta, "content", ends=ends_text(choice, delta))
        if "delta" in choice:
            choice["delta"] = joined(delta)
        return before

    def _say(self, holder: Members, name: str, *, ends: bool) -> bytes:
        """Put in the text that may go out now; return what has to go before this event.

        Args:
            holder: what bears the text.
            name: the member it is.
            ends: whether no text follows, or something else than text.
        """
        text = string_in(holder.get(name))
        if not text:
            return self._waited() if ends else b""
        said = self._scan.feed(self._white.new_in(text))
        if ends:
            said += self._scan.end()
        if said != text:
            holder[name] = msgspec.Raw(json_text(said))
        return text_event(self._identity, said, chat=self._chat) if self.stopped and said else b""

    def _waited(self) -> bytes:
        """The text that waited for the rest of a stop string which does not come."""
        text = self._scan.end()
        return text_event(self._identity, text, chat=self._chat) if text else b""

    def _think(self, delta: Members) -> None:
        """Put in the thoughts that the client has not seen, as the member that it knows them by."""
        told = {name: string_in(delta[name]) for name in _REASONING if name in delta}
        text = next(filter(None, told.values()), "")
        if not text:
            return
        unseen = self._thoughts.new_in(text)
        if unseen == text and (not self._reasoning_member or self._reasoning_member in told):
            return
        for name in told:
            del delta[name]
        if unseen:
            for name in {self._reasoning_member} if self._reasoning_member else told:
                delta[name] = msgspec.Raw(json_text(unseen))


def _known(identity: Identity) -> list[tuple[str, msgspec.Raw]]:
    """The members that all events of the stream share."""
    told = {"id": identity.id, "created": identity.created, "model": identity.model}
    return [(name, msgspec.Raw(value)) for name, value in told.items() if value]
