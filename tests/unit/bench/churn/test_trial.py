"""Is a whole trial what it says: a gateway between, the same arrivals for all, each with one outcome, nothing left?"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.churn import run as run_module
from bench.churn import session as session_module
from bench.churn.__main__ import main
from bench.churn.faults import FAULTS
from bench.churn.kinds import KINDS
from bench.churn.peers import CONTENDERS, Contender
from bench.churn.readiness import unjudged
from bench.churn.results import Trial
from bench.churn.run import Load
from bench.churn.session import Plan, run_session
from bench.churn.trial import run_trial
from bench.cores import Cores
from bench.sites import Launch, Site

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="engines end with this process on Linux alone")

PROXY = """
import asyncio, itertools, sys
turn = itertools.cycle(map(int, sys.argv[2:]))

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    writer.close()

async def serve(reader, writer):
    for _port in sys.argv[2:]:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", next(turn))
            break
        except OSError:
            continue
    await asyncio.gather(copy(reader, back), copy(there, writer))

async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()

asyncio.run(main())
"""
BY_NAME = {fault.name: fault for fault in FAULTS}


def proxy(site: Site) -> Launch:
    return Launch(("python", "-c", PROXY, str(site.port), *map(str, site.upstream_ports)))


GATEWAY = replace(CONTENDERS[1].gateway, configure=proxy)
CONTENDER = Contender(GATEWAY, "a proxy of connections", most_rate=50.0)
LOAD = Load(rate=50.0, seconds=2.2, seed=3, kinds=KINDS)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_WARM_SECONDS", 0.1)


def tried(fault: str, contender: Contender = CONTENDER, load: Load = LOAD) -> Trial:
    return run_trial(contender, BY_NAME[fault], load, Path(sys.executable), Cores(), lambda _text: None)


def counts(trial: Trial) -> dict[str, int]:
    fates: dict[str, int] = {}
    for tally in trial.tallies:
        for fate, count in tally.first.items():
            fates[fate] = fates.get(fate, 0) + count
    return fates


def test_without_faults_all_is_exact() -> None:
    trial = tried("calm")
    assert counts(trial).keys() == {"exact"}
    assert (trial.hits, trial.ceiling, trial.seams, trial.felt, trial.note) == (0, 1.0, None, None, "")
    assert sum(tally.asked for tally in trial.tallies) > 60


def test_under_kill_each_request_has_one_outcome_and_streams_are_cut() -> None:
    short = replace(BY_NAME["kill"], lasts_seconds=0.5)
    trial = run_trial(CONTENDER, short, LOAD, Path(sys.executable), Cores(), lambda _text: None)
    fates = counts(trial)
    assert sum(fates.values()) == sum(tally.asked for tally in trial.tallies)
    assert fates["cut"] > 0
    assert set(fates) <= {"exact", "cut", "unreached"}
    assert trial.hits == 1
    assert 0.7 < trial.ceiling < 1
    assert trial.felt is not None


def test_a_gateway_that_does_not_start_is_told_and_not_measured() -> None:
    broken = replace(CONTENDER, gateway=replace(GATEWAY, configure=lambda _site: Launch(("python", "-c", "1/0"))))
    trial = tried("calm", broken)
    assert trial.note.startswith("not measured: It ended at its start.")
    assert "ZeroDivisionError" in trial.note
    assert trial.tallies == []


def test_too_few_requests_for_the_time_are_no_problem() -> None:
    trial = tried("calm", load=replace(LOAD, rate=0.001, seconds=0.1))
    assert (trial.tallies, trial.note) == ([], "")


class Told:
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.trials: list[Trial] = []

    def stage(self, text: str, _seconds: float = 0.0) -> None:
        self.stages.append(text)

    def tried(self, trial: Trial) -> None:
        self.trials.append(trial)


def test_a_session_tries_each_gateway_under_each_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(session_module, "install", lambda _gateway, _folder: Path(sys.executable))
    told = Told()
    faults = (BY_NAME["calm"], BY_NAME["drip"])
    plan = Plan((CONTENDER,), faults, KINDS[:2], seconds=0.4, rate=60.0, seed=1, peers_folder=tmp_path)
    results = run_session(plan, told)
    assert [(trial.fault, trial.rate) for trial in results.trials] == [("calm", 50.0), ("drip", 50.0)]
    assert told.trials == results.trials
    assert told.stages[0].startswith("Installing")
    assert results.command == plan.command
    assert {tally.kind for trial in results.trials for tally in trial.tallies} <= {"stream", "plain"}


def test_servers_are_awaited_until_none_is_unjudged() -> None:
    def listed(chat: str, text: str) -> object:
        return {"servers": [{"model_details": [{"name": "m", "continuation": {"chat": chat, "text": text}}]}]}

    assert unjudged(listed("unjudged", "none"))
    assert unjudged(listed("completions", "unjudged"))
    assert not unjudged(listed("completions", "none"))
    assert not unjudged([{"continuation": None}, {"models": ["unjudged"]}])


def test_the_list_and_wrong_files_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["churn", "--list"])
    assert main() == 0
    listed = capsys.readouterr().out
    assert all(f"fault    {fault.name} " in listed for fault in FAULTS)
    (tmp_path / "no.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["churn", "--from", str(tmp_path / "no.json")])
    assert main() == 1
    assert "failed" in capsys.readouterr().err
