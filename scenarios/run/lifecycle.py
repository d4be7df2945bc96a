"""Runs the steps of a run in order, one run at a time, triggered by events of the load generator."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import gevent

from contract import printable
from contract.counters import BEFORE
from contract.leash import Leashed
from contract.messages import BadMessage
from contract.refusal import EXIT_INTERNAL_ERROR, EXIT_UNKNOWN, Refusal
from contract.run import ABORTED, Run
from scenarios.gateway import counters
from scenarios.gateway.distributed.gathering import Gathering
from scenarios.gateway.recording import Recording
from scenarios.run import closing, display, faults, opening, page_state, search, users, verdict, workers
from scenarios.run.context import RunContext
from scenarios.run.ending import why_cut_short
from scenarios.run.experiment import Experiment
from scenarios.run.inputs import Inputs, Scenarios
from scenarios.run.load import Load
from scenarios.run.preparation import Launch, Preparation, Prepared
from scenarios.run.verdict import Report, Verdict

if TYPE_CHECKING:
    from scenarios.gateway.distributed.workers import Workers
    from scenarios.gateway.load_shape import LoadShape, Search

Fail = Callable[[str], None]


class RunLifecycle:
    """A stack and its runs, in a single Locust process or a master.

    `notice`: shown in the web UI: why a start failed or an edit was refused.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        load: Load,
        scenarios: Scenarios,
        report: Report,
        shape: "LoadShape | None" = None,
        search: "Search | None" = None,
        workers: Callable[[Fail], "Workers | None"] = lambda fail: None,
        launch: Launch = Leashed,
    ) -> None:
        """`search`: the shape, if it is a Search. `workers`: creates the master's Workers; its argument is called when one fails.

        `launch`: starts the processes of the stack and of a run.
        """
        self._options, self._load, self._report = options, load, report
        self._shape, self._search, self._launch = shape, search, launch
        # Before anything slow: workers may be connected already.
        self._workers = workers(self._cannot_record)
        master = self._workers is not None
        self._preparation = Preparation(
            options, load, scenarios, shape, search, master, launch, self._cannot_record
        )
        self._opening: gevent.Greenlet | None = None
        self._context: RunContext | None = None
        self._closing: gevent.Greenlet | None = None
        self._broken: str | None = None  # why the load generator cannot continue
        self._internal_error = False  # it is an error of its own
        self._verdict: str | None = None  # not printed yet
        self.notice: str | None = None

    # --- before the first run

    def prepare(self) -> None:
        """Raises Refusal."""
        if self._options.headless:
            self._load.exit_with(EXIT_UNKNOWN)  # until a run has its verdict
        self._preparation.first(partial(self._break_off, "error: the embedded stack has ended"))

    def refuse(self, why: Refusal) -> NoReturn:
        """Do not run: make the workers quit, stop the stack, exit."""
        if self._workers is not None:
            self._workers.quit_all()
        self._preparation.take_down()
        print(printable.lines(why), file=sys.stderr, flush=True)
        raise SystemExit(why.exit_code)

    # --- the web UI: `scenarios.gateway.web_ui.Runs`

    def state(self) -> str:
        return page_state.shown(self._moment())

    def is_on(self) -> bool:
        return page_state.takes_edits(self._moment())

    def _moment(self) -> page_state.Moment:
        context = self._context
        return page_state.Moment(
            runner=self._load.state(), starting=self._preparation.starting, opening=_is_running(self._opening),
            on=context is not None, stopping=context is not None and context.stopping, closing=_is_running(self._closing),
        )  # fmt: skip

    def users(self) -> int:
        return self._preparation.users()

    def check_start(self, options: argparse.Namespace, users: int) -> int:
        page_state.refuse_second_run(self._moment())
        return self._preparation.check_start(options, users)

    def cancel_check(self) -> None:
        self._preparation.cancel_check()

    def check_edit(self) -> None:
        self._preparation.check_edit()

    def take_start(self) -> None:
        self._preparation.take_start()

    def drop_start(self) -> None:
        self._preparation.drop_start()

    # --- opening a run

    def start(self, **_: Any) -> None:
        """The load generator starts: open a run. Returns when users may start."""
        try:
            # Locust starts on a key of the terminal too.
            page_state.refuse_second_run(replace(self._moment(), starting=self._preparation.checking))
        except Refusal as e:
            print(printable.lines(e), file=sys.stderr, flush=True)
            raise gevent.GreenletExit from e
        before = self._load.state()
        # In a new greenlet: a stop kills Locust's own, and a half-open run could not be closed.
        self._opening = gevent.spawn(self._open)
        self._load.show_opening()
        self._preparation.starting = False
        try:
            refusal = self._opening.get()
        except Exception as e:  # our bug; gevent has printed the traceback
            self._load.exit_with(EXIT_INTERNAL_ERROR)
            self._break_off_by_error(f"error: {type(e).__name__}: {e}")
            raise gevent.GreenletExit from e
        if refusal is None:
            return
        if self._options.headless:
            self.refuse(refusal)
        if self._workers is not None:
            self._workers.forget()
        print(printable.lines(refusal), file=sys.stderr, flush=True)
        self._load.withdraw_start(before)
        if self._options.autostart:
            self._load.exit_with(refusal.exit_code)
            gevent.spawn(self._autoquit)
        raise gevent.GreenletExit  # Locust starts no users, and logs no error

    def _open(self) -> Refusal | None:
        """Why the run was not opened; None: it is open."""
        self.notice = None
        try:
            self._context = self._open_run(self._preparation.for_start())
        except Refusal as e:
            self.notice = str(e)
            return e
        return None

    def _open_run(self, prepared: Prepared) -> RunContext:
        options, load_workers = self._options, self._workers
        found, stack, user_context = prepared.inputs, prepared.stack, prepared.warmed.user_context
        clock, topology = user_context.clock, stack.topology
        if load_workers is not None:
            needs = workers.for_open_loop(found, self._shape, vars(options), self._load.own_options())
            load_workers.set_up(user_context, clock, needs)
        known = load_workers.of_run if load_workers is not None else ()
        run = opening.open_folder(options, prepared, self._shape, self._search, known)
        self._broken, self._internal_error = None, False
        try:
            recording = opening.record(
                run.path, prepared.warmed, load_workers, self._load.users, self._cannot_record
            )
        except Refusal as e:
            run.close(ABORTED, clock.now(), f"error: {e}", {})
            raise
        experiment = self._experiment(run, recording, prepared)
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
            user_context.overhead_until = faults.overhead_until(started_at, found.timeline.baseline)
        if isinstance(recording, Gathering):
            assert load_workers is not None, "only a master has a Gathering"
            load_workers.start(recording)
        else:
            self._load.set_user_context(user_context)
        self._begin_following(context, found)
        return context

    def _experiment(self, run: Run, recording: Recording | Gathering, prepared: Prepared) -> Experiment:
        found, stack, tally = prepared.inputs, prepared.stack, recording.tally
        if self._search is None:
            return faults.Chaos(
                faults.argv(run.path, stack.path, found.timeline_path, self._options),
                lambda: faults.counts(tally.snapshot(), stack.topology),
                partial(display.print_event, started_at=run.manifest["started_at"]),
                self._launch,
            )
        return search.SearchExperiment(
            self._search, prepared.warmed.user_context, run.path,
            lambda: search.too_many_cloud_answers(
                faults.cloud_answers(tally.snapshot(), stack.topology), found.timeline.max_cloud_answers
            ),
            ended=partial(self._stop, quit=True), failed=self._break_off_by_error,
        )  # fmt: skip

    def _begin_following(self, context: RunContext, found: Inputs) -> None:
        if isinstance(context.experiment, faults.Chaos):
            gevent.spawn(self._follow_chaos, context.experiment)
        context.greenlets.append(gevent.spawn(display.follow, context))
        if self._shape is not None and found.arrivals is None:
            context.greenlets.append(gevent.spawn(users.follow, self._shape, self._load))

    def _follow_chaos(self, chaos: faults.Chaos) -> None:
        try:
            chaos.follow()
        except BadMessage as e:
            self._break_off(f"error: from chaos: {e}")
            return
        self._stop(quit=self._options.headless)
        if self._options.autostart and not self._options.headless:
            self._autoquit()

    # --- stopping and closing a run

    def stopping(self, **_: Any) -> None:
        """The load generator is stopping: chaos restores now, while the users finish."""
        if self._opening is not None:
            self._opening.join()
        context = self._context
        if context is not None:
            context.stopping = True
            context.stopped_early = context.stopped_early or not context.experiment.over.ready()
            context.experiment.stop()
            if self._workers is not None:
                self._workers.expect_stop(quit=self._options.headless)

    def stopped(self, **_: Any) -> None:
        """The users have stopped: close the run. Returns when it is closed, also for a second caller."""
        context, self._context = self._context, None
        if context is not None:
            # In a new greenlet: Locust kills the caller's when its last worker leaves.
            self._closing = gevent.spawn(self._close, context)
        if self._closing is not None:
            self._closing.join()

    def _close(self, context: RunContext) -> None:
        stack = self._preparation.stack
        self._load.exit_with(EXIT_INTERNAL_ERROR)  # unless this returns
        experiment, run = context.experiment, context.run
        code = experiment.over.get()
        for greenlet in context.greenlets:
            greenlet.kill()
        experiment.close()
        closing.restore_left_open(code, faults.restore_argv(stack.path, self._options))
        ended = self._workers.finish() if self._workers is not None else []
        context.recording.close()
        why = why_cut_short(self._broken, context.stopped_early, code, experiment.progress.end_reason)
        closing.close_folder(context, why, ended)
        closing.copy_evidence(run.path, stack.path.parent / "ledger", self._load.write_statistics)
        made = self._report(run.path)
        if made.exit_code == EXIT_INTERNAL_ERROR:
            self.notice = made.text
        else:
            run.reported(made.exit_code)
            made = experiment.conclude(made, run.path)
        self._keep_verdict(Verdict(made.text, verdict.exit_code(made.exit_code, code, self._internal_error)))

    def _keep_verdict(self, found: Verdict) -> None:
        self._load.exit_with(found.exit_code)
        self._verdict = found.text
        if not self._options.headless:
            self.print_verdict()

    def print_verdict(self, **_: Any) -> None:
        """In headless mode it is printed last, after Locust's own summary."""
        text, self._verdict = self._verdict, None
        if text:
            print(printable.lines(text), flush=True)

    # --- the end

    def _stop(self, quit: bool) -> None:
        """Stop the users and wait until the run is closed; `quit`: then quit Locust."""
        self._load.stop()
        self.stopped()  # another caller may be closing the run; quitting now would interrupt that
        if quit:
            self._load.quit()

    def quitting(self, **_: Any) -> None:
        """Locust quits: close the current run, so that the exit code is known, and stop the stack."""
        self._stop(quit=False)
        if self._workers is not None:
            self._workers.quit_all()
        self._preparation.take_down()

    def _autoquit(self) -> None:
        """Apply --autoquit, which Locust itself applies only after --run-time."""
        if self._options.autoquit != -1:
            gevent.sleep(self._options.autoquit)
            self._load.quit_page()

    def _cannot_record(self, why: str) -> None:
        """Stop a run that cannot be recorded: Locust only logs exceptions of listeners."""
        self._break_off(f"error: {why}")

    def _break_off_by_error(self, reason: str) -> None:
        self._internal_error = True
        self._break_off(reason)

    def _break_off(self, reason: str) -> None:
        if self._broken is None:
            self._broken = self.notice = reason
            print(printable.lines(f"\n{reason}"), file=sys.stderr, flush=True)
            gevent.spawn(self._stop, quit=True)


def _is_running(greenlet: gevent.Greenlet | None) -> bool:
    return greenlet is not None and not greenlet.ready()
