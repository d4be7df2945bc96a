"""A vLLM is two processes: the effects of the death of either."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from contract.clock import Clock
from embedded.engine import options
from embedded.engine.engine import Engine
from embedded.engine.ledger import Ledger
from embedded.engine.personalities.vllm import Vllm
from embedded.engine.wire import Reply, Request
from tests.embedded.engine import SLOW, Running, chat, events, next_token, running, until

PATH = "/v1/chat/completions"


def core_of(engine: Running) -> int:
    pid = engine.process.pid
    (core,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert Path(f"/proc/{core}/comm").read_text() == "VLLM::EngineCor\n"
    return int(core)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def of_two_processes(folder: Path) -> Iterator[tuple[Running, int]]:
    with running("vllm", folder, *SLOW, "--engine-core") as engine:
        core = core_of(engine)
        try:
            yield engine, core
        finally:
            if lives(core):
                os.kill(core, signal.SIGKILL)


def test_without_its_core_answers_end_with_an_error_and_the_engine_ends(
    tmp_path: Path,
) -> None:
    with of_two_processes(tmp_path) as (engine, core):
        stream, plain = (
            engine.request(PATH, chat(stream=True, max_tokens=4000)),
            engine.send(PATH, chat(max_tokens=4000)),
        )
        next_token(stream)
        os.kill(core, signal.SIGKILL)
        *_, error, done = events(stream)
        assert (error["error"]["code"], done) == (500, "[DONE]")
        assert plain.getresponse().status == 500
        assert engine.process.wait() == 1
        assert not engine.accepts()


class StatusOnly:
    """A Reply that only records the status."""

    opened = False
    status = 0

    def whole(self, status: int, *_: Any) -> float:
        self.status = status
        return 0.0


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/health", b"", 503),
        ("GET", "/v1/models", b"", 200),
        ("POST", PATH, json.dumps(chat()).encode(), 500),
    ],
)
def test_until_its_end_an_engine_without_its_core_is_unhealthy_and_answers_nothing(
    method: str, path: str, body: bytes, status: int
) -> None:
    clock, reply = Clock(), StatusOnly()
    line = ["--personality", "vllm", "--port", "1", "--model", "m"]
    engine = Engine(options.parse(line, {"vllm": Vllm.defaults}, {}), clock, Ledger(None, clock))
    engine.core_dead = True
    asyncio.run(Vllm(engine)(Request(method, path, "", {}, body, 0.0), cast(Reply, reply)))
    assert reply.status == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_only_a_sigkill_of_the_server_alone_leaves_the_core_behind(
    number: signal.Signals, tmp_path: Path
) -> None:
    with of_two_processes(tmp_path) as (engine, core):
        engine.process.send_signal(number)
        engine.process.wait()
        assert lives(core) == (number == signal.SIGKILL)
        assert not engine.accepts()


def test_a_sigkill_of_the_group_leaves_nothing(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *SLOW, "--engine-core") as engine:
        core = core_of(engine)
        os.killpg(engine.process.pid, signal.SIGKILL)
        engine.process.wait()
        until(lambda: not lives(core))
