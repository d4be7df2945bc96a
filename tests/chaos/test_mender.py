"""A mender against an inject that is still on its way: whenever it arrives, the target is up when the mender has left."""

import json
from dataclasses import replace

import pytest

from chaos import faults, mender
from chaos.fault import Foreign
from chaos.mender import Mender
from contract.clock import Clock
from tests.chaos.test_journal import UNDO


class World:
    """A target that is up until the inject arrives: at the n-th thing that is done to it or asked of it."""

    slow = False

    def __init__(self, arrives_at: int | None = None, foreign_at: int | None = None) -> None:
        self.arrives_at, self.foreign_at, self.up, self.steps = arrives_at, foreign_at, True, 0
        self.disarmed = False

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.arrives_at:
            self.up = False

    def mend(self, state) -> None:
        self._step()
        if self.foreign_at is not None and self.steps >= self.foreign_at:
            raise Foreign("somebody else wants it so")
        self.up = True

    def mended(self, state):
        self._step()
        return {"up": True} if self.up else None

    def disarm(self, state) -> None:
        self.disarmed = True


@pytest.fixture
def mend(monkeypatch, tmp_path):
    monkeypatch.setattr(mender, "WATCH_ON_S", 0.3)
    monkeypatch.setattr(mender, "WATCH_EVERY_S", 0.01)
    monkeypatch.setattr(mender, "POLL_S", 0.01)

    def run(world: World, within_s: float = 5.0) -> tuple[bool, list[dict]]:
        monkeypatch.setattr(faults, "make", lambda *given: world)
        undo = replace(UNDO, folder=str(tmp_path), kind="process", cluster=None)
        done = Mender(undo, "guardian", Clock(), lambda line: None).mend(within_s)
        path = tmp_path / "guardian.jsonl"
        return done, [json.loads(line) for line in path.read_text().splitlines()]

    return run


@pytest.mark.parametrize("arrives_at", [None, *range(1, 12)])
def test_an_inject_that_arrives_at_any_step_is_mended(mend, arrives_at):
    world = World(arrives_at)
    done, told = mend(world)
    assert done
    assert world.up
    assert world.disarmed
    assert [e["stage"] for e in told][:3] == ["begin", "commanded", "effective"]
    again = [e for e in told[3:] if (e["detail"] or {}).get("again")]
    # After the verification (two mends, one look) each even step is a mend, which puts it right before anybody looks.
    assert len(again) == (arrives_at is not None and arrives_at >= 5 and arrives_at % 2 == 1)


@pytest.mark.parametrize(("foreign_at", "last"), [(1, "fail"), (2, "fail"), (4, "effective")])
def test_what_somebody_else_wanted_meanwhile_is_left_and_told(mend, foreign_at, last):
    world = World(foreign_at=foreign_at)
    done, told = mend(world)
    assert done
    assert told[-1]["stage"] == last
    assert (told[-1]["detail"] == {"foreign": True}) is (last == "fail")
    assert world.disarmed


def test_a_target_that_does_not_come_back_stays_open(mend, monkeypatch):
    world = World()
    monkeypatch.setattr(world, "mended", lambda state: None)
    done, told = mend(world, within_s=0.1)
    assert not done
    assert told[-1]["error"] == "mended, but not ready in time"
    assert not world.disarmed
