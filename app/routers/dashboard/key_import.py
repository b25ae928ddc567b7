"""How does a list of people become keys, or links to fetch them by, from a page? It is checked, then it is done.

The list comes as text: it is pasted, or a script reads a chosen file into the field. What a check says is how things
stood at that moment; making judges anew, and makes all keys of the list or none.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from app.routers.aliases import AliasesHere
from app.routers.dashboard.forms import Form, FormFields
from app.routers.dashboard.key_answers import told, whole_link
from app.routers.dashboard.key_forms import KEY_FIELDS, checked, given_fields, key_fields, shown_form
from app.routers.dashboard.key_pages import making_choices
from app.routers.dashboard.once import FIELD, AlreadySent, SentFormsHere, new_form_id
from app.routers.dashboard.rendering import done, page
from app.routers.dashboard.visitors import Changing, SignedIn, Visitor
from app.routers.import_schemas import ImportedKeys, ImportPeople, imported_keys
from app.routers.invites import InvitesHere
from app.routers.key_schemas import group_named
from app.routers.keys import KeysHere
from app.services.core.errors import FieldsInvalid, GatewayError
from app.services.core.people.principal import Principal
from app.services.core.reporting.csv_rows import csv_text
from app.services.registry.aliases.service import Aliases
from app.services.registry.people.importing import ImportedPerson, LeftOut, examine_csv, people_of_csv
from app.services.registry.people.invites import Invites
from app.services.registry.people.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.routers.import_schemas import ImportedKey
    from app.services.registry.people.records import KeySpec

__all__ = ["router"]

LIST_FIELDS: Final = ("csv", "as", "invite_days", "skip_existing")
NOT_OF_A_LIST: Final = frozenset({"name", "person", "names_people"})
MAX_LIST_CHARACTERS: Final = 400_000
"""Thousands of lines: what fits into one request as a browser writes it, with room for the rest."""
ROWS_SHOWN: Final = 200
COLUMNS: Final = ("line", "name", "person", "email", "key", "link", "link_expires_at")

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would come of a list: who would get a key, who not and why, and which lines are not good."""

    chosen: Sequence[ImportedPerson]
    left_out: Sequence[LeftOut]
    faults: Sequence[tuple[int, str]]


@router.get("/ui/keys/import")
async def show_import(
    request: Request, visitor: SignedIn, keys: KeysHere, aliases: AliasesHere, group: str = ""
) -> HTMLResponse:
    """Show the form that takes a list."""
    values = dict.fromkeys((*KEY_FIELDS, *LIST_FIELDS), "")
    values |= {"role": "user", "as": "invites", "invite_days": "14", "group": group[:200]}
    return _import_page(request, visitor, keys, aliases, values)


@router.post("/ui/keys/import")
async def import_keys(
    request: Request,
    visitor: Changing,
    form: FormFields,
    keys: KeysHere,
    invites: InvitesHere,
    aliases: AliasesHere,
    sent: SentFormsHere,
) -> Response:
    """Check a list, or make what it asks for and show it this once."""
    values = shown_form(form, (*KEY_FIELDS, *LIST_FIELDS))
    try:
        body = _body(form)
        terms = body.terms(group_named(body.group, keys.list_groups(visitor.principal)))
        if form.text("step") != "make":
            plan = await _plan(invites, visitor.principal, values["csv"], terms)
            return _import_page(request, visitor, keys, aliases, values, plan=plan)
        with sent.once(visitor.principal.key_id, form.raw(FIELD)):
            imported = await _make(invites, visitor.principal, body, terms)
    except AlreadySent as error:
        return done(request, visitor, "/ui/keys", error.message, kind="info")
    except GatewayError as error:
        return _import_page(request, visitor, keys, aliases, values, faults=told(error), status=error.status)
    return await _imported_page(request, visitor, imported)


def _body(form: Form) -> ImportPeople:
    """Read the list and the terms.

    Raises:
        FieldsInvalid: one of the fields is not good.
    """
    if not form.text("csv"):
        raise FieldsInvalid("Paste the list, or choose its file.", param="csv")
    if len(form.raw("csv")) > MAX_LIST_CHARACTERS:
        message = f"The list is longer than {MAX_LIST_CHARACTERS:,} characters. Import it in parts."
        raise FieldsInvalid(message, param="csv")
    terms = {name: value for name, value in key_fields(form).items() if name not in NOT_OF_A_LIST}
    asked = {
        "csv": form.raw("csv"),
        "as": form.text("as", "invites"),
        "invite_days": form.number("invite_days"),
        "skip_existing": form.flag("skip_existing"),
    }
    return checked(ImportPeople, given_fields(terms | asked))


async def _plan(invites: Invites, principal: Principal, text: str, terms: KeySpec) -> Plan:
    """Say what would come of a list.

    Raises:
        FieldsInvalid: it is no list at all, or has nobody or too many in it.
        NotAllowed, Conflict: who asks may not make such keys, or not so many.
    """
    examined = await asyncio.to_thread(examine_csv, text)
    people = examined.people if examined.faults else await asyncio.to_thread(people_of_csv, text)
    chosen, left_out = await invites.foresee(principal, people, terms)
    return Plan(chosen, left_out, examined.faults)


async def _make(invites: Invites, principal: Principal, body: ImportPeople, terms: KeySpec) -> ImportedKeys:
    """Make keys or links for all of a list, or for none. Raises as ``Invites.hand_out`` does."""
    people = await asyncio.to_thread(body.listed)
    imported = await invites.hand_out(
        principal, people, terms, body.handed_out, days=body.invite_days, skip_existing=body.skip_existing
    )
    return await asyncio.to_thread(imported_keys, body.handed_out, imported)


def _import_page(
    request: Request,
    visitor: Visitor,
    keys: Keys,
    aliases: Aliases,
    values: dict[str, str],
    *,
    plan: Plan | None = None,
    faults: dict[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    context: dict[str, Any] = {
        "values": values,
        "plan": plan,
        "faults": faults or {},
        "form_id": new_form_id(),
        "shown": ROWS_SHOWN,
        **making_choices(keys, visitor, aliases.served()),
    }
    return page(request, visitor, "keys_import.html", title="Keys for a list of people", status=status, **context)


async def _imported_page(request: Request, visitor: Visitor, imported: ImportedKeys) -> HTMLResponse:
    made = [
        one.model_copy(update={"link": whole_link(request, one.link)}) if one.link else one for one in imported.made
    ]
    context: dict[str, Any] = {
        "handed_out": imported.handed_out.value,
        "made": made[:ROWS_SHOWN],
        "count": len(made),
        "left_out": imported.left_out,
        "sheet": await asyncio.to_thread(_sheet, made),
        "shown": ROWS_SHOWN,
    }
    title = "The invite links" if imported.handed_out.value == "invites" else "The keys"
    return page(request, visitor, "keys_imported.html", title=title, **context)


def _sheet(made: Sequence[ImportedKey]) -> str:
    """Write what was made as CSV, without the columns that are empty."""
    rows = [one.model_dump(mode="json") for one in made]
    columns = [name for name in COLUMNS if any(row[name] for row in rows)]
    return csv_text(columns, rows)
