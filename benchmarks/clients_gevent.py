"""Clients on gevent: bare sockets, Locust's own users, and the harness."""

import locust  # noqa: I001  first, because it patches the standard library

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent import socket
from locust.env import Environment
from locust.stats import stats_history

from benchmarks.client import END, WARM_S, Measure, Run, is_token, main
from benchmarks.load import LoadUser, user_context_of
from contract import samplers
from contract.schemas import REQUESTS
from contract.run import read_arrow
from scenarios.gateway.recording import Memory, Recording


def bare(run: Run) -> None:
    """A bare gevent socket, no JSON."""

    def read(sock: Any) -> float:
        first = None
        while True:
            data = sock.recv(65536)
            first = first or time.monotonic()
            if data.endswith(END):
                return first

    _sockets(run, read)


def bare_json(run: Run) -> None:
    """A bare gevent socket, JSON for each event."""

    def read(sock: Any) -> float:
        first = 0.0
        while True:
            data = sock.recv(65536)
            at = time.monotonic()
            for line in data.split(b"\n"):
                if is_token(line) and not first:
                    first = at
            if data.endswith(END):
                return first

    _sockets(run, read)


def _sockets(run: Run, read: Callable[[Any], float]) -> None:
    def stream() -> None:
        sock = socket.create_connection((run.endpoint.host, run.endpoint.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            name, request = run.request()
            sock.sendall(request)
            run.found.append((name, read(sock)))

    for _ in range(run.streams):
        gevent.spawn_later(run.begin_s(), stream)
    _measured(run).print_json()


def _measured(run: Run, answered: Callable[[], int] | None = None) -> Measure:
    while not (answered() if answered else run.found):
        gevent.sleep(0.05)
    gevent.sleep(WARM_S + run.over_s)
    measure = Measure(run)
    gevent.sleep(run.seconds)
    measure.stop()
    return measure


def fast_http_user(run: Run) -> None:
    """Locust's FastHttpUser, iter_lines, JSON for each event."""

    def lines(client: Any, path: str, headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        for line in client.iter_lines(path, "POST", data=body, headers=headers):
            yield line.encode()

    _start(run, _http(run, locust.FastHttpUser, lines))
    _measured(run).print_json()


def http_user(run: Run) -> None:
    """Locust's HttpUser (requests), iter_lines, JSON for each event."""

    def lines(client: Any, path: str, headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        with client.post(path, data=body, headers=headers, stream=True, catch_response=True) as answer:
            yield from answer.iter_lines()

    _start(run, _http(run, locust.HttpUser, lines))
    _measured(run).print_json()


def _http(run: Run, base: Any, lines: Callable[..., Iterator[bytes]]) -> type[locust.User]:
    class User(base):
        host = run.url

        def on_start(self) -> None:
            gevent.sleep(run.begin_s())

        @locust.task
        def record(self) -> None:
            name, headers, body = run.parts()
            first = None
            for line in lines(self.client, "/v1/chat/completions", headers, body):
                if is_token(line) and first is None:
                    first = time.monotonic()
            assert first is not None
            run.found.append((name, first))

    return User


def harness(run: Run) -> None:
    """The harness: a scenario's requests, each recorded, written and reported to Locust."""

    user_context = user_context_of(run.url, run.tokens, run.prefix)
    runner = _start(run, LoadUser, brownout=user_context)
    recording = Recording(lambda: runner.user_count, user_context, run.folder, Memory(), sys.exit)
    measure = _measured(run, lambda: user_context.recorder.tally.kept)
    runner.stop()
    recording.close()
    requests = read_arrow(run.folder / "requests.arrow", REQUESTS)[0].to_pylist()
    monotonic = user_context.clock.at(0.0)
    found, bad = [], []
    for record in requests:
        if record["outcome"] == "abandoned":  # at the end
            continue
        if record["outcome"] != "ok":
            bad.append(f"{record['outcome']}: {record['error']}")
        elif (
            measure.began_at
            <= record["sent_at"] - monotonic + record["latency_ms"] / 1000
            <= measure.ended_at
        ):
            found.append((record["request_id"], record["sent_at"] - monotonic + record["ttft_ms"] / 1000))
    seconds = [
        s for s in samplers.read(run.folder, "client")[0].to_pylist()
        if measure.began_at + 1 <= s["at"] - monotonic <= measure.ended_at
    ]  # fmt: skip
    measure.print_json(found, bad=bad[:3], client=seconds)


def _start(run: Run, user: type[locust.User], **given: Any) -> Any:
    options = argparse.Namespace(every=0.0, plain=0.0, over=run.over_s)
    environment = Environment(user_classes=[user], parsed_options=options)
    for name, value in given.items():
        setattr(environment, name, value)
    runner = environment.create_local_runner()
    gevent.spawn(stats_history, runner)
    gevent.spawn(runner.start, run.streams, spawn_rate=run.streams)
    logging.disable(logging.WARNING)  # of a high spawn rate, and of killed users
    return runner


if __name__ == "__main__":
    main({f.__name__: f for f in (bare, bare_json, harness, fast_http_user, http_user)})
