"""The smaller steps of a run: the stack, the checks, the workers, the folder, the search, the shape, the closing."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import gevent
import pytest

from contract.refusal import EXIT_UNKNOWN, Refusal
from scenarios.gateway import stack_key
from scenarios.gateway.stack_key import STACK_KEY
from scenarios.run import checks, closing, display, opening, users, verdict, workers
from scenarios.run.search import SearchExperiment, take_over, too_many_cloud_answers
from scenarios.run.stack import Stack
from scenarios.run.verdict import Verdict
from tests.chaos.stand import ROOT
from tests.scenarios.run.fakes import Chat, Classify, FakeLoad, Process, options
from tests.scenarios.user_contexts import topology

EMBEDDED, K3S = ROOT / "topologies/embedded.yaml", ROOT / "topologies/k3s.yaml"


def test_an_embedded_stack_is_the_topology_that_it_writes_when_it_is_ready(monkeypatch):
    monkeypatch.setenv(STACK_KEY, "sk-drawn")
    process = Process({"topology": str(K3S)})
    stack = Stack(EMBEDDED, process.launch)
    monkeypatch.delenv(stack.topology.gateway.api_key, raising=False)
    stack.start()
    assert list(process.argv[1:]) == ["-m", "embedded", "stack", "--leash", "--topology", str(EMBEDDED)]
    assert stack.wait_ready()
    assert (stack.path, stack.topology.embedded) == (K3S, None)


@pytest.mark.parametrize(("taken_down", "ended"), [(True, 0), (False, 1)])
def test_the_end_of_a_stack_is_an_error_unless_it_was_taken_down(taken_down, ended, monkeypatch):
    process, found = Process({"topology": str(K3S)}), []
    stack = Stack(EMBEDDED, process.launch)
    monkeypatch.setenv(stack.topology.gateway.api_key, "sk-own")
    stack.start()
    stack.wait_ready()
    watching = gevent.spawn(stack.watch, lambda: found.append(1))
    gevent.sleep(0)
    stack.take_down() if taken_down else process.end(1)
    watching.join(timeout=5)
    assert len(found) == ended
    stack.take_down()


@pytest.mark.parametrize(("code", "exits_with"), [(64, 64), (70, 70), (-9, 70)])
def test_a_stack_that_ends_before_it_is_ready_is_refused(monkeypatch, code, exits_with):
    process = Process()
    stack = Stack(EMBEDDED, process.launch)
    monkeypatch.setenv(stack.topology.gateway.api_key, "sk-own")
    process.end(code)
    stack.start()
    with pytest.raises(Refusal, match="the embedded stack did not start; see the line above") as found:
        stack.wait_ready()
    assert found.value.exit_code == exits_with


def test_no_process_is_started_for_any_other_stack():
    stack = Stack(K3S, Process().launch)
    stack.start()
    assert not stack.wait_ready()
    stack.take_down()


def test_the_key_of_the_stack_is_one_for_master_and_workers_and_never_the_operator_s(monkeypatch):
    stack = topology("http://gateway")
    object.__setattr__(stack.gateway, "api_key", "BROWNOUT_TEST_KEY")
    monkeypatch.delenv("BROWNOUT_TEST_KEY", raising=False)
    monkeypatch.delenv(STACK_KEY, raising=False)
    stack_key.take(stack)
    environ = stack_key.os.environ
    assert "BROWNOUT_TEST_KEY" not in environ, "this process was not forked from the starter of the stack"
    stack_key.draw()
    stack_key.give(stack)
    assert environ["BROWNOUT_TEST_KEY"] == environ[STACK_KEY]
    monkeypatch.setenv("BROWNOUT_TEST_KEY", "sk-own")
    stack_key.take(stack)
    assert environ["BROWNOUT_TEST_KEY"] == "sk-own"


def popen(*results):
    """Processes that end with these codes and words."""
    left = list(results)

    def made(argv, **_):
        code, err = left.pop(0)
        return SimpleNamespace(returncode=code, communicate=lambda: ("", err))

    return made


def test_chaos_checks_the_steps_and_the_analysis_the_expectations():
    of_chaos, of_analysis = checks.commands(Path("t.yaml"), Path("l.yaml"))
    assert of_chaos[1:] == ["-m", "chaos", "check", "--topology", "t.yaml", "--timeline", "l.yaml"]
    assert of_analysis[1:] == ["-m", "analysis", "check", "l.yaml", "--topology", "t.yaml"]


@pytest.mark.parametrize(
    ("results", "words", "exits_with"),
    [
        ([(64, "no fault 'x'\n"), (0, "")], "no fault 'x'", 64),
        ([(64, "no fault 'x'\n"), (64, "no checker 'y'\n")], "no fault 'x'\nno checker 'y'", 64),
        ([(0, ""), (-9, "")], "b failed", 70),
        (
            [(64, "no fault 'x'\n"), (70, "Traceback")],
            "no fault 'x'\nb ended by an error of its own (exit code 70); its traceback is on the terminal",
            70,
        ),
    ],
)
def test_what_the_checks_refuse_is_refused_in_their_words(results, words, exits_with):
    checks.must_pass(["a"], ["b"], popen=popen((0, "a warning"), (0, "")))
    with pytest.raises(Refusal) as found:
        checks.must_pass(["a"], ["b"], popen=popen(*results))
    assert (str(found.value), found.value.exit_code) == (words, exits_with)


def test_results_must_be_writable(tmp_path):
    checks.must_be_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(Refusal, match="/dev/null/x: cannot be written to: Not a directory; make it writable"):
        checks.must_be_writable(Path("/dev/null/x"))


@pytest.mark.parametrize(
    ("expected", "ready", "words"),
    [
        (4, 4, None),
        (4, 5, None),
        (1, 0, "waiting for 1 of 1 workers"),
        (4, 1, "waiting for 3 of 4 workers"),
    ],
)
def test_the_master_prints_how_many_workers_it_waits_for(expected, ready, words):
    assert workers.missing(expected, ready) == words


def test_a_start_waits_for_workers_that_come_back_and_is_refused_without_any():
    counts = iter([0, 1, 2, 2])
    workers.await_return(lambda: next(counts), expected=2, within_s=5)
    workers.await_return(lambda: 1, expected=2, within_s=0.01)
    with pytest.raises(Refusal, match="no worker is connected; start one, then start the run again"):
        workers.await_return(lambda: 0, expected=2, within_s=0.01)


class Spike:
    """A shape whose factor is 2 from the start."""

    def __init__(self):
        self.users, self.ticks = 1, iter([(4, 4.0), (4, 4.0), (8, 8.0)])

    def reset_time(self):
        pass

    def tick(self):
        return self.users * 2, float(self.users)


def test_a_worker_gets_the_data_for_its_share_of_an_open_loop():
    found = workers.for_open_loop(
        SimpleNamespace(opened=[Chat]), Spike(), {"soak_ramp_up": "2m", "headless": True}, {"headless": False}
    )
    assert found == {"scenarios": ["chat"], "shape": "Spike", "options": {"soak_ramp_up": "2m"}}


def test_the_first_users_of_a_run_are_its_shape_s():
    shape = Spike()
    assert (users.first(None, 6), users.first(shape, 6), shape.users) == (6, 12, 6)


def test_a_shape_starts_and_stops_users_only_where_their_number_changes(monkeypatch):
    monkeypatch.setattr(users, "LOOK_EVERY_S", 0.001)
    load, shape = FakeLoad(), Spike()
    load.count, shape.users = 2, 3
    following = gevent.spawn(users.follow, shape, load)
    gevent.sleep(0.02)
    shape.users = 5
    gevent.sleep(0.02)
    following.kill()
    assert load.calls == ["scale to 6", "scale to 10"]


def test_the_manifest_keeps_the_options_of_the_run_and_of_its_scenarios():
    found = opening.recorded(options(num_users=12), None, [Chat])
    assert (found["num_users"], "shape" in found, "results" in found, "instances" in found) == (
        12,
        False,
        False,
        False,
    )
    assert opening.recorded(options(instances=2), None, [Chat, Classify])["instances"] == 2


def test_the_manifest_keeps_the_users_of_a_shape():
    shape = Spike()
    shape.users = 6
    found = opening.recorded(options(num_users=12), shape, [])
    assert (found["num_users"], found["shape"]) == (6, "Spike")


def test_a_run_keeps_its_inputs_and_the_gateway_s_configuration_without_its_keys(tmp_path):
    path = tmp_path / "topology.yaml"
    path.write_text(K3S.read_text())
    stack = Stack(path)
    assert list(opening.copied(stack, None)) == ["topology.yaml"]
    (tmp_path / "gateway.yaml").write_text("master_key: sk-very-secret\n")
    found = opening.copied(stack, K3S)
    assert list(found) == ["topology.yaml", "timeline.yaml", "gateway.yaml"]
    assert "sk-very-secret" not in found["gateway.yaml"]


class Search:
    arrivals, scenarios = "poisson:1/s", "chat"

    def __init__(self, error=None, lasts=False):
        self.error, self.lasts = error, lasts

    def run(self, user_context, folder, guard):
        if self.lasts:
            gevent.sleep(60)
        if self.error:
            raise self.error

    def conclusion(self):
        return "the knee is at 8/s", EXIT_UNKNOWN


@pytest.mark.parametrize(
    ("given", "workers", "words"),
    [
        ({}, True, "shape Search: needs a single Locust process and --headless"),
        ({"headless": False}, False, "shape Search: needs a single Locust process and --headless"),
        ({"arrivals": "constant:8/s"}, False, "--arrivals: shape Search sets its own; remove the option"),
    ],
)
def test_a_search_is_refused_where_it_cannot_be_made(given, workers, words):
    with pytest.raises(Refusal) as found:
        take_over(Search(), options(**given), workers)
    assert str(found.value) == words


@pytest.mark.parametrize(("scenarios", "taken"), [("", "chat"), ("direct", "direct")])
def test_a_search_brings_its_arrivals_and_its_scenarios_where_none_are_named(scenarios, taken):
    given = options(scenarios=scenarios)
    take_over(Search(), given, workers=False)
    assert (given.arrivals, given.scenarios) == ("poisson:1/s", taken)


@pytest.mark.parametrize(
    ("cloud", "most", "why"),
    [
        (9, None, None),
        (9, 9, None),
        (10, 9, "guard: 10 answers of a cloud tier, max_cloud_answers is 9"),
    ],
)
def test_a_search_heeds_the_guard_of_cloud_answers(cloud, most, why):
    assert too_many_cloud_answers(cloud, most) == why


def searching(search):
    calls = []
    found = SearchExperiment(
        search, None, Path("r"), lambda: None, ended=lambda: calls.append("ended"), failed=calls.append
    )
    found.start()
    gevent.sleep(0.01)
    return found, calls


def test_a_search_that_ends_ends_the_run_with_its_own_verdict():
    found, calls = searching(Search())
    assert calls == ["ended"]
    assert found.over.get(timeout=0) == 0
    assert found.conclude(Verdict("PASS", 0), Path("r")) == Verdict("the knee is at 8/s\nr", EXIT_UNKNOWN)


def test_a_search_that_raises_stops_the_run():
    found, calls = searching(Search(ValueError("no rate")))
    assert calls == ["error: ValueError: no rate"]
    assert not found.over.ready()
    found.stop()
    assert found.over.get(timeout=0) == 0


def test_a_search_that_is_stopped_is_over_at_once():
    found, calls = searching(Search(lasts=True))
    assert not found.over.ready()
    found.stop()
    found.stop()
    assert (found.over.get(timeout=0), calls) == (0, [])


@pytest.mark.parametrize(
    ("exit_code", "restores"), [(0, []), (3, []), (4, []), (5, []), (-9, [["restore"]]), (70, [["restore"]])]
)
def test_only_what_a_killed_chaos_left_open_is_restored_here(exit_code, restores):
    ran = []
    closing.restore_left_open(exit_code, ["restore"], run=lambda argv, **_: ran.append(argv))
    assert ran == restores


def test_evidence_that_cannot_be_copied_costs_nothing_else(tmp_path, capsys):
    ledgers = tmp_path / "ledger"
    ledgers.mkdir()
    (ledgers / "vllm.jsonl").touch()
    run = tmp_path / "run"
    run.mkdir()
    closing.copy_evidence(run, ledgers, lambda folder: (folder / "locust_stats.csv").touch())
    assert {p.name for p in run.iterdir()} == {"locust_stats.csv", "ledger"}

    def full(folder):
        raise OSError("No space left on device")

    closing.copy_evidence(run, tmp_path / "none", full)
    assert "not all evidence was copied into the run: No space left" in capsys.readouterr().err


def test_the_analysis_reports_on_the_folder(monkeypatch):
    done = subprocess.CompletedProcess([], 1, stdout="FAIL\n")
    ran = []
    monkeypatch.setattr(verdict.subprocess, "run", lambda argv, **_: ran.append(argv) or done)
    assert verdict.report(Path("r")) == Verdict("FAIL\n", 1)
    assert ran == [[sys.executable, "-m", "analysis", "report", "r"]]


@pytest.mark.parametrize(("terminal", "line"), [(True, "\r\x1b[2Ka line"), (False, "a line")])
def test_an_event_takes_the_place_of_the_live_line(terminal, line):
    assert display.shown("a line", terminal) == line
