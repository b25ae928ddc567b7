"""Which servers are there, and how do they stand? The list: its filters, order and search are its URL."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request, Response

from app.routers.dashboard.forms import FormFields
from app.routers.dashboard.policy import PAGE_HEADERS
from app.routers.dashboard.rendering import is_htmx, page
from app.routers.dashboard.server_rows import ServerRow, rows_of
from app.routers.dashboard.server_standing import STATES
from app.routers.dashboard.visitors import Owner, OwnerChanging
from app.routers.deps import GatewayHere
from app.services.registry.access import sees

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.services.knocks import Knocks

__all__ = ["Column", "ServerQuery", "chosen", "columns_of", "router", "states_of"]

MOST_WITH_PICTURES: Final = 200
"""Longer lists come without the small pictures: the live data brings them a second later."""
MOST_OFFERED: Final = 200
"""Models and owners that the fields offer while somebody types."""
MOST_IN_VIEW: Final = 75
LONGEST_PAGE_NAME: Final = 40
_DIGITS: Final = re.compile(r"([0-9]+)")
_Text = Annotated[str, Query(max_length=256)]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ServerQuery:
    """What of the list is shown, and in which order: all of it stands in the URL.

    Attributes:
        text: occurs anywhere in what is said of a server; capitals don't matter.
        state: one of the words of ``STATES``; a server may be in several.
        model: occurs in a model's name.
        owner: the owner, as shown.
        sort: a column's name, with ``-`` before it for the other way round.
    """

    text: str = ""
    state: str = ""
    model: str = ""
    owner: str = ""
    sort: str = "server"

    @property
    def is_narrow(self) -> bool:
        """Whether it leaves servers out."""
        return any((self.text, self.state, self.model, self.owner))

    @property
    def url(self) -> str:
        """The page that shows this."""
        given = {"q": self.text, "state": self.state, "model": self.model, "owner": self.owner}
        given["sort"] = "" if self.sort == "server" else self.sort
        query = urlencode({name: value for name, value in given.items() if value})
        return f"/ui/servers?{query}" if query else "/ui/servers"


@dataclass(frozen=True, slots=True)
class Column:
    """A column's head: where it leads, and how the list is sorted by it (``aria-sort``)."""

    name: str
    label: str
    url: str
    sorted: str


def asked(
    text: Annotated[str, Query(alias="q", max_length=256)] = "",
    state: _Text = "",
    model: _Text = "",
    owner: _Text = "",
    sort: _Text = "",
) -> ServerQuery:
    """Read the query of a URL. What is no column sorts by server."""
    order = sort if sort.removeprefix("-") in _ORDERS else "server"
    return ServerQuery(text.strip(), state if state in STATES else "", model.strip(), owner.strip(), order)


@router.get("/ui/servers")
async def show_servers(
    request: Request, visitor: Owner, gateway: GatewayHere, query: Annotated[ServerQuery, Depends(asked)]
) -> Response:
    """List the servers that the key may know of."""
    every = rows_of(request.app, gateway).of(visitor.principal)
    shown = chosen(every, query)
    context: dict[str, Any] = {
        "rows": shown,
        "total": len(every),
        "query": query,
        "columns": columns_of(query),
        **_offers(every),
    }
    context["pictures"] = len(shown) <= MOST_WITH_PICTURES
    # Of a thousand rows a page takes a tenth of a second: other requests go on meanwhile.
    answer = await to_thread.run_sync(lambda: page(request, visitor, "servers.html", title="Servers", **context))
    if is_htmx(request):
        answer.headers["hx-push-url"] = query.url
    return answer


@router.post("/ui/servers/in-view")
async def note_in_view(request: Request, visitor: OwnerChanging, gateway: GatewayHere, form: FormFields) -> Response:
    """Hear which servers of a long list a visitor has in view: those are looked after first."""
    servers, owners = gateway.registry.servers, gateway.registry.owners
    wanted = [servers[server_id] for server_id in form.list("id")[:MOST_IN_VIEW] if server_id in servers]
    knocks: Knocks | None = getattr(request.app.state, "knocks", None)
    if knocks is not None:
        page_name = form.text("page")[:LONGEST_PAGE_NAME]
        seen = (record.id for record in wanted if sees(visitor.principal, record, owners))
        knocks.in_view(visitor.principal.key_id, page_name, seen)
    return Response(status_code=204, headers=PAGE_HEADERS)


def chosen(rows: Sequence[ServerRow], query: ServerQuery) -> list[ServerRow]:
    """Return the rows that a query is about, in its order. Rows that are alike keep theirs."""
    found = [row for row in rows if _fits(row, query)]
    found.sort(key=_ORDERS["server"])
    name = query.sort.removeprefix("-")
    if name != "server" or query.sort.startswith("-"):
        found.sort(key=_ORDERS[name], reverse=query.sort.startswith("-"))
    return found


def columns_of(query: ServerQuery) -> list[Column]:
    """Say how each column's head sorts: as it is not now, else the other way round."""
    columns = []
    for name, label in _LABELS.items():
        is_up, is_down = query.sort == name, query.sort == f"-{name}"
        url = replace(query, sort=f"-{name}" if is_up else name).url
        columns.append(Column(name, label, url, "ascending" if is_up else "descending" if is_down else "none"))
    return columns


def states_of(row: ServerRow) -> set[str]:
    """Name all states that a server is in: one may be paused and unhealthy."""
    words = set(row.live["words"].casefold().split(", "))
    return {state for state, word in STATES.items() if word.casefold() in words}


def _fits(row: ServerRow, query: ServerQuery) -> bool:
    if query.state and query.state != row.live["state"] and query.state not in states_of(row):
        return False
    if query.owner and query.owner.casefold() != row.owner.casefold():
        return False
    wanted = query.model.casefold()
    if wanted and not any(wanted in model.name.casefold() for model in row.record.models):
        return False
    return not query.text or query.text.casefold() in _said_of(row).casefold()


def _said_of(row: ServerRow) -> str:
    """All that a search goes through."""
    models = (model.name for model in row.record.models)
    said = (row.id, row.caption, row.description, row.owner, row.record.engine, row.live["words"], row.live["reason"])
    return "\n".join((*said, *models))


def _offers(rows: Sequence[ServerRow]) -> dict[str, Any]:
    """Say what the filters offer: states with how many servers are in each, models and owners."""
    counts = dict.fromkeys(STATES, 0)
    models: dict[str, None] = {}
    for row in rows:
        for state in states_of(row):
            counts[state] += 1
        if len(models) < MOST_OFFERED:
            models.update(dict.fromkeys(model.name for model in row.record.models))
    owners = sorted({row.owner for row in rows}, key=str.casefold)[:MOST_OFFERED]
    return {
        "states": [(state, STATES[state], count) for state, count in counts.items() if count],
        "models": sorted(models, key=str.casefold)[:MOST_OFFERED],
        "owners": owners,
    }


def _by_name(text: str) -> list[tuple[int, int, str]]:
    """Sort as people do: 10.0.0.9 before 10.0.0.10, capitals or not."""
    parts = [part for part in _DIGITS.split(text.casefold()) if part]
    numbers = [part.lstrip("0") if _DIGITS.fullmatch(part) else None for part in parts]
    return [
        (0, 0, part) if number is None else (1, len(number), number)
        for part, number in zip(parts, numbers, strict=True)
    ]


_TROUBLE_FIRST: Final = {
    state: rank
    for rank, state in enumerate(
        ("unhealthy", "unknown", "quarantined", "pending", "blocked", "draining", "paused", "off-hours", "healthy")
    )
}
_LABELS: Final = {
    "server": "Server",
    "state": "State",
    "models": "Models",
    "load": "Load",
    "latency": "Latency",
    "owner": "Owner",
    "seen": "Last seen",
}
_ORDERS: Final[dict[str, Callable[[ServerRow], Any]]] = {
    "server": lambda row: _by_name(row.caption),
    "state": lambda row: _TROUBLE_FIRST[row.live["state"]],
    "models": lambda row: row.live["models"].casefold(),
    "load": lambda row: -row.live["in_flight"],
    "latency": lambda row: float("inf") if row.live["latency_ms"] is None else row.live["latency_ms"],
    "owner": lambda row: row.owner.casefold(),
    "seen": lambda row: row.live["seen_at"],
}
