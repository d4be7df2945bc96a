"""A worker's part: takes its stage from the master, lets its users play, and sends all they leave to the master.

It writes no file. What it cannot do it says to the master, in words.
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
from contract.refusal import EXIT_BAD_INPUT, EXIT_PASS, Refusal
from contract.sampler import Process
from contract.schemas import REQUESTS
from scenarios.gateway import stack_key
from scenarios.gateway.arrivals import Share
from scenarios.gateway.distributed.messages import (
    BROKEN,
    CURTAIN,
    HELLO,
    OVER,
    PARCEL,
    PING,
    PONG,
    STAGE,
    STAGED,
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
from scenarios.gateway.user_context import Stage, of_told
from scenarios.gateway.warmup import knock, preflight

_TALLY_S = 1.0


class LoadWorker:
    """One worker; it plays in one run at a time."""

    def __init__(
        self,
        environment: Environment,
        scenarios: Mapping[str, type[GatewayUser]],
    ) -> None:
        """`scenarios`: the users by the names of their scenarios."""
        self._environment, self._runner, self._scenarios = environment, environment.runner, scenarios
        self._clock = Clock()
        self._stage: Stage | None = None
        self._playing = False
        self._handing: gevent.Greenlet | None = None
        self._exit_code = EXIT_PASS
        for word, listener in ((STAGE, self._set), (CURTAIN, self._raise), (PING, self._answer)):
            self._runner.register_message(word, listener)
        environment.events.report_to_master.add_listener(self._report)
        environment.events.test_stop.add_listener(self._over)
        environment.events.quitting.add_listener(self._quit)
        self._stop, self._stopping = self._runner.stop, gevent.lock.RLock()
        self._runner.stop = self._stop_in_turn
        self._say(HELLO, {})

    def _stop_in_turn(self) -> None:
        """A signal and the master's word may stop this worker at the same time; Locust's own stop bears only one."""
        with self._stopping:
            self._stop()

    def _say(self, word: str, data: dict[str, Any]) -> None:
        self._runner.send_message(word, data)

    def _set(self, msg: Any, **_: Any) -> None:
        """The master's STAGE. Locust reads no further message meanwhile, so no user is begun before this is done."""
        self._clock = Clock()  # of this run: a machine that slept since would tell another instant
        who = {
            "host": socket.gethostname(), "pid": os.getpid(), "boot": boot(), "anchor_s": self._clock.anchor_s,
        }  # fmt: skip
        warm = Memory()
        try:
            stack_key.take(topologies.read_text(msg.data["topology"]))
            recorder = Recorder(warm, self._cannot_record)
            stage = of_told(msg.data, recorder, self._clock, msg.data["worker"], msg.data["prefix"])
            proxies.refuse(stage.topology, os.environ)
            options = self._environment.parsed_options
            stage.scenario_inputs = {
                name: self._scenarios[name].read(options) for name in msg.data["scenario_inputs"]
            }
            self._opened = self._open_loop(stage, msg.data)
            preflight(knock(stage), stage.topology)
            recorder.flush()
        except Refusal as e:
            self._exit_code = EXIT_BAD_INPUT
            self._say(STAGED, who | {"refused": str(e)})
            return
        except Exception as e:  # ours; Locust would only log it, and the master would wait
            self._say(STAGED, who | {"refused": f"{type(e).__name__}: {e}"})
            raise
        self._stage, self._exit_code = stage, EXIT_PASS
        self._say(STAGED, who | {"refused": None, "warm": [packed(warm, REQUESTS)]})

    def _open_loop(self, stage: Stage, said: Mapping[str, Any]) -> type[OpenLoop] | None:
        """The user of this worker's share of the arrivals; its shape is read here as the master has read it."""
        if stage.arrivals is None:
            return None
        if said["shape"] is not None:
            shape, options = self._environment.shape_class, self._environment.parsed_options
            if not isinstance(shape, LoadShape) or type(shape).__name__ != said["shape"]:
                raise Refusal(f"the shape {said['shape']} is not here; give this worker the master's -f too")
            vars(options).update(said["options"])
            shape.read(options)
            stage.factor = shape.factor
        return open_loop([self._scenarios[name] for name in said["scenarios"]])

    def _raise(self, msg: Any, **_: Any) -> None:
        """The master's CURTAIN: from here on what users do is recorded."""
        stage = self._stage
        assert stage is not None, "a curtain comes after its stage"
        said = msg.data
        stage.overhead_until = said["overhead_until"]
        self._requests = Batches(REQUESTS)
        stage.recorder = self._recorder = Recorder(self._requests, self._cannot_record)
        self._samples: dict[str, Batches] = {}
        self._sampling = Sampling(
            samplers.every(Process.EACH), stage, lambda: self._runner.user_count, self._batches, self._cannot_record
        )  # fmt: skip
        self._recorder.start()
        self._sampling.start()
        self._ticker = gevent.spawn(self._tell_tally)
        self._playing = True
        self._environment.brownout = stage
        # Locust may give any of them to any worker; an open loop it is not told of, so that each has exactly one.
        self._environment.user_classes = [*self._scenarios.values(), Idle]
        if said["share"] is not None:
            stage.share = Share(**said["share"])
        if self._opened is not None and said["share"] is not None:
            stage.max_in_flight = max(1, stage.max_in_flight // stage.share.of)
            self._environment.user_classes.append(self._opened)
            self._runner.spawn_users({self._opened.__name__: 1})

    def _answer(self, msg: Any, **_: Any) -> None:
        heard_at = self._clock.now()
        self._say(PONG, msg.data | {"heard_at": heard_at, "answered_at": self._clock.now()})

    def _tell_tally(self) -> None:
        while True:
            gevent.sleep(_TALLY_S)
            self._say(TALLY, asdict(self._recorder.tally.snapshot()))

    def _report(self, client_id: str, data: dict[str, Any]) -> None:
        """Locust's own report to the master, every three seconds: the records go with it."""
        if self._playing:
            self._recorder.flush()
            data[PARCEL] = self._parcel()

    def _parcel(self) -> dict[str, Any]:
        tally = asdict(self._recorder.tally.snapshot())
        samples = {name: batches.take() for name, batches in self._samples.items()}
        return {"requests": self._requests.take(), "samples": samples, "tally": tally}

    def _batches(self, name: str) -> Batches:
        self._samples[name] = found = Batches(samplers.find(name).schema)
        return found

    def _over(self, **_: Any) -> None:
        """The users have gone. This goes to the master before Locust's word that this worker has stopped.

        Not in the greenlet of whoever stopped, which Locust may kill: a signal and the master's word come together.
        """
        if self._playing:
            self._playing = False
            self._handing = gevent.spawn(self._hand_over)
        if self._handing is not None:
            self._handing.join()

    def _hand_over(self) -> None:
        self._ticker.kill()
        self._sampling.stop()
        self._recorder.close()
        self._say(OVER, self._parcel())
        self._stage = self._environment.brownout = None

    def _quit(self, **_: Any) -> None:
        """Locust leaves: what still plays is stopped first. The verdict is the master's, its exit code too."""
        self._runner.stop()
        self._over()
        self._environment.process_exit_code = self._exit_code

    def _cannot_record(self, why: str) -> None:
        self._say(BROKEN, {"why": why})
