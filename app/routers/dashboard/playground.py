"""How does somebody try a model in a browser, two side by side, and see who answered and where it went on?

Nothing of it is kept: what is asked and answered lies in the page alone. With a script the answer streams; without one
the form comes back with the whole answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from app.routers.dashboard.forms import Form, FormFields
from app.routers.dashboard.playground_models import choices_of, named_server
from app.routers.dashboard.playground_question import Question, WholeAnswer, body_of, read_answer, read_question
from app.routers.dashboard.playground_way import AnswerTooLarge, ChatAnswer, ask_whole
from app.routers.dashboard.policy import PAGE_HEADERS
from app.routers.dashboard.rendering import page
from app.routers.dashboard.visitors import AdminChanging, Changing, SignedIn, Visitor
from app.routers.deps import GatewayHere
from app.services.core.errors import Conflict, FieldsInvalid, NotFound, RequestInvalid
from app.services.core.http.surfaces import CHAT

if TYPE_CHECKING:
    from app.routers.deps import Gateway
    from app.services.dataplane.plane import DataPlane

__all__ = ["router"]

EXAMPLES: Final = (
    "Explain in two sentences what a gateway does.",
    "Write a long story about a lighthouse keeper and the sea.",
    "List ten uses of a paper clip.",
)
Name = Annotated[str, Query(max_length=512)]

router = APIRouter(include_in_schema=False)


class Demo(Protocol):
    """What the demo lends to the pages (``app.demo.revival``)."""

    def killable(self, server_id: str) -> bool:
        """Whether a process of the demo serves under this id now."""
        ...

    def kill(self, server_id: str) -> None:
        """Kill it, at once."""
        ...


@router.get("/ui/playground")
async def show(
    request: Request, visitor: SignedIn, gateway: GatewayHere, model: Name = "", second_model: Name = ""
) -> Response:
    """Show the page; ``model`` and ``second_model`` are chosen already."""
    fields = Form({"model": [model], "second_model": [second_model]})
    return _page(request, visitor, gateway, fields)


@router.post("/ui/playground")
async def ask(request: Request, visitor: Changing, gateway: GatewayHere, form: FormFields) -> Response:
    """Answer the form with the whole page, for browsers without scripts."""
    try:
        question = read_question(form)
    except FieldsInvalid as error:
        return _page(request, visitor, gateway, form, status=error.status, problem=error)
    answers = await asyncio.gather(*(_whole(request, visitor, question, model) for model in question.models))
    return _page(request, visitor, gateway, form, question=question, answers=answers)


@router.post("/ui/playground/chat")
async def chat(request: Request, visitor: Changing) -> Response:
    """Answer a script: the request goes on as it is, the answer comes as it comes.

    Raises:
        RequestInvalid: it is no JSON by its own word; a form's body has been read by now.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestInvalid("Send the request as application/json.")
    return ChatAnswer(_plane(request), visitor.principal)


@router.get("/ui/playground/servers/{server_id}")
async def name_server(visitor: SignedIn, gateway: GatewayHere, server_id: str) -> Response:
    """Tell a script what to call a server."""
    named = named_server(gateway, visitor.principal, server_id)
    return JSONResponse({"name": named.name, "url": named.url}, headers=PAGE_HEADERS)


@router.post("/ui/playground/kill")
async def kill(request: Request, _visitor: AdminChanging, form: FormFields) -> Response:
    """Kill a model server of the demo.

    Raises:
        NotFound: this is no demo.
        Conflict: none of its servers runs under this id now.
    """
    demo, server_id = _demo(request), form.text("server_id")
    if demo is None:
        raise NotFound("Servers are killed in the demo alone. Run `multiverse demo` to see one go.")
    if not demo.killable(server_id):
        raise Conflict("The demo has no such server running now. It comes back by itself in some seconds.")
    demo.kill(server_id)
    return Response(status_code=204, headers=PAGE_HEADERS)


async def _whole(request: Request, visitor: Visitor, question: Question, model: str) -> WholeAnswer:
    """Ask one model."""
    body = body_of(question, model)
    try:
        status, headers, told, seconds = await ask_whole(request, _plane(request), visitor.principal, body)
    except AnswerTooLarge:
        return WholeAnswer(model, error="The answer is too long for this page. Ask for a shorter one.")
    return read_answer(model, status, headers, told, seconds)


def _page(
    request: Request,
    visitor: Visitor,
    gateway: Gateway,
    fields: Form,
    *,
    status: int = 200,
    question: Question | None = None,
    answers: list[WholeAnswer] | tuple[()] = (),
    problem: FieldsInvalid | None = None,
) -> Response:
    choices = choices_of(_plane(request), gateway.said, visitor.principal)
    names = {answer.server_id: named_server(gateway, visitor.principal, answer.server_id) for answer in answers}
    context: dict[str, Any] = {
        "answers": answers,
        "choices": choices,
        "examples": EXAMPLES,
        "fields": fields,
        "is_demo": visitor.is_admin and _demo(request) is not None,
        "may_call": visitor.principal.may_call(CHAT),
        "names": names,
        "problem": problem,
        "question": question,
    }
    return page(request, visitor, "playground.html", title="Playground", status=status, **context)


def _plane(request: Request) -> DataPlane:
    return cast("DataPlane", request.app.state.plane)


def _demo(request: Request) -> Demo | None:
    return cast("Demo | None", getattr(request.app.state, "demo", None))
