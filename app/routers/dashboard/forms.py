"""What does a form say? The fields of a POST, as browsers send them (``application/x-www-form-urlencoded``)."""

from __future__ import annotations

import asyncio
import math
import re
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from app.services.core.errors import BodyTooLarge, FieldsInvalid, RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Form", "FormFields", "read_form"]

MAX_FIELDS: Final = 5000
MAX_LINES: Final = 5000
_SMALL_BYTES: Final = 16_384
"""More than that is read in a thread: a body of escapes takes a fifth of a second."""
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
"""64 bits hold so many digits."""
_FORM: Final = "application/x-www-form-urlencoded"


class Form:
    """The fields of a form; one that was left empty counts as left out.

    Args:
        fields: every value of every field, in order.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    @property
    def names(self) -> frozenset[str]:
        """The fields that were sent, empty ones too."""
        return frozenset(self._fields)

    def text(self, name: str, default: str = "") -> str:
        """The last value of a field, without white space around it."""
        return self.raw(name).strip() or default

    def raw(self, name: str) -> str:
        """The last value of a field as it was sent; line ends are LF."""
        values = self._fields.get(name)
        return values[-1].replace("\r\n", "\n") if values else ""

    def optional(self, name: str) -> str | None:
        """The last value of a field; None where it is empty."""
        return self.text(name) or None

    def lines(self, name: str) -> list[str]:
        """The lines of a text field that are not empty.

        Raises:
            FieldsInvalid: there are very many.
        """
        if self.raw(name).count("\n") >= MAX_LINES:
            message = f"{name}: has more than {MAX_LINES:,} lines. Shorten it."
            raise FieldsInvalid(message, param=name)
        return [line.strip() for line in self.raw(name).splitlines() if line.strip()]

    def flag(self, name: str) -> bool:
        """Whether a check box is set."""
        return self.text(name).lower() in {"on", "true", "1", "yes"}

    def number(self, name: str) -> float | None:
        """A number; None where the field is empty.

        Raises:
            FieldsInvalid: it is none.
        """
        text = self.text(name)
        if not text:
            return None
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            message = f"{name}: should be a number, such as 1 or 0.5."
            raise FieldsInvalid(message, param=name)
        return number

    def whole(self, name: str) -> int | None:
        """A whole number; None where the field is empty.

        Raises:
            FieldsInvalid: it is none.
        """
        text = self.text(name).replace("_", "").replace(" ", "")
        if not text:
            return None
        if _WHOLE.fullmatch(text) is None:
            message = f"{name}: should be a whole number, such as 8."
            raise FieldsInvalid(message, param=name)
        return int(text)

    def list(self, name: str) -> list[str]:
        """All values of a field that are not empty: of check boxes, or of a select that takes several."""
        return [value.strip() for value in self._fields.get(name, ()) if value.strip()]


async def read_form(request: Request) -> Form:
    """Read the form that a request brings. What is no form counts as an empty one: a page's JSON is read by its route.

    Raises:
        RequestInvalid: it is not in UTF-8.
        BodyTooLarge: it has too many fields.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return Form({})
    body = await request.body()
    if body.count(b"&") >= MAX_FIELDS:
        raise BodyTooLarge(f"The form has more than {MAX_FIELDS:,} fields. Send it in parts.")
    try:
        pairs = await asyncio.to_thread(_pairs, body) if len(body) > _SMALL_BYTES else _pairs(body)
    except (UnicodeDecodeError, ValueError) as error:
        raise RequestInvalid("The form is not in UTF-8. Send it from the page again.") from error
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return Form(fields)


def _pairs(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict")


FormFields = Annotated[Form, Depends(read_form)]
