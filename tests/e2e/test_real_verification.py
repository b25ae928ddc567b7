"""Does a real llama.cpp server do what it says, as far as it is asked?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from app.demo.bundled import MODEL_NAME
from app.services.core.live.board import Board
from app.services.core.network.addresses import AddressPolicy, parse_endpoint
from app.services.core.types import HealthStatus, ModelEntry, Server
from app.services.core.verification.asking import Claim, Examined
from app.services.core.verification.examination import ANSWER_TOKENS, examine
from app.services.core.verification.findings import Subject, Verdict
from app.services.core.verification.rota import Duty
from app.services.core.verification.samples import Samples
from app.services.dataplane.fetch import Fetcher
from app.services.dataplane.link import Link, SystemResolver
from app.services.engines.identify import engine_named
from app.services.inquiry import Inquiry
from app.services.listening import Listener
from app.services.places import BoardPlaces
from app.services.pulse import SystemClock

pytestmark = [pytest.mark.e2e, pytest.mark.real_model]

CLAIM = Claim(MODEL_NAME, engine_named("llama.cpp"), 512)


@pytest.fixture
def inquiry() -> Iterator[Inquiry]:
    resolver, clock = SystemResolver(), SystemClock()
    link = Link(AddressPolicy((ip_network("127.0.0.0/8"),)), resolver, connect_timeout_seconds=5)
    places = BoardPlaces(Board(), clock.monotonic, lambda: None)
    yield Inquiry(Listener(link, b"1.1 test", clock.monotonic), Fetcher(link, b"1.1 test"), places, clock)
    resolver.close()


async def look_at(inquiry: Inquiry, url: str, claim: Claim = CLAIM) -> Examined:
    models = (ModelEntry(MODEL_NAME, MODEL_NAME, claim.context_length),)
    server = Server("one", parse_endpoint(url), models, engine="llama.cpp", health=HealthStatus.HEALTHY)
    outcome = await inquiry.carry_through(Duty(server, MODEL_NAME, 0.0), examine(claim))
    assert isinstance(outcome, Examined), outcome
    return outcome


async def test_two_real_servers_keep_their_word_and_are_twins(model_servers: tuple[Any, Any], inquiry: Inquiry) -> None:
    samples = Samples(str.casefold)
    for name, real in zip("ab", model_servers, strict=True):
        outcome = await look_at(inquiry, real.url)
        found = {judgement.subject: judgement for judgement in outcome.judgements}
        assert {subject: judgement.verdict for subject, judgement in found.items()} == {
            Subject.NAME: Verdict.OK,
            Subject.CONTEXT: Verdict.OK,
            Subject.SPEED: Verdict.OK,
            Subject.FIRST_TOKEN: Verdict.OK,
        }
        assert (found[Subject.CONTEXT].measured or 0) >= 512
        assert (found[Subject.SPEED].measured or 0) > 1
        assert 0 < (found[Subject.FIRST_TOKEN].measured or 0) < 60_000
        assert outcome.sample is not None
        assert len(outcome.sample.words) <= 2 * ANSWER_TOKENS
        samples.put((name, MODEL_NAME), outcome.sample)
    judged = dict(samples.compare(("a", MODEL_NAME)))
    assert [judgement.verdict for judgement in judged.values()] == [Verdict.OK, Verdict.OK]


async def test_a_claim_that_is_too_large_is_found_out(model_servers: tuple[Any, Any], inquiry: Inquiry) -> None:
    outcome = await look_at(inquiry, model_servers[0].url, replace(CLAIM, context_length=10_000_000))
    context = next(one for one in outcome.judgements if one.subject is Subject.CONTEXT)
    assert context.verdict is Verdict.MISMATCH
