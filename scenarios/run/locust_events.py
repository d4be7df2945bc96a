"""Binds the lifecycle of a run to Locust: its events, runner and web UI. The only file in this folder that imports Locust."""

import csv
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from locust import User, events, log, runners
from locust.argument_parser import default_args_dict
from locust.env import Environment
from locust.exception import RPCError
from locust.rpc import zmqrpc
from locust.runners import MasterRunner, WorkerRunner
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV

from contract import printable
from contract.clock import Clock
from contract.refusal import EXIT_BAD_INPUT, EXIT_INTERNAL_ERROR, EXIT_NOT_RESTORED, Refusal
from contract.spreadsheet import Cells
from scenarios.gateway import stack_key
from scenarios.gateway.distributed.worker import LoadWorker
from scenarios.gateway.distributed.workers import Workers
from scenarios.gateway.load_shape import LoadShape, Search
from scenarios.gateway.open_loop import Idle, open_loop
from scenarios.gateway.user_context import UserContext
from scenarios.gateway.web_access import is_loopback
from scenarios.gateway.web_ui import Page
from scenarios.run import checks
from scenarios.run.inputs import Inputs, Scenarios
from scenarios.run.lifecycle import RunLifecycle
from scenarios.run.locust_exits import LocustSys
from scenarios.run.verdict import Report

PR_SET_PDEATHSIG = 1
# After its users have stopped, a worker waits for the stop timeout plus this time before it is ready for another run. The
# master has all its records by then, so the wait is set to a negative value: the worker is ready for the next start.
WAIT_AFTER_STOP, MAX_STOP_TIMEOUT_S = "LOCUST_WORKER_ADDITIONAL_WAIT_BEFORE_READY_AFTER_STOP", 86400

logger = logging.getLogger(__name__)


def before_start() -> None:
    """Called when Locust has loaded the locustfile: before it forks workers and creates a runner."""
    # With --processes Locust forks before the event `init`.
    os.register_at_fork(before=stack_key.draw)
    # Locust uses the wall clock for heartbeats between master and workers: a clock step of an hour would make every worker
    # quit.
    runners.time = SimpleNamespace(time=Clock().now)
    runners.rpc = SimpleNamespace(Server=_MasterSocket, Client=zmqrpc.Client)
    exits = LocustSys(lambda: log.unhandled_greenlet_exception)
    events.quit.add_listener(exits.quitting)
    runners.sys = exits
    if main := sys.modules.get("locust.main"):  # not there with locust as a library, in a test
        setattr(main, "sys", exits)  # noqa: B010  it is not declared for a module


def bind(environment: Environment, scenarios: Scenarios, report: Report) -> None:
    """At the event `init`."""
    options = environment.parsed_options
    if options is None:  # locust as a library, in a test
        return
    worker = isinstance(environment.runner, WorkerRunner)
    if options.leash or (worker and options.processes):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if worker:
        os.environ[WAIT_AFTER_STOP] = str(-MAX_STOP_TIMEOUT_S)
        LoadWorker(environment, scenarios)
        return
    _warn_of_listening(environment)
    shape = _take_shape(environment)
    lifecycle = RunLifecycle(
        options, LocustLoad(environment), scenarios, report, shape, shape if isinstance(shape, Search) else None,
        lambda fail: Workers(environment, fail) if isinstance(environment.runner, MasterRunner) else None,
    )  # fmt: skip
    try:
        if environment.web_ui is not None:
            checks.must_be_free(environment.web_ui.host, environment.web_ui.port, "--web-host, --web-port")
        lifecycle.prepare()
    except Refusal as e:
        lifecycle.refuse(e)
    if environment.web_ui is not None:
        Page(environment, lifecycle)
    fired = environment.events
    fired.test_start.add_listener(lifecycle.start)
    fired.test_stopping.add_listener(lifecycle.stopping)
    fired.test_stop.add_listener(lifecycle.stopped)
    fired.quitting.add_listener(partial(_quit, lifecycle))
    fired.quit.add_listener(lifecycle.print_verdict)


def _quit(lifecycle: RunLifecycle, environment: Environment, **_: Any) -> None:
    """Locust only logs an exception of a listener or of its own greenlets, and the exit code would be the verdict's."""
    try:
        lifecycle.quitting()
    finally:
        if log.unhandled_greenlet_exception and environment.process_exit_code != EXIT_NOT_RESTORED:
            environment.process_exit_code = EXIT_INTERNAL_ERROR


def _warn_of_listening(environment: Environment) -> None:
    options, web_ui = environment.parsed_options, environment.web_ui
    if isinstance(environment.runner, MasterRunner) and not is_loopback(options.master_bind_host):
        logger.warning(
            "The master listens on %s. Locust's protocol has neither encryption nor authentication: every client that reaches "
            "the port can read the topology, send records and end the run.",
            options.master_bind_host,
        )
    if web_ui is not None and not is_loopback(web_ui.host) and not options.web_login:
        logger.warning(
            "The web UI listens on %s. It has no login: every client that reaches the port can start and stop runs.",
            web_ui.host or "all addresses",
        )


def _take_shape(environment: Environment) -> LoadShape | None:
    """Remove the shape from Locust; the run calls it itself: see `LoadShape`."""
    shape, environment.shape_class = environment.shape_class, None
    assert shape is None or isinstance(shape, LoadShape), "shapes of a run are in scenarios/shapes/"
    return shape


class _MasterSocket(zmqrpc.Server):
    """Locust would end with a traceback where the address is in use or is none of this machine."""

    def __init__(self, host: str, port: int) -> None:
        try:
            super().__init__(host, port)
        except (RPCError, zmqrpc.zmqerr.ZMQError) as e:
            words = f"--master-bind-host, --master-bind-port: cannot listen on {host}:{port}: {e}"
            print(printable.line(words), file=sys.stderr)
            sys.exit(EXIT_BAD_INPUT)
        runners.rpc = zmqrpc  # a connection that is made again during a run is Locust's matter


class LocustLoad:
    """Locust as the `Load` of a run."""

    def __init__(self, environment: Environment) -> None:
        self._environment, self._runner = environment, environment.runner

    def state(self) -> str:
        return str(self._runner.state)

    def users(self) -> int:
        return int(self._runner.user_count)

    def target_users(self) -> int:
        return int(self._runner.target_user_count)

    def workers(self) -> int:
        return int(self._runner.worker_count)

    def ready_workers(self) -> int:
        return len(self._runner.clients.ready)

    def choose_users(self, inputs: Inputs) -> None:
        self._environment.user_classes = user_classes(inputs, isinstance(self._runner, MasterRunner))

    def set_user_context(self, user_context: UserContext) -> None:
        self._environment.brownout = user_context

    def scale(self, users: int, spawn_rate: float) -> None:
        self._runner.start(users, spawn_rate)

    def show_host(self, url: str | None) -> None:
        self._environment.host = url

    def show_opening(self) -> None:
        # In the states "ready" and "stopped" a runner ignores a stop, and the page does not poll.
        self._runner.update_state(runners.STATE_SPAWNING)

    def withdraw_start(self, state: str) -> None:
        self._runner._users_dispatcher = None  # a master has one already, for the users of this start
        self._runner.update_state(state)

    def stop(self) -> None:
        self._runner.stop()

    def quit(self) -> None:
        self._runner.quit()

    def quit_page(self) -> None:
        self._runner.quit()
        self._environment.web_ui.stop()

    def exit_with(self, code: int) -> None:
        self._environment.process_exit_code = code

    def own_options(self) -> Mapping[str, Any]:
        return dict(default_args_dict())

    def write_statistics(self, folder: Path) -> None:
        stats = StatsCSV(self._environment, PERCENTILES_TO_REPORT)
        for name, write in (
            ("stats", stats.requests_csv), ("failures", stats.failures_csv), ("exceptions", stats.exceptions_csv),
        ):  # fmt: skip
            with open(folder / f"locust_{name}.csv", "w", newline="") as f:
                write(Cells(csv.writer(f)))


def user_classes(inputs: Inputs, master: bool) -> list[type[User]]:
    """The user classes that Locust spawns. Each worker has its own open loop, which the master's Locust does not know."""
    if inputs.arrivals is None:
        return list(inputs.closed)
    if master:
        return list(inputs.closed) or [Idle]
    return [open_loop(inputs.opened), *inputs.closed]
