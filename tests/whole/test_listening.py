"""No process of a run listens on another address than loopback, unless the operator names one."""

import random
import urllib.request
from contextlib import contextmanager

import psutil
import pytest

from embedded.ports import free_port
from tests.chaos.stand import until
from tests.scenarios.server import Server
from tests.whole.small_run import GOOD, SmallRun
from tests.whole.stack import SHORT, latest, locust
from tests.whole.test_ui import UNREPORTED
from tests.whole.ui import Ui


def listening(*pids):
    """(address, port) of every socket on which these processes and their descendants accept something."""
    found = set()
    for pid in pids:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            try:
                of = process.net_connections("inet")
            except psutil.Error:  # it has ended meanwhile
                continue
            found |= {
                tuple(c.laddr)
                for c in of
                if c.status == psutil.CONN_LISTEN or (c.status == "NONE" and not c.raddr)
            }
    return found


@contextmanager
def pages_master(topology, folder, *more):
    """A master with the web UI and a forked worker; its pid, both ports, and its output so far."""
    web, master = (free_port(random.Random()) for _ in range(2))
    (folder / "t.yaml").write_text(SHORT)
    process = locust(
        topology, folder / "t.yaml", folder / "results", *UNREPORTED, "--processes", "1", "--web-port", str(web),
        "--master-bind-port", str(master), "--master-port", str(master), *more, headless=False,
    )  # fmt: skip

    def answers():
        assert process.poll() is None, process.stdout.read()
        try:
            return (
                urllib.request.urlopen(f"http://127.0.0.1:{web}/worker-count", timeout=10).read()
                != b'{"worker_count":0}\n'
            )
        except OSError:
            return False

    until(answers, "the worker is connected", 60)
    try:
        yield process, web, master
    finally:
        process.terminate()
        process.wait(60)


def test_a_master_and_its_web_ui_listen_on_loopback(topology, tmp_path):
    with pages_master(topology(1), tmp_path) as (process, web, master):
        assert listening(process.pid) == {("127.0.0.1", web), ("127.0.0.1", master)}
    assert "WARNING" not in process.stdout.read()


def test_they_listen_elsewhere_where_the_operator_says_so_and_a_warning_says_what_that_means(
    topology, tmp_path
):
    more = ("--web-host", "*", "--master-bind-host", "0.0.0.0")
    with pages_master(topology(1), tmp_path, *more) as (process, web, master):
        assert {port for _, port in listening(process.pid)} == {web, master}
        assert "127.0.0.1" not in {address for address, _ in listening(process.pid)}
    out = process.stdout.read()
    assert "The master listens on 0.0.0.0. Locust's protocol has neither encryption nor authentication" in out
    assert "The web UI listens on all addresses. It has no login" in out


def test_a_run_of_a_master_and_workers_listens_on_loopback_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Server([0.05, GOOD]) as gateway:
        run = SmallRun(tmp_path, gateway)
        try:
            master = run.start(
                "--headless", "--only-summary", "--topology", str(run.topology), "--timeline", str(run.timeline),
                "--results", str(run.results), "--processes", "2", "--master-bind-port", run.port, "--master-port", run.port,
            )  # fmt: skip
            until(lambda: len(gateway.requests) > 20, "the users send requests", 60)
            assert listening(master.pid) == {("127.0.0.1", int(run.port))}
        finally:
            run.end()


@pytest.mark.verify
@pytest.mark.timeout(300)
def test_the_whole_stack_and_a_run_on_it_listen_on_loopback_alone(stack, tmp_path):
    (tmp_path / "short.yaml").write_text(SHORT)
    with Ui(stack.path, tmp_path / "short.yaml", tmp_path / "results", *UNREPORTED) as ui:
        ui.start()
        ui.states_until("running", users=1)
        assert latest(ui.results).exists()
        found = listening(stack._process.pid, ui._process.pid)
        ui.post("/stop")
    assert {address for address, _ in found} == {"127.0.0.1"}
    assert len(found) >= 6, "API server, gateway, three engines, web UI"
