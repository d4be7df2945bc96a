"""A journal, a pidfile and a started command's file are acted on only where no other user could have written them."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from chaos import faults
from chaos.errors import CannotInject
from chaos.host import pidfile
from chaos.host.launched import Launched
from chaos.state_folder import default_folder
from chaos.target import Handle
from chaos.undo.deputy import Deputy
from chaos.undo.guardian_link import GuardianLog
from chaos.undo.journal import Journal
from chaos.undo.restore import restore
from contract.clock import Clock
from tests.chaos.processes import Server
from tests.chaos.records import UNDO
from tests.chaos.targets import on

RECORD = replace(UNDO, kind="process", handle="/run/engine.pid", cluster=None, fault="process_freeze")
OTHER = 4242


def of_another(path: Path, monkeypatch) -> None:
    """The file of a user who is neither this one nor root."""
    if os.geteuid() == 0:
        os.chown(path, OTHER, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: OTHER)


def for_the_group(path: Path, monkeypatch) -> None:
    path.chmod(path.stat().st_mode | stat.S_IWGRP)


def for_all(path: Path, monkeypatch) -> None:
    path.chmod(path.stat().st_mode | stat.S_IWOTH)


WAYS = pytest.mark.parametrize(
    ("spoil", "words"),
    [(of_another, "belongs to user"), (for_the_group, "chmod go-w"), (for_all, "chmod go-w")],
)


@pytest.fixture
def journal(state_home):
    found = Journal(default_folder())
    found.open(RECORD)
    return found


@pytest.fixture
def acted(monkeypatch):
    """The records that were restored."""
    found: list[str] = []
    monkeypatch.setattr(Deputy, "restore", lambda self, within_s: found.append(self._undo.handle) or True)
    return found


@WAYS
def test_a_record_that_another_user_could_have_written_is_reported_and_hides_no_other(
    journal, acted, monkeypatch, spoil, words
):
    (path,) = default_folder().iterdir()
    if os.geteuid() == 0 or spoil is not of_another:
        journal.open(replace(RECORD, handle="/run/other.pid"))
    expected = ["/run/other.pid"] if len(list(default_folder().iterdir())) == 2 else []
    spoil(path, monkeypatch)
    lines: list[str] = []
    assert restore(journal, None, Clock(), 1.0, lines.append) == 1
    assert acted == expected
    assert words in lines[0]
    assert str(path) in lines[0] or str(path.parent) in lines[0]


@WAYS
def test_a_folder_in_which_another_user_could_place_records_is_not_used(
    journal, acted, monkeypatch, spoil, words
):
    spoil(default_folder(), monkeypatch)
    lines: list[str] = []
    assert restore(journal, None, Clock(), 1.0, lines.append) == 1
    assert (acted, len(lines)) == ([], 1)
    assert words in lines[0]
    with pytest.raises(OSError, match=words):
        journal.open(replace(RECORD, handle="/run/other.pid"))
    with pytest.raises(OSError, match=words):
        journal.held(RECORD)


@WAYS
def test_a_run_is_refused_before_anything_is_touched(
    journal, commands, run_here, monkeypatch, capsys, spoil, words
):
    spoil(default_folder(), monkeypatch)
    code, recorded = run_here(commands)
    assert (code, recorded) == (64, [])
    assert words in capsys.readouterr().err
    assert not commands.gone.exists()


def test_the_state_folder_is_for_its_user_alone_whatever_the_umask(tmp_path, state_home):
    before = os.umask(0)
    try:
        Journal(default_folder()).open(RECORD)
        log = GuardianLog(default_folder().with_name("guardian.log"))
        log.close()
        Launched(default_folder().with_name("commands") / "x").bar()
    finally:
        os.umask(before)
    state = default_folder().parent
    modes = {str(p.relative_to(state)): stat.S_IMODE(p.stat().st_mode) for p in state.rglob("*")}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {modes["journal"], modes["commands"]} == {0o700}
    assert {mode for name, mode in modes.items() if "." in name or "/" in name} == {0o600}


@pytest.fixture
def server(tmp_path, state_home):
    found = Server(tmp_path)
    found.begin()
    yield found
    found.end()


def a_link(path: Path, monkeypatch) -> None:
    aside = path.with_suffix(".aside")
    path.rename(aside)
    path.symlink_to(aside)


def a_fifo(path: Path, monkeypatch) -> None:
    path.unlink()
    os.mkfifo(path)


PLACED = pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (of_another, "belongs to user"),
        (for_the_group, "chmod go-w"),
        (for_all, "chmod go-w"),
        (a_link, "a symbolic link"),
        (a_fifo, "not a regular file"),
    ],
)


@PLACED
def test_a_pidfile_that_another_user_could_have_written_names_no_process(server, monkeypatch, spoil, words):
    spoil(server.pidfile, monkeypatch)
    for name in ("process_kill", "process_freeze"):
        with pytest.raises(CannotInject, match=words):
            made(name, server).snapshot()


@PLACED
def test_a_pidfile_that_is_spoiled_during_the_fault_keeps_nothing_down(server, monkeypatch, spoil, words):
    """A stopped process is continued by its record; whether a killed one is back is not read from such a file."""
    freeze, kill = made("process_freeze", server), made("process_kill", server)
    state = freeze.snapshot()
    freeze.inject(state)
    spoil(server.pidfile, monkeypatch)
    freeze.restore(state)
    assert pidfile.seen(state["pid"]).state != "T"
    assert kill.current(state) is None
    assert words in kill.missing


def made(name: str, server: Server):
    given = {"pidfile": str(server.pidfile), "start": None}
    return faults.make(name, None, on(Handle("process", str(server.pidfile), given)), {})


@WAYS
def test_the_file_of_a_started_command_is_read_only_where_it_is_ones_own(
    tmp_path, server, monkeypatch, spoil, words
):
    path = tmp_path / "inject-1"
    found = pidfile.seen(server.pid())
    path.write_text(f'{{"pid": {found.pid}, "start": {found.start}}}')
    assert Launched(path).running()
    spoil(path, monkeypatch)
    with pytest.raises(OSError, match=words):
        Launched(path).end()
    assert pidfile.living(found.pid, found.start)
