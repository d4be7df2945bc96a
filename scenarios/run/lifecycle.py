"""The steps of a run in their order, one run at a time, as events of the load generator call for them."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import gevent

from contract import proxies
from contract.counters import BEFORE
from contract.leash import Leashed
from contract.refusal import EXIT_BAD_INPUT, EXIT_UNKNOWN, Refusal
from contract.run import ABORTED, Run
from scenarios.gateway import counters
from scenarios.gateway.gathering import Gathering
from scenarios.gateway.recording import Recording
from scenarios.run import (
    checks,
    closing,
    display,
    faults,
    inputs,
    opening,
    page_state,
    search,
    users,
    warming,
    workers,
)
from scenarios.run.context import RunContext
from scenarios.run.ending import why_cut_short
from scenarios.run.experiment import Experiment
from scenarios.run.inputs import Inputs, Scenarios
from scenarios.run.load import Load
from scenarios.run.stack import Stack
from scenarios.run.verdict import Report, Verdict
from scenarios.run.warming import Warmed

if TYPE_CHECKING:
    from scenarios.gateway.level import Level, Search
    from scenarios.gateway.workers import Workers

Fail = Callable[[str], None]
Launch = Callable[[Sequence[str]], Leashed]


class RunLifecycle:
    """A stack and its runs: of the only Locust process, or of the master.

    `notice`: what the web UI shows; why there is no run, or why an edit was refused.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        load: Load,
        scenarios: Scenarios,
        report: Report,
        shape: "Level | None" = None,
        search: "Search | None" = None,
        workers: Callable[[Fail], "Workers | None"] = lambda fail: None,
        launch: Launch = Leashed,
    ) -> None:
        """`search`: the shape, where it is one. `workers`: makes a master's, given what to call when one fails.

        `launch`: starts the processes that live as long as the stack or a run.
        """
        self._options, self._load, self._scenarios, self._report = options, load, scenarios, report
        self._shape, self._search, self._launch = shape, search, launch
        # Before anything that takes time: workers may be there already.
        self._workers = workers(self._cannot_record)
        self._stack: Stack | None = None
        self._inputs: Inputs | None = None  # of the run that is started next, or is on
        self._checked: Inputs | None = None  # checked for the next start; None: a start reads and checks anew
        self._warmed: Warmed | None = None
        self._starting = False
        self._opening: gevent.Greenlet | None = None
        self._context: RunContext | None = None
        self._closing: gevent.Greenlet | None = None
        self._broken: str | None = None  # why the load generator cannot go on
        self._verdict: str | None = None  # not printed yet
        self.notice: str | None = None

    # --- before the first run

    def prepare(self) -> None:
        """Read and check all inputs, start an embedded stack. Raises Refusal."""
        options = self._options
        inputs.refuse_ineffective(options)
        self._stack = stack = Stack(Path(options.topology), self._launch)
        proxies.refuse(stack.topology, os.environ)
        self._apply_shape()
        found = self._read(options)
        checks.must_be_writable(Path(options.results))
        stack.start()
        # An embedded stack boots meanwhile. It is the run's own: nothing of the operator's is touched by it.
        self._check(found, stack)
        self._take(found)
        if stack.wait_ready():
            gevent.spawn(stack.watch, partial(self._break_off, "error: the embedded stack has ended"))
        self._load.show_host(stack.topology.gateway.url)
        if options.headless:
            self._warmed = self._warm_up(stack, found)
            self._print_missing_workers()

    def refuse(self, why: Refusal) -> NoReturn:
        """There will be no run: send the workers home, take the stack down, exit."""
        if self._workers is not None:
            self._workers.dismiss()
        self.take_down()
        print(why, file=sys.stderr, flush=True)
        raise SystemExit(EXIT_BAD_INPUT)

    def _apply_shape(self) -> None:
        options = self._options
        if self._shape is not None:
            self._shape.read(options)
            options.num_users = users.first(self._shape, options.num_users or 1)
        if self._search is not None:
            search.take_over(self._search, options, self._workers is not None)

    def _read(self, options: argparse.Namespace) -> Inputs:
        return inputs.read(options, self._scenarios, self._shape)

    def _check(self, found: Inputs, stack: Stack) -> None:
        if self._search is None:
            checks.must_pass(*checks.commands(stack.path, found.timeline_path))

    def _take(self, found: Inputs) -> None:
        self._inputs = self._checked = found
        self._load.choose_users(found)

    def _warm_up(self, stack: Stack, found: Inputs) -> Warmed:
        warmed = warming.warm(stack.topology, found, self._options, self._shape, self._cannot_record)
        if self._search is not None:
            self._search.objective_ms = self._search.objective_ms or found.timeline.objectives.ttft_ms
            self._search.prepare(warmed.stage)
        return warmed

    def _print_missing_workers(self) -> None:
        if self._workers is not None:
            waiting = workers.missing(self._options.expect_workers, self._load.ready_workers())
            if waiting is not None:
                print(waiting, flush=True)

    # --- the web UI: `scenarios.gateway.web_ui.Runs`

    def state(self) -> str:
        return page_state.shown(self._moment())

    def is_on(self) -> bool:
        return page_state.takes_edits(self._moment())

    def _moment(self) -> page_state.Moment:
        context = self._context
        return page_state.Moment(
            runner=self._load.state(), starting=self._starting, opening=_is_running(self._opening), on=context is not None,
            stopping=context is not None and context.stopping, closing=_is_running(self._closing),
        )  # fmt: skip

    def users(self) -> int:
        return self._shape.users if self._shape is not None else self._options.num_users or 1

    def check_start(self, options: argparse.Namespace, count: int) -> int:
        self._starting = True
        found = self._read(options)
        checks.must_be_writable(Path(options.results))
        self._check(found, self._prepared())
        if self._workers is not None:
            workers.await_return(self._load.workers, self._options.expect_workers)
        self._checked = found
        return users.first(self._shape, count)

    def check_edit(self) -> None:
        if self._shape is not None:
            raise Refusal(f"users: shape {type(self._shape).__name__} sets the number of users during a run")

    def take_start(self) -> None:
        assert self._checked is not None, "a start is taken after its check"
        self._take(self._checked)

    def drop_start(self) -> None:
        self._starting, self._checked = False, None

    # --- a run is opened

    def start(self, **_: Any) -> None:
        """The load generator starts: open a run. Returns when users may come."""
        before = self._load.state()
        # Not in Locust's own greenlet, which a stop meanwhile kills: what is half open cannot be closed.
        self._opening = gevent.spawn(self._open)
        self._load.show_opening()
        self._starting = False
        try:
            refusal = self._opening.get()
        except Exception as e:  # ours; gevent has printed the traceback
            self._load.exit_with(EXIT_UNKNOWN)
            self._break_off(f"error: {type(e).__name__}: {e}")
            raise gevent.GreenletExit from e
        if refusal is None:
            return
        if self._options.headless:
            self.refuse(refusal)
        if self._workers is not None:
            self._workers.forget()
        print(refusal, file=sys.stderr, flush=True)
        self._load.withdraw_start(before)
        if self._options.autostart:
            self._load.exit_with(EXIT_BAD_INPUT)
            gevent.spawn(self._autoquit)
        raise gevent.GreenletExit  # Locust starts no users, and logs no error

    def _open(self) -> Refusal | None:
        """Why there will be no run; None: it is on."""
        self.notice = None
        try:
            stack = self._prepared()
            if self._checked is None:  # not started by the form: files may have changed since they were read
                found = self._read(self._options)
                self._check(found, stack)
                self._take(found)
            self._checked = None
            assert self._inputs is not None, "inputs are taken before a run is opened"
            self._context = self._open_run(stack, self._inputs)
        except Refusal as e:
            self.notice = str(e)
            return e
        return None

    def _open_run(self, stack: Stack, found: Inputs) -> RunContext:
        options, crew = self._options, self._workers
        if self._warmed is None or not options.headless:
            self._warmed = self._warm_up(stack, found)
        warmed = self._warmed
        if crew is not None:
            needs = workers.for_open_loop(found, self._shape, vars(options), self._load.own_options())
            crew.call(warmed.stage, warmed.stage.clock, needs)
        known = crew.cast if crew is not None else ()
        run = opening.open_folder(options, found, stack, warmed, self._shape, self._search, known)
        self._broken = None
        recording = opening.record(run.path, warmed, crew, self._load.users, self._cannot_record)
        clock, topology = warmed.stage.clock, stack.topology
        experiment = self._experiment(run, recording, stack, found, warmed)
        counters.keep(run.path, topology, BEFORE, clock)
        try:
            started_at = experiment.start()
        except Refusal:
            recording.close()
            run.close(ABORTED, clock.now(), "error: chaos did not start", {})
            raise
        context = RunContext(
            run=run, topology=topology, clock=clock, recording=recording, experiment=experiment
        )
        if started_at is not None:
            warmed.stage.overhead_until = faults.overhead_until(started_at, found.timeline.baseline)
        self._let_in(context, warmed)
        self._begin_following(context, found)
        return context

    def _experiment(
        self, run: Run, recording: Recording | Gathering, stack: Stack, found: Inputs, warmed: Warmed
    ) -> Experiment:
        topology, tally = stack.topology, recording.tally
        if self._search is None:
            return faults.Chaos(
                faults.argv(run.path, stack.path, found.timeline_path, self._options),
                lambda: faults.counts(tally.snapshot(), topology),
                partial(display.print_event, started_at=run.manifest["started_at"]),
                self._launch,
            )
        return search.SearchExperiment(
            self._search, warmed.stage, run.path,
            lambda: search.too_many_cloud_answers(
                faults.cloud_answers(tally.snapshot(), topology), found.timeline.max_cloud_answers
            ),
            ended=partial(self._stop, quit=True), failed=self._break_off,
        )  # fmt: skip

    def _let_in(self, context: RunContext, warmed: Warmed) -> None:
        if isinstance(context.recording, Gathering):
            assert self._workers is not None
            self._workers.play(context.recording)
        else:
            self._load.let_in(warmed.stage)

    def _begin_following(self, context: RunContext, found: Inputs) -> None:
        if isinstance(context.experiment, faults.Chaos):
            gevent.spawn(self._follow_chaos, context.experiment)
        context.greenlets.append(gevent.spawn(display.follow, context))
        if self._shape is not None and found.arrivals is None:
            context.greenlets.append(gevent.spawn(users.follow, self._shape, self._load))

    def _follow_chaos(self, chaos: faults.Chaos) -> None:
        chaos.follow()
        self._stop(quit=self._options.headless)
        if self._options.autostart and not self._options.headless:
            self._autoquit()

    # --- a run is stopped and closed

    def stopping(self, **_: Any) -> None:
        """The load generator is stopping: chaos restores now, while the users still finish."""
        if self._opening is not None:
            self._opening.join()
        context = self._context
        if context is not None:
            context.stopping = True
            context.stopped_early = context.stopped_early or not context.experiment.over.ready()
            context.experiment.stop()
            if self._workers is not None:
                self._workers.let_go(home=self._options.headless)

    def stopped(self, **_: Any) -> None:
        """The users have gone: close the run. Returns when it is closed, to a second caller too."""
        context, self._context = self._context, None
        if context is not None:
            # Not in the greenlet of the caller: Locust kills its own when its last worker leaves.
            self._closing = gevent.spawn(self._close, context, self._prepared())
        if self._closing is not None:
            self._closing.join()

    def _close(self, context: RunContext, stack: Stack) -> None:
        self._load.exit_with(EXIT_UNKNOWN)  # until the report is made
        experiment, run = context.experiment, context.run
        code = experiment.over.get()
        for greenlet in context.greenlets:
            greenlet.kill()
        experiment.close()
        closing.restore_left_open(code, faults.restore_argv(stack.path, self._options))
        ended = self._workers.rest() if self._workers is not None else []
        context.recording.close()
        why = why_cut_short(self._broken, context.stopped_early, code, experiment.progress.end_reason)
        closing.close_folder(context, why, ended)
        closing.copy_evidence(run.path, stack.path.parent / "ledger", self._load.write_statistics)
        made = self._report(run.path)
        run.reported(made.exit_code)
        self._keep_verdict(experiment.conclude(made, run.path))

    def _keep_verdict(self, verdict: Verdict) -> None:
        self._load.exit_with(verdict.exit_code)
        self._verdict = verdict.text
        if not self._options.headless:
            self.print_verdict()

    def print_verdict(self, **_: Any) -> None:
        """Headless it is the last that is printed, after Locust's own summary."""
        text, self._verdict = self._verdict, None
        if text:
            print(text, flush=True)

    # --- the end

    def _stop(self, quit: bool) -> None:
        """Stop the users, wait until the run is closed; `quit`: let Locust end then."""
        self._load.stop()
        self.stopped()  # another caller may be closing it; a quit now would cut that short
        if quit:
            self._load.quit()

    def quitting(self, **_: Any) -> None:
        """Locust quits: close the run that is on, so that the exit code is known in time, and take the stack down."""
        self._stop(quit=False)
        if self._workers is not None:
            self._workers.dismiss()
        self.take_down()

    def take_down(self) -> None:
        """End an embedded stack; safe to call twice."""
        if self._stack is not None:
            self._stack.take_down()

    def _autoquit(self) -> None:
        """--autoquit, which Locust itself heeds only where --run-time has ended the run."""
        if self._options.autoquit != -1:
            gevent.sleep(self._options.autoquit)
            self._load.quit_page()

    def _cannot_record(self, why: str) -> None:
        """Locust only logs what a listener raises: a run that cannot be recorded is stopped here."""
        self._break_off(f"error: {why}")

    def _break_off(self, reason: str) -> None:
        if self._broken is None:
            self._broken = self.notice = reason
            print(f"\n{reason}", file=sys.stderr, flush=True)
            gevent.spawn(self._stop, quit=True)

    def _prepared(self) -> Stack:
        assert self._stack is not None, "the stack is prepared before a run is started"
        return self._stack


def _is_running(greenlet: gevent.Greenlet | None) -> bool:
    return greenlet is not None and not greenlet.ready()
