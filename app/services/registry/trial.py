"""What would a registration find? A look at a server for its owner to read, which registers nothing.

It is the look of a registration: judged by the same rules, over the same link, answered in the same words. So it tells
nobody more of the network than a registration that fails. Few looks a minute for each key keep it from being a scanner
that is faster than that.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from app.services.core.errors import Conflict, EndpointRefused, ServerUnreachable, TooMany
from app.services.core.network.addresses import parse_endpoint
from app.services.registry.access import is_operator, require_registrant, require_still, steers
from app.services.registry.examination import examine
from app.services.registry.terms_rules import refuse_empty_group, refuse_rank
from app.services.registry.terms_zones import in_its_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from app.services.core.continuation.ability import Ability
    from app.services.core.people.principal import Principal
    from app.services.core.types import CheckFailure, DiscoveredModel, Endpoint, Inspection, ModelEntry
    from app.services.registry.examination import Examined, Inspector
    from app.services.registry.service import Registry
    from app.services.registry.specification import ServerSpec

__all__ = ["Continues", "Failed", "Passed", "Trials"]

MOST_A_MINUTE: Final = 12
"""Looks of one key: as many as a person who corrects a form takes, and no more."""
MOST_AT_ONCE: Final = 8
"""Looks of all keys together."""
_MINUTE_SECONDS: Final = 60.0


class Continues(Protocol):
    """Finds out how a server goes on with an answer that broke; ``services.tryout.Tryout`` is the one."""

    async def try_out(self, endpoint: Endpoint, api_key: str | None, model: ModelEntry, engine: str) -> Ability:
        """Try one model. What can't be told is ``UNJUDGED`` with a reason; nothing is raised for the server's faults.

        Args:
            endpoint: where it listens.
            api_key: its own key.
            model: one that it lists.
            engine: what runs there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Passed:
    """It could be registered so.

    Attributes:
        endpoint: in canonical form.
        examined: what a registration would take over.
        listed: every model that it lists, named by the server.
        lacking: what the look complains of all the same, such as some models that are not listed; empty if nothing.
        ability: how it goes on with chats that broke elsewhere, found of the first model; None where nobody tries.
    """

    endpoint: Endpoint
    examined: Examined
    listed: tuple[DiscoveredModel, ...]
    lacking: str = ""
    ability: Ability | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """It would be refused.

    Attributes:
        error: what a registration would answer.
        failure: what went wrong in the look.
        engine: what answered, as far as that was told.
        listed: every model that it lists.
    """

    error: EndpointRefused | ServerUnreachable
    failure: CheckFailure | None
    engine: str = "unknown"
    listed: tuple[DiscoveredModel, ...] = ()


class Trials:
    """Looks at servers that are not registered.

    Args:
        registry: knows those that are.
        inspector: looks.
        clock: the present moment, timezone-aware UTC.
        monotonic: seconds, for how often a key looks.
        continues: tries how broken answers go on; None where that is turned off.
    """

    def __init__(
        self,
        registry: Registry,
        inspector: Inspector,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        continues: Continues | None = None,
    ) -> None:
        self._registry = registry
        self._inspector = inspector
        self._clock = clock
        self._monotonic = monotonic
        self._continues = continues
        self._looks: dict[str, deque[float]] = {}
        self._looking: set[str] = set()

    async def judged(self, principal: Principal, spec: ServerSpec) -> ServerSpec:
        """Judge all of a registration that takes no look; the time zone is known afterwards.

        Raises:
            NotAllowed: a user's key.
            FieldsInvalid: there is no such time zone or group, or the rank is the operator's to give.
            EndpointRefused: the URL's form is refused.
            Conflict: a server has this endpoint.
        """
        require_registrant(principal)
        refuse_empty_group(spec.share, principal.group)
        if not is_operator(principal):
            refuse_rank(spec.priority, spec.weight)
        self._refuse_taken(principal, parse_endpoint(spec.endpoint_url))
        return replace(spec, hours=await in_its_zone(spec.hours))

    async def try_out(self, principal: Principal, spec: ServerSpec) -> Passed | Failed:
        """Look at a server as a registration would.

        Raises:
            NotAllowed, FieldsInvalid, EndpointRefused, Conflict: as ``judged`` does.
            TooMany: this key looks too often, or too many look now.
        """
        spec = await self.judged(principal, spec)
        endpoint = parse_endpoint(spec.endpoint_url)
        with self._turn(principal.key_id):
            found = await self._look(endpoint, spec)
        require_still(principal, self._registry.owners)
        return found

    async def _look(self, endpoint: Endpoint, spec: ServerSpec) -> Passed | Failed:
        looking = _Remembering(self._inspector)
        try:
            examined = await examine(looking, endpoint, spec, self._clock())
        except (EndpointRefused, ServerUnreachable) as error:
            seen = looking.seen
            return Failed(error, seen.failure, seen.engine, seen.models) if seen else Failed(error, None)
        ability = None
        if self._continues is not None and examined.models:
            model = examined.models[0]
            ability = await self._continues.try_out(endpoint, spec.api_key, model, examined.engine)
        listed, lacking = (looking.seen.models, looking.seen.reason) if looking.seen else ((), "")
        return Passed(endpoint, examined, listed, lacking, ability)

    def _refuse_taken(self, principal: Principal, endpoint: Endpoint) -> None:
        """Say early that an endpoint is registered, and as which server to who steers it."""
        for record in self._registry.servers.values():
            if record.endpoint == endpoint:
                known = f" as {record.id}" if steers(principal, record, self._registry.owners) else ""
                message = f"The endpoint {endpoint.url} is already registered{known}. Change or remove that server."
                raise Conflict(message, param="endpoint_url")

    @contextmanager
    def _turn(self, key_id: str) -> Iterator[None]:
        """Count a look of a key, and hold its place while it lasts."""
        now = self._monotonic()
        self._forget_before(now - _MINUTE_SECONDS)
        looks = self._looks.get(key_id, deque())
        if len(looks) >= MOST_A_MINUTE:
            wait = max(1, round(looks[0] + _MINUTE_SECONDS - now))
            message = (
                f"There were {MOST_A_MINUTE} tests in the last minute, which is the most. Try again in {wait} seconds."
            )
            raise TooMany(message, code="tests_a_minute", retry_after_seconds=wait)
        if key_id in self._looking or len(self._looking) >= MOST_AT_ONCE:
            whose = "A test of this key is" if key_id in self._looking else "As many tests as may run at once are"
            message = f"{whose} under way. Try again in some seconds."
            raise TooMany(message, code="test_under_way", retry_after_seconds=5)
        self._looks.setdefault(key_id, looks).append(now)
        self._looking.add(key_id)
        try:
            yield
        finally:
            self._looking.discard(key_id)

    def _forget_before(self, oldest: float) -> None:
        """Forget looks that count no more."""
        for key_id, looks in tuple(self._looks.items()):
            while looks and looks[0] <= oldest:
                looks.popleft()
            if not looks:
                del self._looks[key_id]


class _Remembering:
    """An inspector that keeps what it found."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self.seen: Inspection | None = None

    async def inspect(self, endpoint: Endpoint, api_key: str | None, expected: Sequence[str]) -> Inspection:
        self.seen = await self._inspector.inspect(endpoint, api_key, expected)
        return self.seen
