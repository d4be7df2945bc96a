"""Prepares a run: reads and checks inputs, starts the stack, warms up the gateway and the tiers."""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gevent

from contract import printable, proxies
from contract.leash import Leashed
from contract.refusal import Refusal
from scenarios.run import checks, inputs, search, users, warming, workers
from scenarios.run.inputs import Inputs, Scenarios
from scenarios.run.load import Load
from scenarios.run.stack import Stack
from scenarios.run.warming import Warmed

if TYPE_CHECKING:
    from scenarios.gateway.load_shape import LoadShape, Search

Launch = Callable[[Sequence[str]], Leashed]


@dataclass(frozen=True)
class Prepared:
    """The result of the preparation."""

    inputs: Inputs
    stack: Stack
    warmed: Warmed


class Preparation:
    """Call `first` once, before any run; then `for_start` at each start.

    A start from the web UI is checked (`check_start`) and passed to Locust; then call `take_start` or `drop_start`.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        load: Load,
        scenarios: Scenarios,
        shape: "LoadShape | None",
        search: "Search | None",
        master: bool,
        launch: Launch,
        cannot_record: Callable[[str], None],
    ) -> None:
        """`search`: the shape, if it is a Search. `launch`: starts an embedded stack."""
        self._options, self._load, self._scenarios = options, load, scenarios
        self._shape, self._search, self._master = shape, search, master
        self._launch, self._cannot_record = launch, cannot_record
        self._stack: Stack | None = None
        self._inputs: Inputs | None = None  # of the next start
        self._checked: Inputs | None = None  # None: the next start reads and checks them again
        self._warmed: Warmed | None = None
        self.checking = False  # a start is being checked
        self._cancelled = False  # it was stopped meanwhile
        self.starting = False  # a start is being checked, or is checked and not started by Locust yet

    def first(self, stack_ended: Callable[[], None]) -> None:
        """Read and check all inputs, start an embedded stack. Raises Refusal."""
        options = self._options
        inputs.refuse_ineffective(options)
        self._stack = stack = Stack(Path(options.topology), self._launch)
        proxies.refuse(stack.topology, os.environ)
        self._apply_shape()
        found = self._read(options)
        checks.must_be_writable(Path(options.results))
        stack.start()
        # Meanwhile an embedded stack boots. It belongs to the run and affects nothing else.
        self._check(found)
        self._take(found)
        if stack.wait_ready():
            gevent.spawn(stack.watch, stack_ended)
        self._load.show_host(stack.topology.gateway.url)
        if options.headless:
            self._warmed = self._warm_up(found)
            self._print_missing_workers()

    def for_start(self) -> Prepared:
        """Raises Refusal."""
        if self._checked is None:  # not started by the form: the files may have changed since
            found = self._read(self._options)
            self._check(found)
            self._take(found)
        self._checked = None
        assert self._inputs is not None, "inputs are taken before they are used"
        if self._warmed is None or not self._options.headless:
            self._warmed = self._warm_up(self._inputs)
        return Prepared(self._inputs, self.stack, self._warmed)

    @property
    def stack(self) -> Stack:
        assert self._stack is not None, "the stack is prepared before a run is"
        return self._stack

    def take_down(self) -> None:
        """End an embedded stack; safe to call twice."""
        if self._stack is not None:
            self._stack.take_down()

    def users(self) -> int:
        """The default number of users in the form."""
        return self._shape.users if self._shape is not None else self._options.num_users or 1

    def check_start(self, options: argparse.Namespace, count: int) -> int:
        """Returns the initial number of users. Raises Refusal; the start is dropped then."""
        assert not self.starting, "one start at a time"
        self.checking, self.starting, self._cancelled = True, True, False
        try:
            found = self._read(options)
            checks.must_be_writable(Path(options.results))
            self._check(found)
            if self._master:
                workers.await_return(self._load.workers, self._options.expect_workers)
            if self._cancelled:
                raise Refusal("the start was stopped before the run was opened")
        except BaseException:
            self.drop_start()
            raise
        finally:
            self.checking = False
        self._checked = found
        return users.first(self._shape, count)

    def cancel_check(self) -> None:
        """The start that is being checked, if there is one, will be refused."""
        self._cancelled = self.checking

    def take_start(self) -> None:
        assert self._checked is not None, "a start is taken after its check"
        self._take(self._checked)

    def drop_start(self) -> None:
        self.starting, self._checked = False, None

    def check_edit(self) -> None:
        """Raises Refusal if a shape sets the number of users."""
        if self._shape is not None:
            raise Refusal(f"users: shape {type(self._shape).__name__} sets the number of users during a run")

    def _apply_shape(self) -> None:
        options = self._options
        if self._shape is not None:
            self._shape.read(options)
            options.num_users = users.first(self._shape, options.num_users or 1)
        if self._search is not None:
            search.take_over(self._search, options, self._master)

    def _read(self, options: argparse.Namespace) -> Inputs:
        return inputs.read(options, self._scenarios, self._shape)

    def _check(self, found: Inputs) -> None:
        if self._search is None:
            checks.must_pass(*checks.commands(self.stack.path, found.timeline_path))

    def _take(self, found: Inputs) -> None:
        self._inputs = self._checked = found
        self._load.choose_users(found)

    def _warm_up(self, found: Inputs) -> Warmed:
        warmed = warming.warm(self.stack.topology, found, self._options, self._shape, self._cannot_record)
        if self._search is not None:
            self._search.objective_ms = self._search.objective_ms or found.timeline.objectives.ttft_ms
            self._search.prepare(warmed.user_context)
        return warmed

    def _print_missing_workers(self) -> None:
        if self._master:
            waiting = workers.missing(self._options.expect_workers, self._load.ready_workers())
            if waiting is not None:
                print(printable.line(waiting), flush=True)
