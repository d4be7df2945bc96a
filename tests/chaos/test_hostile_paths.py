"""What others name or place never decides which file is written: no path from a Lease, and no link in a folder."""

import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from chaos import faults
from chaos.host.launched import Launched
from chaos.target import Handle
from chaos.undo import lease, restorer
from chaos.undo.deputy import Deputy
from chaos.undo.guardian_link import GuardianLog
from chaos.undo.journal import Journal
from contract.clock import Clock
from contract.run import JsonLines
from tests.chaos.reaping import Running, leases, replicas
from tests.chaos.records import UNDO
from tests.chaos.small import Small, effective, sleepers
from tests.chaos.targets import on
from tests.chaos.test_deputy import World
from tests.embedded.recorded.stand import until

FREE_PID = 4194999  # beyond the most that Linux gives
BEFORE = "alias ll='ls -l'\n"
NAMED = {
    "folder": "/home/me/results/run",
    "kubeconfig": "/home/me/.kube/config",
    "context": "prod",
    "embedded_pid": FREE_PID,
    "given": {"pidfile": "/run/x.pid", "restore": ["touch", "/tmp/x"]},
    "server": {
        "url": "http://127.0.0.1:1",
        "api_key": "AWS_SECRET",
        "headers": {"X": "${HOME}"},
        "ca_file": "/etc/passwd",
    },
}


@pytest.fixture
def bashrc(tmp_path):
    path = tmp_path / "bashrc"
    path.write_text(BEFORE)
    return path


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.05)
    with Small(tmp_path, sleepers("engine", replicas=1)) as made:
        made.up("engine")
        yield made


def annotated(undo) -> dict:
    """As another writes it."""
    meta = {"namespace": "ml", "name": "brownout-deployment-vllm-server"}
    return {"metadata": meta | {"annotations": {"brownout.dev/undo": json.dumps(asdict(undo))}}}


def test_no_path_no_process_and_no_secrets_name_comes_from_a_lease():
    found = lease.undo_in(annotated(replace(UNDO, **NAMED)))
    assert found == replace(UNDO, server={"url": "http://127.0.0.1:1"})


def test_what_is_written_into_a_lease_names_no_path_and_is_still_recognized(small):
    undo = replace(
        small.undo("scale_to_zero", Handle("deployment", "ml/engine"), {}, time.time() + 60), **NAMED
    )
    assert lease.take(small.admin, undo, time.time())
    found = lease.read(small.admin, undo)
    assert not [word for word in ("/home/me", "/run/x.pid", "AWS", "passwd") if word in json.dumps(found)]
    assert lease.carries(found, undo)
    assert lease.whole(found, undo)


def test_what_an_older_version_wrote_into_a_lease_with_its_paths_is_recognized():
    undo = replace(UNDO, **NAMED)
    assert lease.carries(annotated(undo) | {"spec": {}}, undo)


@pytest.mark.parametrize("by", ["restore", "reaper"])
def test_the_folder_that_a_lease_names_is_not_written(small, tmp_path, bashrc, by):
    folder = tmp_path / "placed"
    folder.mkdir()
    for name in ("restore", "reaper", "takeover"):
        (folder / f"{name}.jsonl").symlink_to(bashrc)
    undo = small.undo("scale_to_zero", Handle("deployment", "ml/engine"), {}, time.time() - 5)
    undo = replace(undo, folder=str(folder), embedded_pid=FREE_PID, run="a; touch /tmp/x")
    fault = faults.make(undo.fault, small.admin, on(undo.target_handle), {})
    assert lease.take(small.admin, undo, time.time())
    held = lease.read(small.admin, undo)
    held["metadata"]["annotations"] = annotated(undo)["metadata"]["annotations"]
    assert small.admin.replace_lease(held)
    fault.inject(undo.state)
    effective(fault, undo.state)
    if by == "restore":
        found = lease.undo_in(lease.read(small.admin, undo))
        assert Deputy(found, by, Clock(), lambda words: None, cluster=small.admin).restore(20.0)
    else:
        with Running(small.admin):
            until(lambda: not leases(small), "it has restored")
    assert replicas(small, "engine") == 1
    assert bashrc.read_text() == BEFORE


@pytest.fixture
def world(monkeypatch):
    found = World()
    monkeypatch.setattr(faults, "make", lambda *given: found)
    monkeypatch.setattr(restorer, "WATCH_ON_S", 0.02)
    return found


def link(to: Path, at: Path) -> None:
    at.symlink_to(to)


def hard_link(to: Path, at: Path) -> None:
    at.hardlink_to(to)


def fifo(to: Path, at: Path) -> None:
    os.mkfifo(at)


@pytest.mark.parametrize("place", [link, hard_link, fifo])
def test_what_is_placed_in_a_run_folder_is_not_written_and_does_not_delay_the_restore(
    world, tmp_path, bashrc, place
):
    folder = tmp_path / "run"
    folder.mkdir()
    place(bashrc, folder / "guardian.jsonl")
    undo = replace(UNDO, kind="process", handle="/run/engine.pid", cluster=None, folder=str(folder))
    journal, lines = Journal(tmp_path / "journal"), []
    journal.open(undo)
    assert Deputy(undo, "guardian", Clock(), lines.append, journal).restore(5.0)
    assert world.commanded.is_set()
    assert bashrc.read_text() == BEFORE


def test_a_run_folder_that_was_replaced_by_a_link_is_not_written(world, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    undo = replace(UNDO, kind="process", handle="/run/engine.pid", cluster=None, folder=str(tmp_path / "run"))
    journal = Journal(tmp_path / "journal")
    journal.open(undo)
    assert Deputy(undo, "guardian", Clock(), lambda words: None, journal).restore(5.0)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("place", [link, hard_link, fifo])
def test_lines_are_appended_to_no_file_but_the_folders_own(tmp_path, bashrc, place):
    path = tmp_path / "chaos.jsonl"
    place(bashrc, path)
    with pytest.raises(OSError, match=r"chaos\.jsonl"):
        JsonLines(path)
    assert bashrc.read_text() == BEFORE


@pytest.mark.parametrize("place", [link, fifo])
def test_files_of_the_state_folder_are_no_links(tmp_path, bashrc, place):
    state = tmp_path / "journal"
    state.mkdir()
    journal = Journal(state)
    bashrc.write_text(UNDO.to_json())
    place(bashrc, journal._path(UNDO))
    said: list[str] = []
    assert journal.records(said.append) == []
    assert len(said) == 1
    place(bashrc, tmp_path / "guardian.log")
    log = GuardianLog(tmp_path / "guardian.log")
    assert log.opened() == -3  # subprocess.DEVNULL
    place(bashrc, tmp_path / "command")
    with pytest.raises(OSError, match="command"):
        Launched(tmp_path / "command").running()
    assert bashrc.read_text() == UNDO.to_json()
