"""The controller's side of the guardian: starts it, arms it before each fault, notices at once when it dies."""

import queue
import sys
import threading
import time

from chaos.fault import CannotInject
from chaos.guardian import close_line, load_line, mark, open_line
from chaos.journal import Undo
from chaos.stop import Stop
from contract.leash import Leashed
from contract.refusal import Refusal

ARMED_WITHIN_S = 10.0


class Guarding:
    """Without an armed guardian nothing is injected; when it dies, `stop` is set: what is open is mended.

    It is started by its making, and loads while its caller does something else; it may be armed after `ready`.
    """

    def __init__(self, stop: Stop, on_cluster: bool) -> None:
        self._stop, self._on_cluster = stop, on_cluster
        # A session of its own: what kills the controller's process group must not kill the guardian with it.
        self._guardian = Leashed([sys.executable, "-m", "chaos", "guardian"])
        if on_cluster:
            self._guardian.tell(load_line())
        self._answers: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self._lock = threading.Lock()  # one question at a time: the answers carry no number
        self._leaving = False

    def ready(self) -> None:
        """Returns when it can be armed at once. Raises Refusal."""
        if self._guardian.first() is None:
            raise Refusal("the guardian did not start; the line above says why")
        if self._on_cluster and self._guardian.first() is None:
            raise Refusal("the guardian ended while it loaded the Kubernetes client")
        threading.Thread(target=self._watch, name="guardian", daemon=True).start()

    def arm(self, undo: Undo) -> None:
        """Returns when the guardian holds the undo record. Raises CannotInject."""
        with self._lock:
            self._guardian.tell(open_line(undo))
            until = time.monotonic() + ARMED_WITHIN_S
            while True:
                try:
                    answer = self._answers.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    raise CannotInject(f"the guardian did not answer within {ARMED_WITHIN_S:.0f} s") from None
                if answer.get("of") in (mark(undo), None):  # else a late one, to a question that was given up
                    break
        if answer.get("of") is None or "why" in answer:
            raise CannotInject(f"the guardian is not armed: {answer.get('why', 'it is gone')}")

    def disarm(self, undo: Undo) -> None:
        """After the verified mend."""
        with self._lock:
            self._guardian.tell(close_line(undo))

    def leave(self) -> None:
        """Let go: it ends at once where nothing is open, and goes on trying where something is."""
        self._leaving = True
        self._guardian.let_go()

    def _watch(self) -> None:
        for answer in self._guardian.lines():
            self._answers.put(answer)
        self._guardian.wait()
        self._answers.put({})
        if not self._leaving:
            self._stop.set("error: the guardian has died")
