"""The second process, which restores when the controller is killed or frozen.

It gets every undo record before the inject, over a pipe whose other end only the controller holds. The pipe's end of file
means that the controller is gone: the guardian then restores all open faults. It restores a fault past its deadline even
while the controller lives, since that may be frozen. Signals that end a program do not end the guardian.

It has none of the controller's descriptors except the two pipes. It logs to its standard error, which is a file (see
guardian_link.py), and to the controller while that lives.
"""

import io
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import TextIO

from chaos.retry import error_text
from chaos.stdin import own_stdin
from chaos.undo.deputy import Deputy
from chaos.undo.journal import Journal, Undo
from contract import messages, printable, topology
from contract.clock import Clock
from contract.messages import Armed, Closed, Listening, Log, Message, NotArmed, Open, UnderTest
from contract.refusal import EXIT_NOT_RESTORED, EXIT_PASS
from contract.topology import Topology

LOG_MOST = 1024 * 1024  # characters that one guardian logs
TRY_S = 24 * 3600.0  # it continues long after the controller has given up
LOOK_EVERY_S = 0.5
BY = "guardian"
Key = tuple[str | None, str, str]


def under_test(stack: Topology) -> UnderTest:
    return UnderTest(topology.dump(stack))


def opening(undo: Undo) -> Open:
    return Open(undo.to_json())


def mark(undo: Undo) -> str:
    """Identifies the record that an answer belongs to."""
    return f"{undo.target_handle}, {undo.step} #{undo.trial}"


def closing(undo: Undo) -> Closed:
    return Closed(*undo.key)


class Guardian:
    """Reads lines from standard input, answers on standard output; `run` returns when no fault is open any more."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        answer: Callable[[Message], None] | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """`answer`: by default a line on standard output."""
        self._journal, self._clock, self._wait = journal, clock, wait
        self._answer = answer or _answer
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._open: dict[Key, tuple[Undo, Deputy]] = {}
        self._restoring: list[threading.Thread] = []
        self._left = 0
        self._stack: Topology | None = None

    def run(self) -> int:
        sys.stderr = Bounded(sys.stderr, LOG_MOST)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        return self.follow(own_stdin())

    def follow(self, lines: Iterable[str]) -> int:
        """Handles the controller's lines to their end; returns the exit code. Does not change the process, unlike `run`."""
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        self._answer(Listening())
        while True:
            try:
                line = self._lines.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                self._restore_overdue()
                continue
            if line is None:
                break
            try:
                self._handle(messages.read(line))
            except ValueError as e:  # faults that are already armed must not lose their guardian
                self._log(f"from the controller: {e}")
        for key in list(self._open):
            self._restore(key)
        for thread in self._restoring:
            thread.join()
        return EXIT_NOT_RESTORED if self._left else EXIT_PASS

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            if line.endswith("\n"):  # a line that was cut by the controller's end was never armed
                self._lines.put(line)
        self._lines.put(None)

    def _handle(self, message: Message) -> None:
        """Raises ValueError where the message is not for a guardian."""
        match message:
            case UnderTest():
                self._stack = topology.read_text(message.topology)
            case Closed():
                self._open.pop((message.cluster, message.of, message.handle), None)
            case Open():
                self._arm(Undo.of_json(message.undo))
            case _:
                raise ValueError(f"{message.kind!r} is not a message for a guardian")

    def _arm(self, undo: Undo) -> None:
        of = mark(undo)
        deputy = Deputy(undo, BY, self._clock, self._log, self._journal, stack=self._stack, wait=self._wait)
        try:
            deputy.connect()
        except (
            Exception
        ) as e:  # also a bug of ours: faults that are already armed must not lose their guardian
            self._answer(NotArmed(of, error_text(e)))
            return
        self._open[undo.key] = (undo, deputy)
        self._answer(Armed(of))

    def _restore_overdue(self) -> None:
        for key, (undo, _) in list(self._open.items()):
            if self._clock.now() > undo.deadline:
                self._restore(key)

    def _restore(self, key: Key) -> None:
        undo, deputy = self._open.pop(key)
        thread = threading.Thread(
            target=self._restore_one, args=(undo, deputy), name=f"restore {undo.handle}"
        )
        self._restoring.append(thread)
        thread.start()

    def _restore_one(self, undo: Undo, deputy: Deputy) -> None:
        try:
            held = self._journal.held(undo)
        except (OSError, ValueError):
            held = undo  # an unreadable record must not prevent a restore
        if held is not None and not held.same_fault(undo):
            return  # it was restored elsewhere, and another fault is open now
        if not deputy.restore(TRY_S):
            self._left += 1
            return
        try:
            self._journal.close(undo)
        except (OSError, ValueError):
            pass  # the record stays for `restore`, which finds nothing left to do

    def _log(self, line: str) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        sys.stderr.write(f"{at} [{os.getpid()}] {printable.line(line)}\n")
        self._answer(Log(line))


class Bounded(io.TextIOBase):
    """A text stream that accepts `most` characters and drops the rest, and what cannot be written."""

    def __init__(self, to: TextIO, most: int) -> None:
        self._to, self._left = to, most

    def write(self, text: str) -> int:
        kept = text[: self._left]
        self._left -= len(kept)
        try:
            self._to.write(kept)
            self._to.flush()
        except OSError:
            pass  # the disk is full, which must not end a restore
        return len(text)


def _answer(message: Message) -> None:
    try:
        # In one write, since several threads answer; unbuffered, since a buffer would keep what could not be sent.
        os.write(sys.stdout.fileno(), (messages.write(message) + "\n").encode())
    except OSError:
        pass  # the controller is gone; end of file follows
