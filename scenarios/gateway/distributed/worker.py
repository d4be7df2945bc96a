"""A worker: gets its setup from the master, runs its users, and sends their records to the master.

It writes no file. It reports errors to the master as text.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import gevent
import gevent.lock
from locust.env import Environment

from contract import proxies, samplers
from contract import topology as topologies
from contract.clock import Clock, boot
from contract.refusal import EXIT_BAD_INPUT, EXIT_INTERNAL_ERROR, EXIT_PASS, Refusal
from contract.sampler import Process
from contract.schemas import REQUESTS
from scenarios.gateway import stack_key
from scenarios.gateway.arrivals import WorkerShare
from scenarios.gateway.distributed.messages import (
    BROKEN,
    HELLO,
    OVER,
    PARCEL,
    PING,
    PONG,
    READY,
    SETUP,
    START,
    TALLY,
    Batches,
    packed,
)
from scenarios.gateway.load_shape import LoadShape
from scenarios.gateway.open_loop import Idle, OpenLoop, open_loop
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.recording import Memory
from scenarios.gateway.sampling import Sampling
from scenarios.gateway.user import GatewayUser
from scenarios.gateway.user_context import UserContext, from_values
from scenarios.gateway.warmup import check_gateway, preflight

_TALLY_S = 1.0


class LoadWorker:
    """One worker, in one run at a time."""

    def __init__(
        self,
        environment: Environment,
        scenarios: Mapping[str, type[GatewayUser]],
    ) -> None:
        """`scenarios`: scenario → user class."""
        self._environment, self._runner, self._scenarios = environment, environment.runner, scenarios
        self._clock = Clock()
        self._user_context: UserContext | None = None
        self._running = False
        self._handover: gevent.Greenlet | None = None
        self._exit_code = EXIT_PASS
        for message, listener in ((SETUP, self._set_up), (START, self._start), (PING, self._answer_ping)):
            self._runner.register_message(message, listener)
        environment.events.report_to_master.add_listener(self._report)
        environment.events.test_stop.add_listener(self._users_stopped)
        environment.events.quitting.add_listener(self._quit)
        self._stop, self._stopping = self._runner.stop, gevent.lock.RLock()
        self._runner.stop = self._stop_in_turn
        self._send(HELLO, {})

    def _stop_in_turn(self) -> None:
        """A signal and the master's message may stop this worker at the same time; Locust's own stop is not reentrant."""
        with self._stopping:
            self._stop()

    def _send(self, message: str, data: dict[str, Any]) -> None:
        self._runner.send_message(message, data)

    def _set_up(self, msg: Any, **_: Any) -> None:
        """Handle SETUP. Locust reads no further message meanwhile, so no user starts before this returns."""
        self._clock = Clock()  # a new clock per run: after a suspend the old one would be wrong
        identity = {
            "host": socket.gethostname(), "pid": os.getpid(), "boot": boot(), "anchor_s": self._clock.anchor_s,
        }  # fmt: skip
        warm = Memory()
        try:
            stack_key.take(topologies.read_text(msg.data["topology"]))
            recorder = Recorder(warm, self._cannot_record)
            user_context = from_values(
                msg.data, recorder, self._clock, msg.data["worker"], msg.data["prefix"]
            )
            proxies.refuse(user_context.topology, os.environ)
            options = self._environment.parsed_options
            user_context.scenario_inputs = {
                name: self._scenarios[name].read(options) for name in msg.data["scenario_inputs"]
            }
            self._opened = self._open_loop(user_context, msg.data)
            preflight(check_gateway(user_context), user_context.topology)
            recorder.flush()
        except Refusal as e:
            self._exit_code = EXIT_BAD_INPUT
            self._send(READY, identity | {"refused": str(e), "exit_code": self._exit_code})
            return
        except Exception as e:  # our bug; Locust would only log it, and the master would wait
            self._exit_code = EXIT_INTERNAL_ERROR
            self._send(
                READY, identity | {"refused": f"{type(e).__name__}: {e}", "exit_code": self._exit_code}
            )
            raise
        self._user_context, self._exit_code = user_context, EXIT_PASS
        self._send(READY, identity | {"refused": None, "warm": [packed(warm, REQUESTS)]})

    def _open_loop(self, user_context: UserContext, data: Mapping[str, Any]) -> type[OpenLoop] | None:
        """The user class for this worker's share of the arrivals, with the shape set up as on the master."""
        if user_context.arrivals is None:
            return None
        if data["shape"] is not None:
            shape, options = self._environment.shape_class, self._environment.parsed_options
            if not isinstance(shape, LoadShape) or type(shape).__name__ != data["shape"]:
                raise Refusal(
                    f"shape {data['shape']} is not loaded; start this worker with the same -f as the master"
                )
            vars(options).update(data["options"])
            shape.read(options)
            user_context.factor = shape.factor
        return open_loop([self._scenarios[name] for name in data["scenarios"]])

    def _start(self, msg: Any, **_: Any) -> None:
        """Handle START: from now on, requests of users are recorded."""
        user_context = self._user_context
        assert user_context is not None, "START comes after SETUP"
        data = msg.data
        user_context.overhead_until = data["overhead_until"]
        self._requests = Batches(REQUESTS)
        user_context.recorder = self._recorder = Recorder(self._requests, self._cannot_record)
        self._samples: dict[str, Batches] = {}
        self._sampling = Sampling(
            samplers.every(Process.EACH), user_context, lambda: self._runner.user_count, self._batches, self._cannot_record
        )  # fmt: skip
        self._recorder.start()
        self._sampling.start()
        self._ticker = gevent.spawn(self._send_tally_regularly)
        self._running = True
        self._environment.brownout = user_context
        # Locust may spawn any of these on any worker. It does not know the open loop, so that each worker has exactly one.
        self._environment.user_classes = [*self._scenarios.values(), Idle]
        if data["share"] is not None:
            user_context.share = WorkerShare(**data["share"])
        if self._opened is not None and data["share"] is not None:
            user_context.max_in_flight = max(1, user_context.max_in_flight // user_context.share.of)
            self._environment.user_classes.append(self._opened)
            self._runner.spawn_users({self._opened.__name__: 1})

    def _answer_ping(self, msg: Any, **_: Any) -> None:
        heard_at = self._clock.now()
        self._send(PONG, msg.data | {"heard_at": heard_at, "answered_at": self._clock.now()})

    def _send_tally_regularly(self) -> None:
        while True:
            gevent.sleep(_TALLY_S)
            self._send(TALLY, asdict(self._recorder.tally.snapshot()))

    def _report(self, client_id: str, data: dict[str, Any]) -> None:
        """Add records to Locust's own report to the master, sent every three seconds."""
        if self._running:
            self._recorder.flush()
            data[PARCEL] = self._parcel()

    def _parcel(self) -> dict[str, Any]:
        tally = asdict(self._recorder.tally.snapshot())
        samples = {name: batches.take() for name, batches in self._samples.items()}
        return {"requests": self._requests.take(), "samples": samples, "tally": tally}

    def _batches(self, name: str) -> Batches:
        self._samples[name] = found = Batches(samplers.find(name).schema)
        return found

    def _users_stopped(self, **_: Any) -> None:
        """Send the remaining records before Locust reports that this worker has stopped.

        In a new greenlet: Locust may kill the caller's when a signal and the master's message come at the same time.
        """
        if self._running:
            self._running = False
            self._handover = gevent.spawn(self._hand_over)
        if self._handover is not None:
            self._handover.join()

    def _hand_over(self) -> None:
        self._ticker.kill()
        self._sampling.stop()
        self._recorder.close()
        self._send(OVER, self._parcel())
        self._user_context = self._environment.brownout = None

    def _quit(self, **_: Any) -> None:
        """Locust quits: stop the users first. The master reports the verdict and its exit code."""
        self._runner.stop()
        self._users_stopped()
        self._environment.process_exit_code = self._exit_code

    def _cannot_record(self, why: str) -> None:
        self._send(BROKEN, {"why": why})
