"""Who plays, and when the curtain rises: registers the scenarios, opens a run, starts chaos, closes both.

Everything but the users runs as a process of its own, started here and held by a leash: when this process is gone,
however it went, chaos mends and leaves, and an embedded stack goes down after it.
"""

import argparse
import ctypes
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import gevent.event
from locust import User, events, runners
from locust.argument_parser import LocustArgumentParser, default_args_dict
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from contract import duration, proxies, textfile, timeline, topology
from contract.clock import Clock, share
from contract.command_line import refuse_with_64
from contract.counters import AFTER, BEFORE
from contract.document import Document
from contract.document import read as documents
from contract.leash import Leashed
from contract.redact import redact
from contract.refusal import EXIT_BAD_INPUT, EXIT_NOT_RESTORED, EXIT_UNKNOWN, Refusal, no_such
from contract.run import ABORTED, FINISHED, Run, open_run
from scenarios.chat import ChatUser
from scenarios.classify import ClassifyUser
from scenarios.direct import DirectUser
from scenarios.gateway import counters
from scenarios.gateway.arrivals import Arrivals, open_or_closed, parse
from scenarios.gateway.gathering import Gathering
from scenarios.gateway.level import Level, Search
from scenarios.gateway.live import Restoring, live_line, move_line
from scenarios.gateway.open_loop import Idle, open_loop
from scenarios.gateway.player import STACK_KEY, Player
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.recording import Memory, Recording, copy_evidence
from scenarios.gateway.stage import MAX_IN_FLIGHT, Stage, endpoints
from scenarios.gateway.user import GatewayUser
from scenarios.gateway.web_ui import Page
from scenarios.gateway.workers import Workers
from scenarios.overhead import OverheadUser
from scenarios.warmup import ended_early, preflight, unhealthy, warm_up

ARGUMENTS = (
    "topology",
    "timeline",
    "duration",
    "scenarios",
    "arrivals",
    "max_in_flight",
    "num_users",
    "spawn_rate",
    "run_time",
    "headless",
    "stop_timeout",
    "documents",
    "instances",
    "without_reaper",
    "restore_within",
)
SCENARIOS = (ChatUser, DirectUser, OverheadUser)
ON_REQUEST = (ClassifyUser,)  # played only where the timeline or --scenarios names them
KNOWN = {user.scenario: user for user in (*SCENARIOS, *ON_REQUEST)}
DOCUMENTS = Path(__file__).parent / "scenarios" / "documents"

PYTHON = sys.executable
QUIET_BEFORE_MOVE_S = 5.0  # from then on the probe asks more often, which would weigh on the pairs
LIVE_TERMINAL_S, LIVE_PLAIN_S = 1.0, 5.0
SHAPE_EVERY_S = 1.0
WORKERS_BACK_S = 10.0
PR_SET_PDEATHSIG = 1
# Once its users have gone a worker waits for as long as they were given, and so much more, before it can play again. All
# that it has is with the master by then: it waits no time at all, and the next start finds it.
WAIT_AFTER_STOP, MAX_STOP_TIMEOUT_S = "LOCUST_WORKER_ADDITIONAL_WAIT_BEFORE_READY_AFTER_STOP", 86400

# Locust's master and workers look at the wall clock to see whether they still hear each other: stepped by an hour, every
# worker would leave.
runners.time = SimpleNamespace(time=Clock().now)


@events.init_command_line_parser.add_listener
def _arguments(parser: LocustArgumentParser) -> None:
    refuse_with_64(parser)
    add = parser.add_argument
    add(
        "--topology",
        default="topologies/embedded.yaml",
        help="the stack under test",
        include_in_web_ui=False,  # chosen by who started Locust: the stack is up already
    )
    add(
        "--timeline",
        default="chaos/timelines/three_tier.yaml",
        help="path: which faults are injected when, and what is expected",
    )
    add(
        "--duration",
        default="",
        help="repeat the timeline as often as fits, for example 24h; at least once; empty: its trials",
    )
    add(
        "--restore-within",
        default="",
        help="how long a restore may take until a real answer verifies it, for example 20m; empty: the timeline's restore_within",
    )
    add("--results", default="results", help="where the run's folder is made", include_in_web_ui=False)
    add(
        "--scenarios",
        default="",
        help="only these, for example chat,direct; empty: the timeline's, or all but classify",
    )
    add(
        "--documents",
        default=str(DOCUMENTS),
        help="the folder of documents that classify asks about, each with its right answer",
        include_in_web_ui=False,
    )
    add(
        "--instances",
        type=int,
        default=ClassifyUser.fixed_count,
        help="of classify: each has one document under way",
        include_in_web_ui=False,
    )
    add(
        "--without-reaper",
        action="store_true",
        help="inject although nothing in the cluster would mend if every process here were killed",
        include_in_web_ui=False,
    )
    add(
        "--arrivals",
        default="",
        help="an open loop: constant:8/s, poisson:90/m or replay:trace.csv (replay:trace.csv@ms where the unit of its times is "
        "not known by itself); empty: a closed loop",
    )
    add(
        "--max-in-flight",
        type=int,
        default=MAX_IN_FLIGHT,
        help="of an open loop: arrivals beyond so many unanswered asks are refused, and counted",
        include_in_web_ui=False,
    )
    add(
        "--seed",
        type=int,
        default=1,
        help="of prompts, think times, arrivals, pairs, and random pauses before rounds",
    )
    add("--leash", action="store_true", help="stop when the parent process ends", include_in_web_ui=False)


@events.init.add_listener
def _init(environment: Environment, **_: Any) -> None:
    options = environment.parsed_options
    if options is None:  # locust as a library, in a test
        return
    worker = isinstance(environment.runner, WorkerRunner)
    if options.leash or (worker and options.processes):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if worker:
        os.environ[WAIT_AFTER_STOP] = str(-MAX_STOP_TIMEOUT_S)
        Player(environment, KNOWN, lambda: _corpus(options))
        return
    conductor = Conductor(environment)
    try:
        conductor.prepare()
    except Refusal as e:
        conductor.refuse(e)
    if environment.web_ui is not None:
        Page(environment, conductor)
    environment.events.test_start.add_listener(conductor.raise_curtain)
    environment.events.test_stopping.add_listener(conductor.let_go)
    environment.events.test_stop.add_listener(conductor.lower_curtain)
    environment.events.quitting.add_listener(conductor.quit)
    environment.events.quit.add_listener(conductor.last_word)


def _draw_key() -> None:
    """With --processes Locust forks after this file was read and before it may do anything: a key that master and
    workers both know must be in the environment by then."""
    os.environ.setdefault(STACK_KEY, _new_key())


os.register_at_fork(before=_draw_key)


def _new_key() -> str:
    return "sk-" + secrets.token_hex(16)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a run is to be, read at each start. `opened`: the users of the open loop."""

    timeline_path: Path
    timeline: timeline.Timeline
    user_classes: Sequence[type[User]]
    opened: Sequence[type[GatewayUser]]
    arrivals: Arrivals | None
    corpus: Sequence[Document]


class Conductor:
    """A stack and its runs, one at a time: of the one Locust process that there is, or of the master."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._options = environment.parsed_options
        # Before anything that takes time: workers are there already.
        self._workers = (
            Workers(environment, self._cannot_record)
            if isinstance(environment.runner, MasterRunner)
            else None
        )
        self._rising: gevent.Greenlet | None = None
        self._closing: gevent.Greenlet | None = None
        self._letting_go = False
        self._clock = Clock()
        self._stack: Leashed | None = None
        self._topology_path = Path(self._options.topology)
        self._checked: Inputs | None = None  # read and checked, for the run that is started next
        self._starting = False  # a start is being checked, or was checked and Locust has not begun it
        self.notice: str | None = None
        self._run: Run | None = None
        self._broken: str | None = None
        self._stopped_early = False
        self._verdict = ""

    def prepare(self) -> None:
        """Read all inputs, and start the embedded stack where the topology asks for one. Raises Refusal."""
        options = self._options
        _refuse_what_does_nothing(options)
        self._topology = topology.read(self._topology_path)
        proxies.refuse(self._topology, os.environ)
        self._take_shape()
        inputs = self._read(options)
        _must_be_writable(Path(options.results))
        if self._topology.embedded is not None:
            self._start_stack()
        # The stack boots meanwhile: it is ours, and nothing of the operator's is touched by it.
        self._check(inputs)
        self._take(inputs)
        if self._stack is not None:
            self._await_stack(self._stack)
        self._environment.host = self._topology.gateway.url  # what Locust's page shows as the host
        if options.headless:
            self._warm_up()
            self._say_who_is_missing()

    def refuse(self, why: Refusal) -> None:
        """There will be no run: send the workers home, take the stack down, leave."""
        if self._workers is not None:
            self._workers.dismiss()
        self.take_down()
        print(why, file=sys.stderr, flush=True)
        raise SystemExit(EXIT_BAD_INPUT)

    def _say_who_is_missing(self) -> None:
        """Locust waits for them, and says so only to who asked it to be talkative."""
        if self._workers is not None:
            missing = self._options.expect_workers - len(self._environment.runner.clients.ready)
            if missing > 0:
                print(f"waiting for {missing} more workers of {self._options.expect_workers}", flush=True)

    def _take_shape(self) -> None:
        shape, self._environment.shape_class = self._environment.shape_class, None
        assert shape is None or isinstance(shape, Level), "shapes of a run are in scenarios/shapes/"
        self._shape: Level | None = shape
        if shape is not None:
            shape.read(self._options)
            self._options.num_users = self._first_users(self._options.num_users or 1)
        self._search = shape if isinstance(shape, Search) else None
        if self._search is not None:
            if self._workers is not None or not self._options.headless:
                raise Refusal(f"shape {type(shape).__name__}: needs one Locust process, --headless")
            if self._options.arrivals:
                raise Refusal(f"--arrivals: shape {type(shape).__name__} makes its own; leave them out")
            self._options.arrivals = self._search.arrivals
            self._options.scenarios = self._options.scenarios or self._search.scenarios

    def _first_users(self, users: int) -> int:
        """How many of them Locust begins with."""
        if self._shape is None:
            return users
        self._shape.users = users
        self._shape.reset_time()
        return self._shape.tick()[0]

    def _read(self, options: argparse.Namespace) -> Inputs:
        """All that a run is made of but the stack. Raises Refusal."""
        path = Path(options.timeline)
        lines = timeline.read(path)
        if self._shape is not None:
            self._shape.read(options)
        wanted = [name.strip() for name in options.scenarios.split(",") if name.strip()]
        where = "--scenarios"
        if not wanted and lines.scenarios is not None:
            wanted, where = lines.scenarios, f"{path}: scenarios"
        for name in wanted:
            if name not in KNOWN:
                raise Refusal(f"{where}: {no_such('scenario', name, KNOWN)}")
        chosen = [KNOWN[name] for name in wanted] if wanted else list(SCENARIOS)
        corpus = _corpus(options) if ClassifyUser in chosen else []
        arrivals = None
        if options.arrivals:
            arrivals = parse(options.arrivals, any_length=bool(options.duration))
            _report_trace(options.arrivals, arrivals, lines)
        if options.max_in_flight < 1:
            raise Refusal(f"--max-in-flight: {options.max_in_flight} lets no ask be made; give 1 or more")
        opened: list[Any] = []
        if arrivals is not None:
            opened, stay = open_or_closed(chosen)
            chosen = [open_loop(opened), *stay] if self._workers is None else stay or [Idle]
        try:
            if options.duration:
                duration.parse(options.duration)
        except ValueError as e:
            raise Refusal(f"--duration: {e}") from None
        try:
            if options.restore_within:
                duration.positive(options.restore_within, "lets no restore end; write it like 15m")
        except ValueError as e:
            raise Refusal(f"--restore-within: {e}") from None
        return Inputs(
            timeline_path=path, timeline=lines, user_classes=chosen, opened=opened, arrivals=arrivals, corpus=corpus
        )  # fmt: skip

    def _check(self, inputs: Inputs) -> None:
        """What chaos and the analysis would refuse is refused now. Raises Refusal."""
        given = ["--topology", str(self._topology_path), "--timeline", str(inputs.timeline_path)]
        if self._search is None:
            _must_pass(
                [PYTHON, "-m", "chaos", "check", *given],
                [PYTHON, "-m", "analysis", "check", str(inputs.timeline_path), *given[:2]],
            )

    def _take(self, inputs: Inputs) -> None:
        self._inputs = self._checked = inputs
        self._environment.user_classes = inputs.user_classes

    # --- what the web UI asks for

    def state(self) -> str:
        """The runner's, but for a run that is being opened or closed: see `scenarios.gateway.web_ui`."""
        state = self._environment.runner.state
        if self._starting or _at_it(self._rising):
            return runners.STATE_SPAWNING
        on = self._run is not None or _at_it(self._closing)
        if (on and state != runners.STATE_SPAWNING) or state in (
            runners.STATE_CLEANUP,
            runners.STATE_STOPPING,
        ):
            return runners.STATE_RUNNING
        return state

    def users(self) -> int:
        return self._shape.users if self._shape is not None else self._options.num_users or 1

    def is_on(self) -> bool:
        if self._starting or _at_it(self._rising):
            raise Refusal("a run is being opened already; wait until it is running")
        running = self._environment.runner.state in (runners.STATE_SPAWNING, runners.STATE_RUNNING)
        if running and self._run is not None and not self._letting_go:
            return True
        if self.state() == runners.STATE_RUNNING:
            raise Refusal(
                "the last run is being closed: faults are restored, the report is made; start again when it has stopped"
            )
        return False

    def check_start(self, options: argparse.Namespace, users: int) -> int:
        self._starting = True
        inputs = self._read(options)
        _must_be_writable(Path(options.results))
        self._check(inputs)
        if self._workers is not None:
            self._await_workers()
        self._checked = inputs
        return self._first_users(users)

    def _await_workers(self) -> None:
        """A worker that was stopped leaves, and comes back. Raises Refusal: without one Locust would do nothing."""
        runner = self._environment.runner
        with gevent.Timeout(WORKERS_BACK_S, False):
            while runner.worker_count < self._options.expect_workers:
                gevent.sleep(0.05)
        if not runner.worker_count:
            raise Refusal("no worker is here; start one, and start the run again")

    def check_edit(self) -> None:
        if self._shape is not None:
            raise Refusal(f"users: shape {type(self._shape).__name__} sets the number of users during a run")

    def take_start(self) -> None:
        assert self._checked is not None, "a start is taken after its check"
        self._take(self._checked)

    def drop_start(self) -> None:
        self._starting, self._checked = False, None

    def _for_open_loops(self) -> dict[str, Any]:
        """What every worker needs to make its share of the arrivals."""
        own = {k: v for k, v in vars(self._options).items() if k not in default_args_dict()}
        return {
            "scenarios": [user.scenario for user in self._inputs.opened],
            "shape": None if self._shape is None else type(self._shape).__name__,
            "options": own,
        }

    def raise_curtain(self, **_: Any) -> None:
        """A test starts: open a run, start chaos; the users come when it is ready."""
        runner = self._environment.runner
        before = runner.state
        # Not in Locust's own greenlet, which it kills where it is stopped meanwhile: half a curtain cannot be lowered.
        self._rising = gevent.spawn(self._rise)
        # A runner that is "ready" or "stopped" ignores a stop; and the page would stop polling.
        runner.update_state(runners.STATE_SPAWNING)
        self._starting = False
        refusal = self._rising.get()
        if refusal is None:
            return
        if self._options.headless:
            self.refuse(refusal)
        if self._workers is not None:
            self._workers.forget()
        print(refusal, file=sys.stderr, flush=True)
        runner._users_dispatcher = None  # a master has one already, of the users of this start
        runner.update_state(before)
        if self._options.autostart:
            self._environment.process_exit_code = EXIT_BAD_INPUT
            gevent.spawn(self._quit_by_itself)
        raise gevent.GreenletExit  # Locust starts no users, and logs no error

    def _rise(self) -> Refusal | None:
        """Why there will be no run; None: it is open."""
        self.notice, self._letting_go = None, False
        try:
            if self._checked is None:  # not started by the form: files may have changed since they were read
                inputs = self._read(self._options)
                self._check(inputs)
                self._take(inputs)
            self._checked = None
            if not self._options.headless:
                self._warm_up()
            if self._workers is not None:
                self._workers.call(self._stage, self._clock, self._for_open_loops())
            run = self._open_run()
            counters.keep(run.path, self._topology, BEFORE, self._clock)
            if self._search is None:
                self._start_chaos()
            else:
                self._start_search(self._search, run)
            self._let_users_in()
        except Refusal as e:
            self.notice = str(e)
            return e
        return None

    def let_go(self, **_: Any) -> None:
        """The test is stopping: end of file for chaos, so that it mends now, while the users still finish."""
        if self._rising is not None:
            self._rising.join()
        if self._run is not None:
            self._letting_go = True
            self._stopped_early = self._stopped_early or not self._chaos_over.ready()
            if self._search is None:
                self._chaos.let_go()
            else:
                self._shaping.kill()
                self._chaos_over.set(0)
            if self._workers is not None:
                self._workers.let_go(home=self._options.headless)

    def lower_curtain(self, **_: Any) -> None:
        """The users have gone: wait until chaos has mended, close the run, report on it. A second caller waits too."""
        run, self._run = self._run, None
        if run is not None:
            # Not in the greenlet of whoever stopped: Locust kills its own when its last worker leaves.
            self._closing = gevent.spawn(self._close, run)
        if self._closing is not None:
            self._closing.join()

    def _close(self, run: Run) -> None:
        self._environment.process_exit_code = EXIT_UNKNOWN  # until the report says more
        code = self._chaos_over.get()
        self._live.kill()
        self._shaping.kill()
        if code < 0:  # it was killed: what it left open is mended from its journal
            restore = [PYTHON, "-m", "chaos", "restore", "--topology", str(self._topology_path)]
            restore += (
                ["--restore-within", self._options.restore_within] if self._options.restore_within else []
            )
            subprocess.run(restore, stdin=subprocess.DEVNULL)
        workers = self._workers.rest() if self._workers is not None else []
        self._recording.close()
        reason = self._reason(code)
        tally = self._recording.tally.snapshot()
        ended = ABORTED if reason else FINISHED
        run.close(ended, self._clock.now(), reason, tally.by_outcome, workers, tally.by_version)
        counters.keep(run.path, self._topology, AFTER, self._clock)
        try:
            copy_evidence(self._environment, run.path, self._topology_path.parent / "ledger")
        except OSError as e:
            print(f"\nnot all evidence could be copied into the run: {e}", file=sys.stderr, flush=True)
        report = subprocess.run(
            [PYTHON, "-m", "analysis", "report", str(run.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        run.reported(report.returncode)
        self._verdict, self._environment.process_exit_code = report.stdout, report.returncode
        if self._search is not None:
            found, self._environment.process_exit_code = self._search.conclusion()
            self._verdict = f"{found}\n{run.path}"
        if not self._options.headless:
            self.last_word()

    def _stop(self, quit: bool) -> None:
        """Stop the users and close the run, whoever began to; then let Locust end."""
        self._environment.runner.stop()
        self.lower_curtain()  # somebody else may be at it; who quits now would cut him off
        if quit:
            self._environment.runner.quit()

    def quit(self, **_: Any) -> None:
        """Locust leaves: stop what still plays, so that the exit code is known in time, and take the stack down."""
        self._stop(quit=False)
        if self._workers is not None:
            self._workers.dismiss()
        self.take_down()

    def take_down(self) -> None:
        """End the embedded stack; safe to call twice."""
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.let_go()
            stack.wait()

    def last_word(self, **_: Any) -> None:
        """The verdict, after all that Locust prints at the end."""
        if self._verdict:
            print(self._verdict, flush=True)
            self._verdict = ""

    def _start_stack(self) -> None:
        name = self._topology.gateway.api_key
        if name is not None:
            os.environ.setdefault(name, os.environ.get(STACK_KEY) or _new_key())
        print("starting the embedded stack", flush=True)
        self._stack = Leashed(
            [PYTHON, "-m", "embedded", "stack", "--leash", "--topology", str(self._topology_path)]
        )

    def _await_stack(self, stack: Leashed) -> None:
        ready = stack.first()
        if ready is None:
            raise Refusal("the embedded stack did not start; the line above says why")
        self._topology_path = Path(ready["topology"])
        self._topology = topology.read(self._topology_path)
        gevent.spawn(self._watch_stack, stack)

    def _watch_stack(self, stack: Leashed) -> None:
        stack.wait()
        if self._stack is stack:  # nobody took it down
            self._break_off("error: the embedded stack has ended")

    def _warm_up(self) -> None:
        print("warming up", flush=True)
        self._clock = (
            Clock()
        )  # of this run: of one machine that slept since the last, all else would be too early
        share(self._clock)
        gateway, tiers = endpoints(self._topology)
        self._warm = Memory()
        self._stage = Stage(
            topology=self._topology, recorder=Recorder(self._warm, self._cannot_record), clock=self._clock,
            seed=self._options.seed, prefix=secrets.token_hex(3), gateway=gateway, tiers=tiers,
            arrivals=self._inputs.arrivals, max_in_flight=self._options.max_in_flight, corpus=self._inputs.corpus,
        )  # fmt: skip
        if self._shape is not None:
            self._stage.factor = self._shape.factor
        asks = warm_up(self._stage)
        preflight(asks, self._topology)
        for wrong in (*ended_early(asks, self._topology), *unhealthy(self._topology)):
            print(f"NOT WELL: {wrong}", file=sys.stderr, flush=True)
        if self._search is not None:
            self._search.objective_ms = self._search.objective_ms or self._inputs.timeline.objectives.ttft_ms
            self._search.prepare(self._stage)

    def _open_run(self) -> Run:
        options = self._options
        inputs = {"topology.yaml": topology.dump(self._topology)}
        if self._search is None:
            inputs["timeline.yaml"] = self._inputs.timeline_path.read_text()
        gateway = self._topology_path.parent / "gateway.yaml"
        if gateway.exists():
            inputs["gateway.yaml"] = redact(textfile.read(gateway))
        arguments = {name: getattr(options, name) for name in ARGUMENTS}
        if self._shape is not None:
            arguments |= {"shape": type(self._shape).__name__, "num_users": self._shape.users}
        run = open_run(
            Path(options.results),
            self._inputs.timeline_path.stem if self._search is None else type(self._search).__name__,
            self._clock.now(),
            inputs,
            arguments,
            options.seed,
            self._stage.recorder.tally.snapshot().by_version,
            self._workers.cast if self._workers is not None else (),
        )
        print(f"run {run.path}", flush=True)
        self._broken = None
        self._stopped_early = False
        self._recording = self._record(run.path)
        self._run = run
        self._began_at: float = run.manifest["started_at"]
        return run

    def _record(self, folder: Path) -> Recording | Gathering:
        if self._workers is None:
            return Recording(self._environment, self._stage, folder, self._warm, self._cannot_record)
        self._stage.recorder.flush()
        return Gathering(folder, self._warm, self._workers.warm, self._cannot_record)

    def _start_chaos(self) -> None:
        assert self._run is not None
        argv = [PYTHON, "-m", "chaos", "run", "--leash", "--run", str(self._run.path)]
        argv += ["--topology", str(self._topology_path), "--timeline", str(self._inputs.timeline_path)]
        argv += ["--seed", str(self._options.seed)]
        argv += ["--duration", self._options.duration] if self._options.duration else []
        argv += ["--without-reaper"] if self._options.without_reaper else []
        argv += ["--restore-within", self._options.restore_within] if self._options.restore_within else []
        self._status: dict[str, Any] = {}
        self._restoring = Restoring()
        self._end_reason: str | None = None
        self._chaos = Leashed(argv)
        self._chaos_over: gevent.event.AsyncResult[int] = gevent.event.AsyncResult()
        ready = self._chaos.first()
        if ready is None or ready["kind"] == "refused":
            code = self._chaos.wait()
            self._recording.close()
            self._run.close(ABORTED, self._clock.now(), "error: chaos did not start", {})
            self._run = None
            raise Refusal(
                ready["why"] if ready else f"chaos did not start (exit {code}); the line above says why"
            )
        quiet_s = self._inputs.timeline.baseline - QUIET_BEFORE_MOVE_S
        self._stage.overhead_until = ready["started_at"] + quiet_s
        gevent.spawn(self._follow_chaos)
        self._shaping = gevent.spawn(self._walk_shape)

    def _start_search(self, search: Search, run: Run) -> None:
        self._status, self._end_reason = {}, None
        self._restoring = Restoring()
        self._chaos_over = gevent.event.AsyncResult()
        self._shaping = gevent.spawn(self._follow_search, search, run)

    def _follow_search(self, search: Search, run: Run) -> None:
        try:
            search.walk(self._stage, run.path, self._too_many_clouds)
        except Exception as e:  # ours; a search that broke off must not leave its arrivals behind
            self._break_off(f"error: {type(e).__name__}: {e}")
            raise
        self._chaos_over.set(0)
        gevent.spawn(self._stop, quit=True)  # which ends this greenlet

    def _too_many_clouds(self) -> str | None:
        """The guard of the timeline that stands where no fault is made: its answers cost money all the same."""
        clouds, most = self._clouds(), self._inputs.timeline.max_cloud_answers
        if most is None or clouds <= most:
            return None
        return f"guard: {clouds} answers of a cloud tier, max_cloud_answers is {most}"

    def _let_users_in(self) -> None:
        if isinstance(self._recording, Gathering):
            assert self._workers is not None
            self._workers.play(self._recording)
        else:
            self._environment.brownout = self._stage
        self._live = gevent.spawn(self._show_live)

    def _walk_shape(self) -> None:
        """In an open loop the arrivals ask the shape themselves."""
        shape, runner = self._shape, self._environment.runner
        if shape is None or self._inputs.arrivals is not None:
            return
        while not runner.user_count:  # the first ones are Locust's to start
            gevent.sleep(SHAPE_EVERY_S / 10)
        shape.reset_time()
        while True:
            users, spawn_rate = shape.tick()
            if users != runner.target_user_count:
                runner.start(users, spawn_rate)
            gevent.sleep(SHAPE_EVERY_S)

    def _follow_chaos(self) -> None:
        try:
            for said in self._chaos.lines():
                if said["kind"] == "status":
                    self._status = said
                    self._tell_chaos()
                elif said["kind"] == "end":
                    self._end_reason = said["reason"]
                elif said["kind"] == "event":
                    self._tell_move(said)
        finally:  # whatever went wrong with its lines: who waits for its end must not wait for ever
            self._chaos.let_go()
            self._chaos_over.set(self._chaos.wait())
        self._stop(quit=self._options.headless)
        if self._options.autostart and not self._options.headless:
            self._quit_by_itself()

    def _quit_by_itself(self) -> None:
        """--autoquit, which Locust itself heeds only where --run-time has ended the run."""
        if self._options.autoquit != -1:
            gevent.sleep(self._options.autoquit)
            self._environment.runner.quit()
            self._environment.web_ui.stop()

    def _tell_move(self, said: dict[str, Any]) -> None:
        self._restoring.heard(said)
        line = move_line(said, self._began_at)
        if line is not None:
            print(f"\r\x1b[2K{line}" if sys.stdout.isatty() else line, flush=True)

    def _tell_chaos(self) -> None:
        """The guards are chaos's; the counts that they rest on are ours."""
        tally = self._recording.tally.snapshot()
        clouds = self._clouds()
        good, bad = tally.good_and_bad
        self._chaos.tell(json.dumps({"cloud": clouds, "good": good, "bad": bad}))

    def _clouds(self) -> int:
        tally = self._recording.tally.snapshot()
        return sum(tally.by_tier.get(t.name, 0) for t in self._topology.tiers if t.cloud)

    def _show_live(self) -> None:
        terminal = sys.stdout.isatty()
        before, at = self._recording.tally.snapshot(), self._clock.now()
        while True:
            gevent.sleep(LIVE_TERMINAL_S if terminal else LIVE_PLAIN_S)
            width = shutil.get_terminal_size().columns if terminal else None
            tally, now = self._recording.tally.snapshot(), self._clock.now()
            restoring = self._restoring.told(now)
            line = live_line(self._status, tally, before, now - at, width, self._began_at, restoring)
            before, at = tally, now
            print(f"\r\x1b[2K{line}" if terminal else line, end="" if terminal else "\n", flush=True)

    def _cannot_record(self, why: str) -> None:
        """Listener exceptions are only logged by Locust: a run that cannot be recorded is stopped here."""
        self._break_off(f"error: {why}")

    def _break_off(self, reason: str) -> None:
        if self._broken is None:
            self._broken = self.notice = reason
            print(f"\n{reason}", file=sys.stderr, flush=True)
            gevent.spawn(self._stop, quit=True)

    def _reason(self, chaos_code: int) -> str | None:
        """Why the run was cut short; None: it was not."""
        if self._broken:
            return self._broken
        if self._stopped_early:
            return "signal: stopped before the end of the timeline"
        if chaos_code < 0:
            return f"error: chaos was ended by {signal.Signals(-chaos_code).name}"
        if chaos_code == EXIT_NOT_RESTORED:
            return self._end_reason or "error: a fault could not be mended"
        return self._end_reason if chaos_code else None


def _report_trace(name: str, arrivals: Arrivals, lines: timeline.Timeline) -> None:
    """Before anything is touched: a unit that was read wrongly shows in the length."""
    if (lasting := arrivals.lasting()) is not None:
        print(f"{name}: {lasting}; a round of the timeline takes {duration.text(lines.round_s)}", flush=True)


def _corpus(options: Any) -> list[Document]:
    """What classifiers are given; and how many there are of them is theirs from here on. Raises Refusal."""
    if options.instances < 1:
        raise Refusal(f"--instances: {options.instances} asks about no document; give 1 or more")
    ClassifyUser.fixed_count = options.instances
    return documents(Path(options.documents))


def _at_it(greenlet: gevent.Greenlet | None) -> bool:
    return greenlet is not None and not greenlet.ready()


def _refuse_what_does_nothing(options: argparse.Namespace) -> None:
    """Locust's own options that have no effect on a run. Raises Refusal."""
    if options.host:
        raise Refusal(f"--host: {options.host!r}: the topology names the gateway; leave it out")
    if options.class_picker:
        raise Refusal(
            "--class-picker: scenarios are chosen with --scenarios, and a shape with -f; leave it out"
        )
    if options.profile:
        raise Refusal(f"--profile: {options.profile!r}: is not used; leave it out")


def _must_pass(*commands: list[str]) -> None:
    """Run them side by side; each refuses in its own words."""
    running = [
        subprocess.Popen(
            c, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for c in commands
    ]
    said = [process.communicate()[1].strip() for process in running]
    wrong = [
        words or f"{' '.join(c)} failed"
        for c, p, words in zip(commands, running, said, strict=True)
        if p.returncode
    ]
    if wrong:
        raise Refusal("\n".join(wrong))


def _must_be_writable(results: Path) -> None:
    try:
        results.mkdir(parents=True, exist_ok=True)
        trial = results / f".write-{os.getpid()}"
        trial.touch()
        trial.unlink()
    except OSError as e:
        raise Refusal(
            f"{results}: cannot be written to: {e.strerror}; make it writable or give --results"
        ) from None
