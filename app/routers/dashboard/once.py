"""Was this form sent already? A page that shows a new key is made once: loading it again makes no other one.

Each form that makes a secret carries an id of its own, and the gateway remembers which of them were sent. A secret
itself is never kept: whoever did not keep it makes another one.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Final, cast

from fastapi import Depends, Request

from app.services.core.errors import Conflict, GatewayError, RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FIELD", "AlreadySent", "SentForms", "SentFormsHere", "new_form_id"]

FIELD: Final = "form_id"
MAX_FORMS: Final = 20_000
"""So many forms are remembered, some 3 MB: far more than anybody loads again."""
_ID_LENGTHS: Final = range(16, 65)


class AlreadySent(Conflict):
    """A form that was sent before."""

    default_code = "form_sent_already"


class SentForms:
    """Remembers which forms were sent."""

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        self._sent: OrderedDict[tuple[str, str], None] = OrderedDict()

    @contextmanager
    def once(self, sender: str, form_id: str) -> Iterator[None]:
        """Do what a form asks for, if it was not sent before. What fails by an answerable error may be sent again.

        Args:
            sender: whose form it is: ids of two senders are two.
            form_id: what the form carries.

        Raises:
            RequestInvalid: the form carries no id.
            AlreadySent: it was sent before.
        """
        if len(form_id) not in _ID_LENGTHS:
            raise RequestInvalid("The form is not whole. Load its page again and send it once more.")
        mark = (sender, form_id)
        if mark in self._sent:
            message = (
                "This form was sent before, and was not done again: what it made was shown then, once. "
                "If you did not keep it, rotate the key or make a new invite."
            )
            raise AlreadySent(message)
        self._sent[mark] = None
        if len(self._sent) > MAX_FORMS:
            self._sent.popitem(last=False)
        try:
            yield
        except GatewayError:
            self._sent.pop(mark, None)
            raise


def new_form_id() -> str:
    """Make an id for a form."""
    return token_hex(16)


def sent_forms_of(request: Request) -> SentForms:
    """Return what is remembered for this application, from its first form on."""
    known = getattr(request.app.state, "sent_forms", None)
    if known is None:
        known = request.app.state.sent_forms = SentForms()
    return cast("SentForms", known)


SentFormsHere = Annotated[SentForms, Depends(sent_forms_of)]
