"""How llama.cpp's behaviour affects clients of a LiteLLM in front of it, and which settings help: the tables of docs/llamacpp.md.

python -m benchmarks.llamacpp                    all of them
python -m benchmarks.llamacpp terminated busy    these

A real LiteLLM in front of real llama.cpp servers, with requests from the harness's own client. Each case is a group of the
gateway with its own server; the next tier is a simulated engine. Seconds depend on the machine; the answering tier does not.
"""

import argparse
import contextlib
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from contract import page
from contract.command_line import Parser
from contract.refusal import no_such
from embedded import gateway
from embedded.ports import Reserved, free_port
from tests.chaos.stand import ROOT, until
from tests.embedded.llamacpp import MODELS, PYTHON, Llama
from tests.whole.client import ClientProcess

NEXT, ROOMY = "next", "roomy"
COOLDOWN_S = 120  # longer than a burst and the request after it
SHORT_S = 2  # a timeout shorter than the queue
STREAMS = 3  # in progress at SIGTERM
AT_ONCE, SLOTS = 6, 2
HELD_S = 6.0  # from the first request that waits, until the slots are given back
TOO_LONG = "through " * 5000  # tokens; a slot of the server below has 4096
PATIENT = {"first_token": 200.0, "silence": 100.0, "whole": 300.0}


@dataclass(frozen=True)
class Case:
    """One row: a setting of the server, of the gateway's deployment, or of how the server is ended."""

    name: str
    server: tuple[str, ...] = ()
    deployment: dict[str, Any] = field(default_factory=dict)
    killed_after_s: float | None = None
    wide: bool = False  # with a fallback for prompts that are too long


TERMINATED = (
    Case("nothing"),
    Case("llama.cpp: --sse-ping-interval 1", server=("--sse-ping-interval", "1s")),
    Case("Pod: terminationGracePeriodSeconds: 5", killed_after_s=5),
    Case("LiteLLM: timeout: 5", deployment={"timeout": 5}),
    Case("LiteLLM: stream_timeout: 5", deployment={"stream_timeout": 5}),
)
_CONTEXT = ("--context", "65536")
_NARROW = ("--slots", str(SLOTS), *_CONTEXT)
BUSY = (
    Case("nothing", server=_NARROW),
    Case(f"LiteLLM: timeout: {SHORT_S}", server=_NARROW, deployment={"timeout": SHORT_S}),
    Case(f"LiteLLM: stream_timeout: {SHORT_S}", server=_NARROW, deployment={"stream_timeout": SHORT_S}),
    Case(f"llama.cpp: --parallel {AT_ONCE + SLOTS}", server=("--slots", str(AT_ONCE + SLOTS), *_CONTEXT)),
    Case(f"LiteLLM: max_parallel_requests: {SLOTS}", server=_NARROW, deployment={"max_parallel_requests": SLOTS}),
)  # fmt: skip
_SMALL = ("--slots", "2", "--context", "8192")
LONG_PROMPT = (
    Case("nothing", server=_SMALL),
    Case("llama.cpp: --ctx-size doubled", server=("--slots", "2", "--context", "16384")),
)
# Separate, because one entry of these affects all groups.
CONTEXT_FALLBACKS = (
    Case("LiteLLM: context_window_fallbacks, for its group", server=_SMALL, wide=True),
    Case("LiteLLM: context_window_fallbacks, for another group", server=_SMALL),
)


@dataclass(frozen=True)
class Terminated:
    """The streams of one server that got SIGTERM."""

    silent_s: float  # the longest, from the last token to the end
    outcomes: Counter[str]  # by the witness
    reported: Counter[str]  # their end as reported by the gateway


@dataclass(frozen=True)
class Busy:
    """A burst of requests while all slots are held, and one request after it."""

    ttft_s: list[float]  # in order
    tiers: Counter[str]
    outcomes: Counter[str]
    afterwards: str | None  # the tier that answers after the burst, with all slots free


@dataclass(frozen=True)
class LongPrompt:
    tier: str | None
    outcome: str
    afterwards: str | None  # the tier that answers a short request then


class Behind:
    """The gateway, with a group for each case, and the next tier. Each measure starts its own server."""

    def __init__(self, folder: Path, cases: Sequence[Case]) -> None:
        os.environ["LITELLM_MASTER_KEY"] = f"sk-{secrets.token_hex(8)}"
        self._folder = folder
        self._groups = {id(case): f"case-{n}" for n, case in enumerate(cases)}
        self._ports = {name: Reserved() for name in (*self._groups.values(), NEXT, ROOMY)}
        self._port = free_port(random.Random())
        self._ends = contextlib.ExitStack()
        config = folder / "litellm.yaml"
        config.write_text(yaml.safe_dump(self._configuration(cases)))
        self.topology = folder / "topology.yaml"
        self.topology.write_text(yaml.safe_dump(self._topology()))
        try:
            engine = [
                "-m",
                "embedded.engine",
                "--personality",
                "vllm",
                "--model",
                "m",
                "--port",
                self._at(NEXT),
            ]
            self._run([sys.executable, *engine])
            self._run(self._llama(ROOMY, "--slots", "1", "--context", "16384"))
            with (folder / "litellm.log").open("wb") as log:
                env = {**os.environ, **gateway.ENVIRONMENT}
                self._run(
                    gateway.command(config, self._port, folder / "litellm.pid"),
                    env=env,
                    stdout=log,
                    stderr=log,
                )
            until(self._ready, "the gateway is up", 300)
            assert self.answerer(NEXT) == NEXT  # the first answer of a gateway takes seconds
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._ends.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def server(self, case: Case) -> Iterator[Llama]:
        """The case's own llama.cpp, ready once it has answered the gateway."""
        group = self._groups[id(case)]
        process = subprocess.Popen(self._llama(group, *case.server), cwd=ROOT)
        found = Llama(process, self._ports[group].port, self._folder)
        try:
            until(found.healthy, "llama.cpp is up", 60)
            until(lambda: self.answerer(group) == group, "it gets requests", 60)
            yield found
        finally:
            process.kill()
            process.wait()

    def group(self, case: Case) -> str:
        return self._groups[id(case)]

    def client(self, group: str, at_once: int = 1, **more: Any) -> ClientProcess:
        record = {"stream": True, "model": group, "repeat": at_once, **more}
        return ClientProcess(self.topology, [record], at_once=at_once, deadlines=PATIENT)

    def answerer(self, group: str) -> str | None:
        """The tier that answers a short request."""
        return self.client(group, max_tokens=2).records()[0]["tier"]

    def _ready(self) -> bool:
        return page.get(f"http://127.0.0.1:{self._port}{gateway.READY}", 5.0).status == 200

    def _at(self, name: str) -> str:
        return str(self._ports[name].port)

    def _llama(self, name: str, *parameters: str) -> list[str]:
        line = [str(PYTHON), "-m", "embedded.llamacpp", "--models", str(MODELS), "--model", "m"]
        return [*line, "--port", self._at(name), *parameters]

    def _run(self, argv: list[str], **more: Any) -> None:
        process = subprocess.Popen(argv, cwd=ROOT, **more)
        self._ends.callback(process.wait)
        self._ends.callback(process.kill)

    def _topology(self) -> dict[str, Any]:
        return {
            "gateway": {
                "url": f"http://127.0.0.1:{self._port}", "model": NEXT, "api_key": "${LITELLM_MASTER_KEY}",
            },
            "tiers": [{"name": name, "match": {"group": name}} for name in self._ports],
        }  # fmt: skip

    def _configuration(self, cases: Sequence[Case]) -> dict[str, Any]:
        own = {self._groups[id(case)]: case.deployment for case in cases}
        usual = {"model": "openai/m", "api_key": "none", "timeout": 120}
        models = [
            {"model_name": name, "litellm_params": usual | {"api_base": f"http://127.0.0.1:{self._at(name)}/v1"} | own.get(name, {})}
            for name in self._ports
        ]  # fmt: skip
        wide: list[dict[str, list[str]]] = [{self._groups[id(c)]: [ROOMY]} for c in cases if c.wide]
        return {
            "model_list": models,
            "litellm_settings": {"request_timeout": 120, "num_retries": 0, "telemetry": False},
            "router_settings": {
                "fallbacks": [{group: [NEXT]} for group in own],
                "allowed_fails": 1,
                "cooldown_time": COOLDOWN_S,
                **({"context_window_fallbacks": wide} if wide else {}),
            },
            "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
        }


def terminated(behind: Behind, case: Case) -> Terminated:
    """SIGTERM while it streams; with `killed_after_s` SIGKILL after that, like a kubelet or systemd."""
    with behind.server(case) as server:
        client = behind.client(behind.group(case), at_once=STREAMS, max_tokens=6000)
        until(lambda: _streaming(server) == STREAMS, "all its streams have begun", 60)
        server.process.send_signal(signal.SIGTERM)
        if case.killed_after_s is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(case.killed_after_s)
            server.process.kill()
        records = client.records(within_s=200)
    silent = [r["latency_ms"] - (r["ttft_ms"] or 0) - sum(r["gaps_ms"] or ()) for r in records]
    return Terminated(
        max(silent) / 1000,
        Counter(r["outcome"] for r in records),
        Counter(f"finish_reason {r['finish_reason']}" if r["finish_reason"] else _words(r["error"]) for r in records),
    )  # fmt: skip


def busy(behind: Behind, case: Case) -> Busy:
    """Requests while direct requests to the server hold as many slots as the narrow servers have."""
    group = behind.group(case)
    with behind.server(case) as server:
        over = threading.Event()
        holding = threading.Thread(target=_hold, args=(server, over))
        holding.start()
        try:
            until(lambda: _streaming(server) == SLOTS, "the slots are held", 60)
            records = behind.client(group, at_once=AT_ONCE, max_tokens=5).records()
        finally:
            over.set()
            holding.join()
        until(lambda: _streaming(server) == 0, "its slots are free", 180)
        afterwards = behind.answerer(group)
    return Busy(
        sorted(r["ttft_ms"] / 1000 for r in records if r["ttft_ms"] is not None),
        Counter(_name(r["tier"], group) for r in records),
        Counter(r["outcome"] for r in records),
        _name(afterwards, group),
    )


def long_prompt(behind: Behind, case: Case) -> LongPrompt:
    """Three prompts that are too long for a slot, then a short one."""
    group = behind.group(case)
    with behind.server(case):
        records = behind.client(group, prompt=TOO_LONG, max_tokens=5).records()
        for _ in range(2):
            records += behind.client(group, prompt=TOO_LONG, max_tokens=5).records()
        afterwards = behind.answerer(group)
    ((tier, outcome),) = {(_name(r["tier"], group), r["outcome"]) for r in records}
    return LongPrompt(tier, outcome, _name(afterwards, group))


MEASURES: dict[str, tuple[Sequence[Case], Callable[[Behind, Case], Any]]] = {
    "terminated": (TERMINATED, terminated),
    "busy": (BUSY, busy),
    "long_prompt": (LONG_PROMPT, long_prompt),
    "context_fallbacks": (CONTEXT_FALLBACKS, long_prompt),
}
HEADS = {
    "terminated": ("silent, at most", "outcome by the witness", "end reported by the gateway"),
    "busy": ("TTFT, median", "TTFT, at most", "answered by", "outcomes", "answered afterwards by"),
    "long_prompt": ("answered by", "outcome", "a short one afterwards is answered by"),
    "context_fallbacks": ("answered by", "outcome", "a short one afterwards is answered by"),
}


def cells(found: Terminated | Busy | LongPrompt) -> tuple[str, ...]:
    match found:
        case Terminated():
            return f"{found.silent_s:.1f} s", _counted(found.outcomes), _counted(found.reported)
        case Busy():
            median = found.ttft_s[len(found.ttft_s) // 2]
            tiers, outcomes = _counted(found.tiers), _counted(found.outcomes)
            return f"{median:.1f} s", f"{found.ttft_s[-1]:.1f} s", tiers, outcomes, str(found.afterwards)
        case LongPrompt():
            return str(found.tier), found.outcome, str(found.afterwards)


def main() -> int:
    line = Parser(prog="python -m benchmarks.llamacpp", description=__doc__)
    line.add_argument("measures", nargs="*", type=_measure, help=f"of {', '.join(MEASURES)}; by default all")
    names = line.parse_args().measures or list(MEASURES)
    for name in names:
        cases, measure = MEASURES[name]
        print(f"\n| set | {' | '.join(HEADS[name])} |")
        print(f"| --- |{' --- |' * len(HEADS[name])}", flush=True)
        with tempfile.TemporaryDirectory() as folder, Behind(Path(folder), cases) as behind:
            for case in cases:
                print(f"| {case.name} | {' | '.join(cells(measure(behind, case)))} |", flush=True)
    return 0


def _measure(name: str) -> str:
    if name not in MEASURES:
        raise argparse.ArgumentTypeError(no_such("measure", name, MEASURES))
    return name


def _streaming(server: Llama) -> int | None:
    """Slots that have begun to generate. None: unknown, because waiting requests occupy all of its threads."""
    try:
        slots = server.request_json("/slots")[1]
    except TimeoutError:
        return None
    return sum(s["is_processing"] and s["next_token"][0]["n_decoded"] > 5 for s in slots)


def _hold(server: Llama, over: threading.Event) -> None:
    """Hold the slots until a request has waited HELD_S, or `over` is set."""
    # Streamed: for a plain request the server does not notice at once that the client has gone.
    body = {"messages": [{"role": "user", "content": "Count."}], "max_tokens": 30_000, "stream": True}
    requests = [
        server.send("/v1/chat/completions", body, **{"Content-Type": "application/json"})
        for _ in range(SLOTS)
    ]
    while not over.wait(0.1):
        if _a_request_waits(server):
            over.wait(HELD_S)
            break
    for record in requests:
        record.close()


def _a_request_waits(server: Llama) -> bool:
    """Whether a request waits. The server has few HTTP threads: if waiting requests occupy all of them, it answers no page."""
    try:
        return server.metric("requests_deferred") > 0
    except TimeoutError:
        return True


def _name(tier: str | None, own: str) -> str:
    return "llama.cpp" if tier == own else tier or "none"


def _words(error: str | None) -> str:
    return (error or "nothing").split(":")[0][:60]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {word}" for word, n in counts.most_common())


if __name__ == "__main__":
    raise SystemExit(main())
