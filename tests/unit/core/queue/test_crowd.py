"""Who has the most waiting: beside a plain model of it."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.services.core.queue.crowd import Crowd


class CrowdMachine(RuleBasedStateMachine):
    """Items of three people come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.crowd: Crowd[int] = Crowd()
        self.model: dict[str, list[int]] = {person: [] for person in "abc"}
        self.number = 0

    @rule(person=st.sampled_from("abc"))
    def join(self, person: str) -> None:
        self.number += 1
        self.crowd.join(self.number, person)
        self.model[person].append(self.number)

    @precondition(lambda self: any(self.model.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from([person for person, items in self.model.items() if items]))
        item = data.draw(st.sampled_from(self.model[person]))
        self.crowd.leave(item, person)
        self.model[person].remove(item)

    @invariant()
    def agree(self) -> None:
        most = max(len(items) for items in self.model.values())
        assert bool(self.crowd) is (most > 0)
        for person, items in self.model.items():
            assert self.crowd.waiting_of(person) == len(items)
        if most:
            assert self.crowd.most == most
            newest = {items[-1] for items in self.model.values() if len(items) == most}
            assert self.crowd.newest_of_the_most() in newest


TestCrowdMachine = CrowdMachine.TestCase
