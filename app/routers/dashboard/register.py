"""How is a server registered in a browser? A form that is judged as it is filled in, a test, and what is next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Path, Request, Response

from app.routers.dashboard.forms import Form, FormFields
from app.routers.dashboard.register_forms import DAYS, MORE_ROWS, Draft, Judged, drafted, faults_of, judged, plain
from app.routers.dashboard.register_words import Told, told
from app.routers.dashboard.rendering import done, is_htmx, page, part
from app.routers.dashboard.visitors import Owner, OwnerChanging, Visitor
from app.routers.deps import Gateway, GatewayHere
from app.services.core.errors import (
    Conflict,
    EndpointRefused,
    FieldsInvalid,
    GatewayError,
    ServerUnreachable,
    StorageUnavailable,
    TooMany,
    Unavailable,
)
from app.services.core.types import CheckFailure
from app.services.registry.trial import Failed, Trials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.services.registry.records import ServerRecord
    from app.services.registry.specification import ServerSpec

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

UNPROCESSABLE: Final = 422
TELLING: Final = (Conflict, EndpointRefused, FieldsInvalid, ServerUnreachable, StorageUnavailable, TooMany)
"""Errors that the form is shown with, for they are about what it says, or pass."""
ServerId = Annotated[str, Path(max_length=64)]


def trials_of(request: Request) -> Trials:
    """Return what looks at servers that are not registered.

    Raises:
        Unavailable: it is not there yet.
    """
    trials = getattr(request.app.state, "trials", None)
    if trials is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return cast("Trials", trials)


TrialsHere = Annotated[Trials, Depends(trials_of)]


@dataclass(slots=True)
class Answer:
    """What is answered to a form: the faults by field, what a test found, what else is wrong."""

    faults: Mapping[str, str]
    found: Told | None = None
    problem: str = ""


@router.get("/ui/register")
async def show_form(request: Request, visitor: Owner) -> Response:
    """Show an empty form."""
    return _form(request, visitor, Draft(), Answer({}))


@router.post("/ui/register")
async def register(
    request: Request, visitor: OwnerChanging, form: FormFields, gateway: GatewayHere, trials: TrialsHere
) -> Response:
    """Register a server, or show the form again with what is wrong beside its fields."""
    draft, found = _read(form)
    if found.spec is None:
        return _form(request, visitor, draft, Answer(found.faults))
    try:
        await trials.judged(visitor.principal, found.spec)
        record = await gateway.registry.register(visitor.principal, found.spec)
    except TELLING as error:
        return _form(request, visitor, draft, Answer(faults_of(error), problem=plain(error.message)))
    return done(request, visitor, f"/ui/register/{record.id}")


@router.post("/ui/register/test")
async def test_connection(request: Request, visitor: OwnerChanging, form: FormFields, trials: TrialsHere) -> Response:
    """Look at the server as a registration would, register nothing, and say what was found."""
    draft, found = _read(form)
    answer = Answer(found.faults) if found.spec is None else await _tried(trials, visitor, found.spec)
    return _form(request, visitor, draft, answer)


@router.post("/ui/register/check")
async def check_form(request: Request, visitor: OwnerChanging, form: FormFields, trials: TrialsHere) -> Response:
    """Say what is wrong so far, field by field, while somebody types. No look is taken at the server."""
    found = judged(drafted(form), form.optional("api_key"), is_unfinished=True)
    faults = found.faults
    if found.spec is not None:
        faults = await _early_faults(trials, visitor, found.spec)
    return part(request, visitor, "register_faults.html", faults=faults)


@router.post("/ui/register/rows")
async def more_rows(request: Request, visitor: OwnerChanging, form: FormFields) -> Response:
    """Show the form with more rows for models, where no script adds them."""
    return _form(request, visitor, drafted(form, MORE_ROWS), Answer({}))


@router.get("/ui/register/{server_id}")
async def show_registered(request: Request, server_id: ServerId, visitor: Owner, gateway: GatewayHere) -> Response:
    """Say what became of a registration: its id, and what happens next."""
    record = gateway.registry.steered(visitor.principal, server_id)
    return page(request, visitor, "register_done.html", title="Registered", **_registered(gateway, record))


def _read(form: Form) -> tuple[Draft, Judged]:
    draft = drafted(form)
    return draft, judged(draft, form.optional("api_key"))


async def _tried(trials: Trials, visitor: Visitor, spec: ServerSpec) -> Answer:
    """Test a connection."""
    try:
        found = await trials.try_out(visitor.principal, spec)
    except TELLING as error:
        return Answer(faults_of(error), problem=plain(error.message))
    shown = told(found, is_operator=visitor.is_operator)
    if not isinstance(found, Failed):
        return Answer({}, shown)
    faults = faults_of(found.error)
    if found.failure is CheckFailure.CREDENTIALS:
        faults["api_key"] = "The server does not take this key." if spec.api_key else "The server asks for a key."
    return Answer(faults, shown)


async def _early_faults(trials: Trials, visitor: Visitor, spec: ServerSpec) -> Mapping[str, str]:
    """Find what is wrong beyond the form, without a look."""
    try:
        await trials.judged(visitor.principal, spec)
    except GatewayError as error:
        return faults_of(error)
    return {}


def _form(request: Request, visitor: Visitor, draft: Draft, answer: Answer) -> Response:
    """Show the form with an answer; to htmx the answer alone, so that what is typed stays, the key too."""
    shown: dict[str, Any] = {"faults": answer.faults, "found": answer.found, "problem": answer.problem}
    if is_htmx(request):
        return part(request, visitor, "register_answer.html", **shown)
    is_wrong = bool(answer.faults or answer.problem)
    return page(
        request,
        visitor,
        "register.html",
        title="Register a server",
        status=UNPROCESSABLE if is_wrong else 200,
        days=DAYS,
        draft=draft,
        is_grouped=visitor.principal.group is not None,
        **shown,
    )


def _registered(gateway: Gateway, record: ServerRecord) -> dict[str, Any]:
    """Say how a server stands that was just registered."""
    now = gateway.now()
    return {
        "server": record,
        "health": gateway.book.state(record.id).status.value,
        "is_pending": record.pending.in_force(now),
        "is_off_hours": record.is_off_hours(now),
    }
