"""Are lists of people read as spreadsheets and course systems write them, and bad lines told by their numbers?"""

from __future__ import annotations

import csv
import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.errors import Conflict, FieldsInvalid
from app.services.registry.people.forms import MAX_NAME_LENGTH, MAX_PERSON_LENGTH
from app.services.registry.people.importing import (
    MAX_PEOPLE,
    ImportedPerson,
    LeftOut,
    choose,
    examine_csv,
    harmless_cell,
    people_of_csv,
    people_of_list,
)

ADA = ImportedPerson(2, "ada@example.org", "Ada Lovelace", "ada@example.org")


def written(rows: list[list[str]], delimiter: str = ",") -> str:
    page = io.StringIO()
    csv.writer(page, delimiter=delimiter).writerows(rows)
    return page.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "name,email\nAda Lovelace,ada@example.org\n",
        "EMAIL , Name\r\nada@example.org, Ada Lovelace\r\n",
        "\ufeffName;E-Mail\nAda Lovelace;ada@example.org",
        "name\temail\nAda Lovelace\tada@example.org\n",
        'student id,"Full  Name","Email address"\n17,"Ada Lovelace",ada@example.org\n',
        'name,email\n"Ada Lovelace","ada@example.org",\n'.replace("email", "email,", 1),
        "Email;Group, or lab;Name\nada@example.org;a,b;Ada Lovelace\n",
    ],
)
def test_columns_come_in_any_order_case_and_form(text: str) -> None:
    assert people_of_csv(text) == [ADA]


def test_a_person_is_known_by_person_then_address_then_name() -> None:
    text = "person,name,email\np1,Ada,Ada@Example.org\n,Ada,Ada@Example.org\n,Ada,\np2,,\n,,B@example.org\n"
    assert people_of_csv(text) == [
        ImportedPerson(2, "p1", "Ada", "Ada@Example.org"),
        ImportedPerson(3, "ada@example.org", "Ada", "Ada@Example.org"),
        ImportedPerson(4, "Ada", "Ada"),
        ImportedPerson(5, "p2", "p2"),
        ImportedPerson(6, "b@example.org", "B@example.org", "B@example.org"),
    ]


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    text = 'sep=;\n\nname;note\n"Ada";"two\nlines"\n;;\n\nGrace;\n'
    assert [(one.line, one.name) for one in people_of_csv(text)] == [(4, "Ada"), (8, "Grace")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1 names none of the columns"),
        ("\n\n", "line 1 names none"),
        ("ada,grace\nx,y\n", "such as: name,email"),
        ("name\n", "nobody in it"),
        ("name,Name\nx,y\n", "twice"),
        ("name,email\nAda,a@b\nGrace,x,y\n", "line 3 has 3 cells where line 1 names 2 columns"),
        ('name\n"Ada\nGrace\n', "line 2 is no CSV"),
        ('name\nAda\n"Gr"ace\n', "line 3 is no CSV"),
        ("name,email\nAda,ada at example.org\n", "line 2: its email is no address"),
        ("name,email\nAda,@\n", "line 2: its email is no address"),
        ("name,note\n ,x\n", "line 2 has no name, person or email"),
        (f"name\n{'x' * (MAX_NAME_LENGTH + 1)}\n", f"line 2: its name is longer than {MAX_NAME_LENGTH} characters"),
        (f"person\n{'x' * (MAX_PERSON_LENGTH + 1)}\n", f"line 2: its person is longer than {MAX_PERSON_LENGTH}"),
        ('name\n"a\nb"\n', "line 2: its name has a line break"),
        ("name\na\0b\n", "line 2: its name has a line break or characters"),
        ("name\na\x1b[2Jb\n", "cannot be seen"),
        ("name,x\n" + "".join(f"\x07{number},\n" for number in range(7)), "; and 2 more"),
        ("name\n" + f"{'y' * 140_000}\n", "line 2"),
        ("name\n" + "".join(f"p{number}\n" for number in range(MAX_PEOPLE + 1)), "5,000 are the most at once"),
    ],
)
def test_a_list_that_is_not_good_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(FieldsInvalid) as refused:
        people_of_csv(text)
    assert words in refused.value.message
    assert refused.value.param == "csv"


def test_a_list_of_the_largest_size_is_taken() -> None:
    text = "name\n" + "".join(f"p{number}\n" for number in range(MAX_PEOPLE))
    assert len(people_of_csv(text)) == MAX_PEOPLE


def test_json_lists_are_held_to_the_same() -> None:
    assert people_of_list([{"person": "p1"}, {"name": " Ada ", "email": None}]) == [
        ImportedPerson(1, "p1", "p1"),
        ImportedPerson(2, "Ada", "Ada"),
    ]
    for entries, words in ([{}], "person 1 has no name"), ([], "nobody in it"), ([{"name": "a\nb"}], "line break"):
        with pytest.raises(FieldsInvalid, match=words) as refused:
            people_of_list(entries)
        assert refused.value.param == "people"


def test_who_is_there_already_is_told_or_left_out() -> None:
    people = people_of_csv("name\nAda\nGrace\nada\nEdsger\n")
    with pytest.raises(Conflict) as refused:
        choose(people, {"GRACE"}, "in the group physics", skip_existing=False)
    assert "line 3: Grace has a key in the group physics already; line 4: ada is on line 2 already" in str(
        refused.value
    )
    assert "Nothing was made" in refused.value.message
    chosen, left_out = choose(people, {"GRACE"}, "in the group physics", skip_existing=True)
    assert [one.name for one in chosen] == ["Ada", "Edsger"]
    assert left_out == [
        LeftOut(3, "Grace", "has a key in the group physics already"),
        LeftOut(4, "ada", "is on line 2 already"),
    ]
    assert choose(people[:2], (), "", skip_existing=False) == (people[:2], [])


@pytest.mark.parametrize("text", ["=1+1", "+49", "-2", "@SUM(A1)", "\tx", "\r=x", "\uff1d1"])
def test_what_a_spreadsheet_would_compute_is_made_harmless(text: str) -> None:
    assert harmless_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Ada", "mvk_x", "https://gateway/invite/mvi_x", "1-2"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert harmless_cell(text) == text


@given(st.text(max_size=400))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    people = []
    with suppress(FieldsInvalid):
        people = people_of_csv(text)
        assert people
    assert all(one.person and one.name for one in people)


CELL = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=40)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8), st.sampled_from(",;\t"))
def test_what_a_spreadsheet_writes_comes_back(cells: list[tuple[str, str]], delimiter: str) -> None:
    names = [(note, name.strip() or "x") for note, name in cells]
    people = people_of_csv(written([["Note", "Name"], *map(list, names)], delimiter))
    assert [one.name for one in people] == [name for _, name in names]


def test_every_line_is_told_of_by_itself() -> None:
    examined = examine_csv("name,email\nAda,ada@example.org\nBob,nowhere\n\nEve,eve@example.org,more\nGrace,\n")
    assert [(one.line, one.person) for one in examined.people] == [(2, "ada@example.org"), (6, "Grace")]
    assert [line for line, _words in examined.faults] == [3, 5]
    assert "its email is no address" in examined.faults[0][1]
    with pytest.raises(FieldsInvalid, match="names none of the columns"):
        examine_csv("nothing\nada\n")


@given(st.text(st.sampled_from('ab@,;\n"\t \u00e9'), max_size=60).map("name,email\n".__add__))
def test_a_list_without_faults_is_the_list_that_is_read(text: str) -> None:
    with suppress(FieldsInvalid):
        examined = examine_csv(text)
        if not examined.faults and examined.people:
            assert people_of_csv(text) == examined.people
        else:
            with pytest.raises(FieldsInvalid):
                people_of_csv(text)
