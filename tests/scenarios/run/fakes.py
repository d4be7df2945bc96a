"""Fakes for Locust and for processes, to test single steps of a run."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import gevent.event
import gevent.queue

from contract.messages import BadMessage, Message
from scenarios.run.inputs import Inputs, Scenarios


class User:
    """The attributes of a scenario's user class, without Locust."""

    by_default, unattended, fixed_count = True, False, 0
    arguments: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def read(cls, options: argparse.Namespace) -> Any:
        return None


class Chat(User):
    scenario = "chat"


class Direct(User):
    scenario, fixed_count = "direct", 1


class Classify(User):
    scenario, fixed_count, by_default, unattended = "classify", 3, False, True
    arguments: ClassVar = {"documents": {}, "instances": {}}

    @classmethod
    def read(cls, options: argparse.Namespace) -> list[str]:
        return [options.documents]


class Overhead(User):
    scenario, fixed_count = "overhead", 1


SCENARIOS: Scenarios = {user.scenario: user for user in (Chat, Classify, Direct, Overhead)}  # type: ignore[misc]


def options(**given: Any) -> argparse.Namespace:
    """The options of a run, with their defaults."""
    return argparse.Namespace(
        **{
            "topology": "topologies/k3s.yaml", "timeline": "chaos/timelines/three_tier.yaml", "duration": "", "restore_within": "",
            "results": "results", "scenarios": "", "documents": "scenarios/documents", "instances": 3, "without_reaper": False,
            "arrivals": "", "max_in_flight": 1000, "seed": 1, "num_users": 6, "spawn_rate": 6.0, "run_time": None, "headless": True,
            "stop_timeout": 30.0, "host": None, "class_picker": False, "profile": None, "autostart": False, "autoquit": -1,
        } | given
    )  # fmt: skip


class Process:
    """A fake of Leashed. `put` queues its messages; it ends with `let_go` or `end`."""

    def __init__(self, *messages: Message | dict[str, str], code: int = 0) -> None:
        """`messages`: already sent; for an embedded stack, its one line."""
        self.argv: Sequence[str] = ()
        self.received: list[Message] = []
        self.let_go_of = False
        self._code: gevent.event.AsyncResult = gevent.event.AsyncResult()
        self._lines: gevent.queue.Queue = gevent.queue.Queue()
        self._at_leash_end = code
        for message in messages:
            self.put(message)

    def launch(self, argv: Sequence[str]) -> Any:
        """Replaces `Leashed`."""
        self.argv = argv
        return self

    def put(self, message: Message | dict[str, str]) -> None:
        self._lines.put(message)

    def end(self, code: int) -> None:
        if not self._code.ready():
            self._lines.put(None)
            self._code.set(code)

    def first(self) -> Any:
        return self._lines.get()

    def message(self) -> Any:
        found = self._lines.get()
        if isinstance(found, dict):
            raise BadMessage("no message")
        return found

    def messages(self) -> Iterator[Any]:
        while (message := self.message()) is not None:
            yield message

    def drain(self) -> None:
        pass

    def send(self, message: Message) -> None:
        self.received.append(message)

    def let_go(self) -> None:
        self.let_go_of = True
        self.end(self._at_leash_end)

    def wait(self) -> int:
        code: int = self._code.get()
        return code


class FakeLoad:
    """A fake of Locust: `calls` lists the calls in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.exit_code: int | None = None
        self.runner = "ready"
        self.count = 0
        self.stopping: Any = None
        self.stopped: Any = None

    def state(self) -> str:
        return self.runner

    def users(self) -> int:
        return self.count

    def target_users(self) -> int:
        return self.count

    def workers(self) -> int:
        return 0

    def ready_workers(self) -> int:
        return 0

    def choose_users(self, inputs: Inputs) -> None:
        self.calls.append("choose users")

    def set_user_context(self, user_context: Any) -> None:
        self.calls.append("set user context")
        self.runner = "running"

    def scale(self, users: int, spawn_rate: float) -> None:
        self.count = users
        self.calls.append(f"scale to {users}")

    def show_host(self, url: str | None) -> None:
        self.calls.append(f"host {url}")

    def show_opening(self) -> None:
        self.runner = "spawning"

    def withdraw_start(self, state: str) -> None:
        self.runner = state
        self.calls.append(f"withdraw to {state}")

    def stop(self) -> None:
        """Stop like Locust: call the listeners of both events, with the users stopping in between."""
        if self.runner in ("ready", "stopped"):
            return
        self.stopping()
        self.runner = "stopped"
        self.calls.append("stop")
        self.stopped()

    def quit(self) -> None:
        self.calls.append("quit")

    def quit_page(self) -> None:
        self.calls.append("quit page")

    def exit_with(self, code: int) -> None:
        self.exit_code = code

    def own_options(self) -> Mapping[str, Any]:
        return {"headless": True}

    def write_statistics(self, folder: Path) -> None:
        self.calls.append("statistics")
