"""The lifecycle of a run from its inputs to its verdict, with fakes of chaos and of the load generator."""

from functools import partial

import gevent
import pytest

from contract.messages import Counts, End, Ready, Refused, Status
from contract.refusal import (
    EXIT_ABORTED,
    EXIT_BAD_INPUT,
    EXIT_INTERNAL_ERROR,
    EXIT_NOT_RESTORED,
    EXIT_PASS,
    EXIT_UNKNOWN,
    Refusal,
)
from contract.run import read_manifest
from scenarios.gateway import counters
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.recording import Memory
from scenarios.run import checks, closing, warming
from scenarios.run.lifecycle import RunLifecycle
from scenarios.run.verdict import Verdict
from scenarios.run.warming import Warmed
from tests.chaos.stand import ROOT
from tests.scenarios.run.fakes import SCENARIOS, FakeLoad, Process, options
from tests.scenarios.user_contexts import user_context

READY, NO_CLUSTER = Ready(1000.5, 60.0), Refused("kubeconfig /none: cannot be used")


class Life:
    def __init__(self, tmp_path, monkeypatch, process, **given):
        self.load, self.process, self.reported, self.steps = FakeLoad(), process, [], []
        self.user_context = None
        topology = tmp_path / "topology.yaml"
        topology.write_text(
            "gateway: {url: http://127.0.0.1:9, model: a}\ntiers: [{name: one, match: {group: a}}]\n"
        )
        self.options = options(
            topology=str(topology), timeline=str(ROOT / "chaos/timelines/three_tier.yaml"),
            results=str(tmp_path / "results"), **given,
        )  # fmt: skip
        self.results = tmp_path / "results"
        monkeypatch.setattr(checks, "must_pass", lambda *argvs: self.steps.append("check"))
        monkeypatch.setattr(warming, "warm", self._warm)
        monkeypatch.setattr(
            counters, "keep", lambda folder, topology, when, clock: self.steps.append(f"counters {when}")
        )
        monkeypatch.setattr(closing, "restore_left_open", partial(closing.restore_left_open, run=self._run))
        self.life = RunLifecycle(self.options, self.load, SCENARIOS, self._report, launch=self._launch)
        self.load.stopping, self.load.stopped = self.life.stopping, self.life.stopped

    def _warm(self, topology, inputs, options, shape, on_failure):
        self.steps.append("warm up")
        records = Memory()
        self.user_context = user_context("http://127.0.0.1:9", recorder=Recorder(records, on_failure))
        return Warmed(self.user_context, records)

    def _launch(self, argv):
        self.steps.append("chaos")
        return self.process.launch(argv)

    def _run(self, argv, **_):
        self.steps.append(argv[3])

    def _report(self, folder):
        self.steps.append("report")
        self.reported.append(folder)
        return Verdict("PASS", EXIT_PASS)

    def open(self):
        self.life.prepare()
        self.life.start()

    def manifest(self):
        return read_manifest((self.results / "latest").resolve())


@pytest.fixture
def life(tmp_path, monkeypatch):
    return lambda process, **given: Life(tmp_path, monkeypatch, process, **given)


def until(what):
    with gevent.Timeout(10):
        while not what():
            gevent.sleep(0.01)


def test_a_run_whose_timeline_ends_is_closed_reported_and_quit(life, capsys):
    found = life(Process(READY))
    found.open()
    assert found.steps == ["check", "warm up", "counters before", "chaos"]
    assert found.load.calls == ["choose users", "host http://127.0.0.1:9", "set user context"]
    assert found.user_context.overhead_until is not None
    assert found.manifest()["status"] == "running"
    found.process.put(End(None, []))
    found.process.end(EXIT_PASS)
    until(lambda: "quit" in found.load.calls)
    assert found.steps[4:] == ["counters after", "report"]
    assert found.load.calls[3:] == ["stop", "statistics", "quit"]
    manifest = found.manifest()
    assert (manifest["status"], manifest["reason"], manifest["verdict_exit_code"]) == (
        "finished",
        None,
        EXIT_PASS,
    )
    assert found.load.exit_code == EXIT_PASS
    assert "PASS" not in capsys.readouterr().out, "Locust prints its summary first"
    found.life.print_verdict()
    found.life.print_verdict()
    assert capsys.readouterr().out == "PASS\n"


def test_a_run_that_is_stopped_restores_first_and_is_aborted(life):
    found = life(Process(READY, code=EXIT_UNKNOWN))
    found.open()
    found.life.quitting()
    assert found.process.let_go_of
    assert found.manifest()["reason"] == "signal: stopped before the end of the timeline"
    assert len(found.reported) == 1
    assert "quit" not in found.load.calls, "Locust quits already"


@pytest.mark.parametrize(
    ("code", "reason", "why", "steps"),
    [
        (EXIT_ABORTED, "guard: too slow", "guard: too slow", []),
        (EXIT_NOT_RESTORED, None, "error: a fault could not be restored", []),
        (-9, None, "error: chaos was ended by SIGKILL", ["restore"]),
    ],
)
def test_the_manifest_has_why_chaos_cut_the_run_short(life, code, reason, why, steps):
    found = life(Process(READY))
    found.open()
    found.process.put(End(reason, []))
    found.process.end(code)
    until(lambda: "quit" in found.load.calls)
    assert (found.manifest()["status"], found.manifest()["reason"]) == ("aborted", why)
    assert found.steps[4:] == [*steps, "counters after", "report"]


def test_records_that_cannot_be_written_stop_the_run(life, capsys):
    found = life(Process(READY))
    found.open()
    for _ in range(2):
        found.life._cannot_record("requests.arrow cannot be written: No space left on device")
    until(lambda: "quit" in found.load.calls)
    error = "error: requests.arrow cannot be written: No space left on device"
    assert found.manifest()["reason"] == error
    assert capsys.readouterr().err.count(error) == 1
    assert found.life.notice == error


def test_a_headless_run_that_chaos_refuses_exits_with_64(life, capsys):
    found = life(Process(NO_CLUSTER))
    found.life.prepare()
    found.process.end(EXIT_BAD_INPUT)
    with pytest.raises(SystemExit) as left:
        found.life.start()
    assert left.value.code == EXIT_BAD_INPUT
    assert capsys.readouterr().err.endswith("kubeconfig /none: cannot be used\n")
    assert (found.manifest()["status"], found.manifest()["reason"]) == (
        "aborted",
        "error: chaos did not start",
    )
    assert found.reported == []


def test_a_page_whose_start_chaos_refuses_can_start_again(life):
    found = life(Process(NO_CLUSTER), headless=False)
    found.life.prepare()
    assert found.steps == ["check"], "the page warms up at each start"
    found.process.end(EXIT_BAD_INPUT)
    with pytest.raises(gevent.GreenletExit):
        found.life.start()
    assert found.life.notice == "kubeconfig /none: cannot be used"
    assert found.load.calls[-1] == "withdraw to ready"
    assert (found.life.state(), found.life.is_on()) == ("ready", False)
    found.process = Process(READY)
    found.life.start()
    assert (found.life.state(), found.life.is_on(), found.life.notice) == ("running", True, None)
    assert found.steps.count("check") == 2, "the first start takes what was checked with the options"
    found.life.quitting()


def test_a_start_from_the_page_is_checked_once(life):
    found = life(Process(READY), headless=False)
    found.life.prepare()
    assert found.life.check_start(found.options, 9) == 9
    with pytest.raises(Refusal, match="a run is being opened"):
        found.life.is_on()
    found.life.take_start()
    found.life.start()
    assert found.steps == ["check", "check", "warm up", "counters before", "chaos"]
    found.life.quitting()
    assert found.life.state() == "stopped"


def test_a_start_is_refused_while_another_is_checked_opened_open_or_closed(life, monkeypatch, capsys):
    found = life(Process(), headless=False)  # chaos is not ready yet
    found.life.prepare()
    checking, go_on = gevent.event.Event(), gevent.event.Event()
    monkeypatch.setattr(checks, "must_pass", lambda *_: checking.set() or go_on.wait())

    def refused(why):
        with pytest.raises(Refusal, match=why):
            found.life.check_start(found.options, 9)
        found.load.runner, before = "stopped", found.load.runner  # as after a key on Locust's terminal
        with pytest.raises(gevent.GreenletExit):
            found.life.start()
        found.load.runner = before

    check = gevent.spawn(found.life.check_start, found.options, 9)
    checking.wait()
    refused("a run is being opened")
    go_on.set()
    assert check.get() == 9
    found.life.take_start()
    start = gevent.spawn(found.life.start)
    until(lambda: "chaos" in found.steps)
    refused("a run is being opened")
    found.process.put(READY)
    start.get()
    with pytest.raises(Refusal, match="a run is open; stop it before you start another"):
        found.life.check_start(found.options, 9)
    reporting, go_on = gevent.event.Event(), gevent.event.Event()
    monkeypatch.setattr(
        found.life, "_report", lambda _: (reporting.set(), go_on.wait(), Verdict("PASS", EXIT_PASS))[2]
    )
    stop = gevent.spawn(found.life._stop, quit=False)
    reporting.wait()
    refused("the last run is being closed")
    go_on.set()
    stop.get()
    assert found.steps.count("chaos") == 1
    assert len(list(found.results.glob("2*"))) == 1
    assert found.life.check_start(found.options, 9) == 9


def test_a_stop_while_a_start_is_checked_ends_that_start_and_no_later_one(life, monkeypatch):
    found = life(Process(READY), headless=False)
    found.life.prepare()
    found.life.cancel_check()  # there is none
    checking, go_on = gevent.event.Event(), gevent.event.Event()
    monkeypatch.setattr(checks, "must_pass", lambda *_: checking.set() or go_on.wait())
    check = gevent.spawn(found.life.check_start, found.options, 9)
    checking.wait()
    found.life.cancel_check()
    go_on.set()
    with pytest.raises(Refusal, match="the start was stopped before the run was opened"):
        check.get()
    assert (found.life.state(), found.life.is_on()) == ("ready", False)
    assert found.life.check_start(found.options, 9) == 9


def test_a_start_that_fails_its_check_is_dropped(life, monkeypatch):
    found = life(Process(READY), headless=False)
    found.life.prepare()
    monkeypatch.setattr(checks, "must_pass", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        found.life.check_start(found.options, 9)
    assert (found.life.state(), found.life.is_on()) == ("ready", False)


def test_a_page_s_run_prints_its_verdict_when_it_is_closed(life, capsys):
    found = life(Process(READY), headless=False)
    found.open()
    found.life._stop(quit=False)
    assert capsys.readouterr().out.endswith("PASS\n")


def test_our_own_error_while_a_run_is_opened_is_not_passed(life, monkeypatch):
    found = life(Process(READY))
    found.life.prepare()
    monkeypatch.setattr(counters, "keep", lambda *_: 1 / 0)
    with pytest.raises(gevent.GreenletExit):
        found.life.start()
    until(lambda: "quit" in found.load.calls)
    assert found.load.exit_code == EXIT_INTERNAL_ERROR


def test_a_headless_run_that_is_stopped_before_it_is_open_has_no_evidence(life):
    found = life(Process(READY))
    found.life.prepare()
    found.life.quitting()
    assert found.load.exit_code == EXIT_UNKNOWN


@pytest.mark.parametrize(
    ("chaos", "report", "code"),
    [
        (EXIT_INTERNAL_ERROR, EXIT_UNKNOWN, EXIT_INTERNAL_ERROR),
        (EXIT_INTERNAL_ERROR, EXIT_NOT_RESTORED, EXIT_NOT_RESTORED),
        (EXIT_NOT_RESTORED, EXIT_INTERNAL_ERROR, EXIT_NOT_RESTORED),
        (EXIT_PASS, EXIT_INTERNAL_ERROR, EXIT_INTERNAL_ERROR),
        (-9, EXIT_UNKNOWN, EXIT_UNKNOWN),
    ],
)
def test_the_exit_code_of_a_run_whose_children_met_an_error_of_their_own(
    life, monkeypatch, chaos, report, code
):
    found = life(Process(READY))
    monkeypatch.setattr(found.life, "_report", lambda _: Verdict("words", report))
    found.open()
    found.process.put(End(None, []))
    found.process.end(chaos)
    until(lambda: "quit" in found.load.calls)
    assert found.load.exit_code == code
    assert found.manifest().get("verdict_exit_code") == (None if report == EXIT_INTERNAL_ERROR else report)
    if chaos == EXIT_INTERNAL_ERROR:
        assert found.manifest()["reason"] == "error: chaos ended by an error of its own (exit code 70)"
    assert ("restore" in found.steps) == (chaos in (EXIT_INTERNAL_ERROR, -9))


def test_our_own_error_while_a_run_is_closed_has_its_own_exit_code(life, monkeypatch):
    found = life(Process(READY))
    monkeypatch.setattr(closing, "close_folder", lambda *_: 1 / 0)
    found.open()
    found.process.put(End(None, []))
    found.process.end(EXIT_PASS)
    until(lambda: "quit" in found.load.calls)
    assert found.load.exit_code == EXIT_INTERNAL_ERROR


def test_a_headless_run_whose_chaos_met_an_error_of_its_own_at_its_start_exits_with_70(life, capsys):
    found = life(Process())
    found.life.prepare()
    found.process.end(EXIT_INTERNAL_ERROR)
    with pytest.raises(SystemExit) as left:
        found.life.start()
    assert left.value.code == EXIT_INTERNAL_ERROR
    assert "chaos ended by an error of its own (exit code 70) before it started" in capsys.readouterr().err


def test_the_counts_for_the_guards_are_sent_with_each_status(life):
    found = life(Process(READY))
    found.open()
    found.process.put(Status(1001.0, 1.0, 60.0, 1, {}, None))
    until(lambda: found.process.received)
    assert found.process.received == [Counts(0, 0, 0)]
    found.life.quitting()


def test_an_invalid_message_of_chaos_stops_the_run(life):
    found = life(Process(READY, code=EXIT_UNKNOWN))
    found.open()
    found.process.put({"no": "kind"})
    until(lambda: "quit" in found.load.calls)
    assert found.process.let_go_of
    assert found.manifest()["reason"] == "error: from chaos: no message"
