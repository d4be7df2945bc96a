"""Restores in the controller's place: how they are verified and reported, and that several run in parallel."""

import json
import threading
from dataclasses import replace

import pytest

from chaos import faults
from chaos.undo import restorer
from chaos.undo.deputy import Deputy
from chaos.undo.journal import Journal
from chaos.undo.restore import restore
from contract.clock import Clock
from tests.chaos.records import UNDO
from tests.ports import held_port

UNDO = replace(UNDO, kind="process", handle="/run/engine.pid", cluster=None, kubeconfig=None, target="vllm")
TOPOLOGY = """
gateway: {{url: "http://127.0.0.1:1", model: m}}
tiers: [{{name: vllm, match: {{group: m}}, model: m, {more}handles: {{process: {{pidfile: {pidfile}}}}}}}]
"""


class World:
    """A target that is up as soon as it is commanded."""

    slow = False
    missing = "not ready"

    def __init__(self) -> None:
        self.commanded = threading.Event()

    def restore(self, state) -> None:
        self.commanded.set()

    def restored(self, state):
        return {"up": True}

    def disarm(self, state) -> None:
        pass


@pytest.fixture
def world(monkeypatch):
    found = World()
    monkeypatch.setattr(faults, "make", lambda *given: found)
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.02)
    monkeypatch.setattr(restorer, "WATCH_EVERY_S", 0.01)
    return found


def written(folder, more: str = "", pidfile: str = "/run/engine.pid"):
    path = folder / "topology.yaml"
    path.write_text(TOPOLOGY.format(more=more, pidfile=pidfile))
    return path


def restored(tmp_path, journal: bool = True, within_s: float = 5.0) -> tuple[bool, list[str], list[dict]]:
    undo = replace(UNDO, folder=str(tmp_path))
    kept = Journal(tmp_path / "journal")
    kept.open(undo)
    lines: list[str] = []
    done = Deputy(undo, "guardian", Clock(), lines.append, kept if journal else None).restore(within_s)
    events = [json.loads(line) for line in (tmp_path / "guardian.jsonl").read_text().splitlines()]
    return done, lines, events


@pytest.mark.parametrize(
    ("more", "pidfile", "why"),
    [
        (None, "", "no topology with this target is available"),
        ("", "/run/another.pid", "no topology with this target is available"),
        ("", "/run/engine.pid", "the topology gives vllm no url"),
        (
            'url: "http://127.0.0.1:1", api_key: "${NO_SUCH_KEY}", ',
            "/run/engine.pid",
            "NO_SUCH_KEY is not set",
        ),
    ],
    ids=["no topology", "another's", "no url", "no key"],
)
def test_a_target_that_cannot_get_a_request_is_restored_and_its_answer_is_unknown(
    world, tmp_path, more, pidfile, why
):
    if more is not None:
        written(tmp_path, more, pidfile)
    done, lines, events = restored(tmp_path)
    assert done
    assert [e["stage"] for e in events] == ["begin", "commanded", "effective"]
    assert events[-1]["detail"]["answered"] == "unknown"
    assert why in events[-1]["detail"]["unanswered"]
    assert "answered: unknown: " in lines[-1]


def test_a_target_that_does_not_answer_a_request_is_not_restored(world, tmp_path):
    """A process runs without listening: an engine that loads, or one that never will."""
    written(tmp_path, f'url: "http://127.0.0.1:{held_port()}", ')
    done, lines, events = restored(tmp_path, within_s=0.5)
    assert not done
    assert [e["stage"] for e in events] == ["begin", "commanded", "fail"]
    assert "NOT restored: restored, but not verified: vllm does not answer: refused" in lines[-1]


def test_no_file_is_read_for_a_record_that_another_may_have_written(world, tmp_path):
    written(tmp_path, f'url: "http://127.0.0.1:{held_port()}", ')
    done, _, events = restored(tmp_path, journal=False)
    assert done
    assert events[-1]["detail"]["unanswered"] == "no topology with this target is available"


def test_one_that_does_not_come_back_keeps_no_other_down(monkeypatch, tmp_path):
    """`make restore` finds several: it restores them in parallel, however long the first one loads its model."""
    worlds = {f"/run/{n}.pid": World() for n in range(3)}
    both = threading.Barrier(3, timeout=20)
    monkeypatch.setattr(faults, "make", lambda fault, cluster, target, options: worlds[target.handle.name])
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.02)
    for one in worlds.values():
        monkeypatch.setattr(one, "restore", lambda state, one=one: one.commanded.is_set() or _meet(one, both))
    journal, lines = Journal(tmp_path), []
    for handle in worlds:
        journal.open(replace(UNDO, handle=handle, folder=None))
    assert restore(journal, None, Clock(), 20.0, lines.append) == 0
    assert (journal.records(), len(lines)) == ([], 3)


def _meet(world: World, others: threading.Barrier) -> None:
    others.wait()
    world.commanded.set()
