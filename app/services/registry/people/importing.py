"""Who is on a list of people, and who of them gets a key? Pure: text and values in, people or faults out.

A list comes as JSON or as CSV: what spreadsheets and course systems write. The first row of a CSV names its columns, in
any order and case; commas, semicolons and tabs are told apart by it. A person is known by ``person``, else by their
address in lower case, else by their name.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.services.core.errors import Conflict, FieldsInvalid
from app.services.registry.people.forms import MAX_NAME_LENGTH, MAX_PERSON_LENGTH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

__all__ = [
    "MAX_PEOPLE",
    "Examined",
    "ImportedPerson",
    "LeftOut",
    "choose",
    "examine_csv",
    "harmless_cell",
    "people_of_csv",
    "people_of_list",
]

MAX_PEOPLE: Final = 5000
_FAULTS_TOLD: Final = 5
_DELIMITERS: Final = ",;\t"
_COLUMNS: Final = {
    "person": "person",
    "name": "name",
    "full name": "name",
    "email": "email",
    "e-mail": "email",
    "mail": "email",
    "email address": "email",
    "e-mail address": "email",
}
"""What the columns that count may be called, in lower case."""
_HEADER_FIX: Final = "Begin the list with a row that names its columns, such as: name,email"
_LONGEST: Final = {"person": MAX_PERSON_LENGTH, "name": MAX_NAME_LENGTH, "email": MAX_PERSON_LENGTH}
_STARTS_FORMULA: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What a cell begins with that a spreadsheet computes (OWASP, CSV injection), full-width forms too."""


@dataclass(frozen=True, slots=True)
class ImportedPerson:
    """One of a list: the line of the file (or the number in a list) where they stand, and how they are known.

    Attributes:
        line: counted from 1.
        person: whose use counts together.
        name: what their key is called.
        email: as it was given; empty if it was not.
    """

    line: int
    person: str
    name: str
    email: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Somebody of a list who gets no key, and why."""

    line: int
    person: str
    reason: str


@dataclass(frozen=True, slots=True)
class Examined:
    """What a list says: the people of its good lines, and what is wrong with the others, by their numbers."""

    people: list[ImportedPerson]
    faults: list[tuple[int, str]]


def people_of_csv(text: str) -> list[ImportedPerson]:
    """Read a list in CSV.

    Empty rows are passed over, columns of other names too.

    Raises:
        FieldsInvalid: there is no such list, or a line of it is not good; the message names each by its number.
    """
    examined = examine_csv(text)
    return _checked(examined.people, examined.faults, "csv")


def examine_csv(text: str) -> Examined:
    """Read a list in CSV as ``people_of_csv`` does, and tell every line that is not good.

    Raises:
        FieldsInvalid: it is no such list at all.
    """
    rows = _rows(text.removeprefix("\ufeff"))
    header_line, header = next(rows, (1, []))
    columns = _columns_of(header_line, header)
    people: list[ImportedPerson] = []
    faults: list[tuple[int, str]] = []
    for line, row in rows:
        if len(row) > len(header):
            count = f"line {line} has {len(row)} cells where line {header_line} names {len(header)} columns"
            faults.append((line, f"{count}: put quotes around cells with separators in them"))
            continue
        given = {name: _tidied(row[index]) for name, index in columns.items() if index < len(row)}
        _take_in(line, f"line {line}", given, people, faults)
    return Examined(people, faults)


def people_of_list(entries: Iterable[Mapping[str, str | None]]) -> list[ImportedPerson]:
    """Read a list in JSON: objects with ``person``, ``name`` and ``email``, one of them at least.

    Raises:
        FieldsInvalid: the list is empty or too long, or one of it is not good.
    """
    people: list[ImportedPerson] = []
    faults: list[tuple[int, str]] = []
    for number, entry in enumerate(entries, 1):
        given = {name: _tidied(entry.get(name) or "") for name in ("person", "name", "email")}
        _take_in(number, f"person {number}", given, people, faults)
    return _checked(people, faults, "people")


def choose(
    people: Sequence[ImportedPerson], holders: Collection[str], where: str, *, skip_existing: bool
) -> tuple[list[ImportedPerson], list[LeftOut]]:
    """Part those who get a key from those who have one, or stand in the list twice.

    Args:
        people: the list.
        holders: the people who have a live key already where these are to have theirs; case does not matter.
        where: how an error names that, such as "in the group physics-101".
        skip_existing: whether such lines are left out; else they are an error.

    Raises:
        Conflict: there are such lines, and they are not to be left out.
    """
    having = {holder.casefold() for holder in holders}
    seen: dict[str, int] = {}
    chosen: list[ImportedPerson] = []
    left_out: list[LeftOut] = []
    for one in people:
        known_as = one.person.casefold()
        if known_as in seen:
            left_out.append(LeftOut(one.line, one.person, f"is on line {seen[known_as]} already"))
        elif known_as in having:
            left_out.append(LeftOut(one.line, one.person, f"has a key {where} already"))
        else:
            chosen.append(one)
        seen.setdefault(known_as, one.line)
    if left_out and not skip_existing:
        told = _enumerated([f"line {one.line}: {one.person} {one.reason}" for one in left_out])
        message = f"{told}. Take these lines out, or leave them to skip_existing (--skip-existing). Nothing was made."
        raise Conflict(message, param="skip_existing")
    return chosen, left_out


def harmless_cell(text: str) -> str:
    """Return a text as a cell of a CSV that no spreadsheet takes for a formula: an apostrophe leads those."""
    return f"'{text}" if text[:1] in _STARTS_FORMULA and text else text


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty with the line that it begins on.

    Raises:
        FieldsInvalid: the text is no CSV from some line on.
    """
    text, skipped = _without_hint(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    while True:
        line = skipped + reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            message = f"line {line} is no CSV ({error}): close its quotes, and write a quote inside a cell twice."
            raise FieldsInvalid(message, param="csv") from error
        if any(cell.strip() for cell in row):
            yield line, row


def _without_hint(text: str) -> tuple[str, int]:
    """Drop the line ``sep=;`` that a spreadsheet may put first; the delimiter is found without it."""
    first, line_break, rest = text.partition("\n")
    is_hint = first.strip().lower().startswith("sep=") and len(first.strip()) <= len("sep=;")
    return (rest, 1) if is_hint and line_break else (text, 0)


def _delimiter(text: str) -> str:
    """Find what parts the cells: what makes most of the first row into columns that are known."""
    header = next((line for line in io.StringIO(text) if line.strip(f"{_DELIMITERS}\r\n ")), "")

    def known(delimiter: str) -> int:
        return sum(_canonical(cell) in _COLUMNS for cell in header.split(delimiter))

    return max(_DELIMITERS, key=lambda delimiter: (known(delimiter), header.count(delimiter)))


def _canonical(cell: str) -> str:
    return " ".join(cell.strip().strip('"').split()).lower()


def _columns_of(line: int, header: Sequence[str]) -> dict[str, int]:
    """Say where each column that counts stands.

    Raises:
        FieldsInvalid: there is none, or one is there twice.
    """
    columns: dict[str, int] = {}
    for index, cell in enumerate(header):
        name = _COLUMNS.get(_canonical(cell))
        if name is None:
            continue
        if name in columns:
            message = f"line {line} names the column {name} twice. Keep one of the two."
            raise FieldsInvalid(message, param="csv")
        columns[name] = index
    if not columns:
        message = f"line {line} names none of the columns name, person and email. {_HEADER_FIX}"
        raise FieldsInvalid(message, param="csv")
    return columns


def _take_in(
    line: int, place: str, given: Mapping[str, str], people: list[ImportedPerson], faults: list[tuple[int, str]]
) -> None:
    """Take a person in, or note what is wrong with them."""
    person, name, email = (given.get(part, "") for part in ("person", "name", "email"))
    for part, value in (("person", person), ("name", name), ("email", email)):
        if fault := _fault(value, _LONGEST[part]):
            faults.append((line, f"{place}: its {part} {fault}"))
            return
    if email and not _is_address(email):
        faults.append((line, f"{place}: its email is no address: write it as someone@example.org, or leave it out"))
        return
    known_as = person or email.lower() or name
    called = name or person or email
    if not known_as:
        faults.append((line, f"{place} has no name, person or email: give one of them, or take it out"))
    elif len(called) > MAX_NAME_LENGTH:
        words = f"{place}: it has no name, and its key cannot be called {called[:20]}...: give it a shorter one"
        faults.append((line, words))
    else:
        people.append(ImportedPerson(line, known_as, called, email))


def _checked(people: list[ImportedPerson], faults: list[tuple[int, str]], param: str) -> list[ImportedPerson]:
    if faults:
        raise FieldsInvalid(f"{_enumerated([words for _line, words in faults])}. Nothing was made.", param=param)
    if not people:
        message = f"The list has nobody in it. {_HEADER_FIX}" if param == "csv" else "The list has nobody in it."
        raise FieldsInvalid(message, param=param)
    if len(people) > MAX_PEOPLE:
        message = f"The list has {len(people):,} people; {MAX_PEOPLE:,} are the most at once. Import it in parts."
        raise FieldsInvalid(message, param=param)
    return people


def _tidied(cell: str) -> str:
    """A cell without space at its ends; the odd spaces that word processors put in become plain ones."""
    return "".join(" " if unicodedata.category(each) == "Zs" else each for each in cell.strip())


def _fault(value: str, longest: int) -> str:
    if len(value) > longest:
        return f"is longer than {longest} characters: shorten it"
    if not value.isprintable():
        return "has a line break or characters that cannot be seen: take them out"
    return ""


def _is_address(email: str) -> bool:
    local, _at, domain = email.rpartition("@")
    return bool(local and domain) and not any(character.isspace() for character in email)


def _enumerated(faults: Sequence[str]) -> str:
    shown = "; ".join(faults[:_FAULTS_TOLD])
    return shown if len(faults) <= _FAULTS_TOLD else f"{shown}; and {len(faults) - _FAULTS_TOLD} more"
