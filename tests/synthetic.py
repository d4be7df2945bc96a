"""A run folder from a few words, with a known truth: what is put in here, the analysis must find again.

    made = make(tmp_path, steps=[Hole("gaming-mode", "vllm", at=40, length=60, hole_s=7.3)])
    made.path, made.lost_at("gaming-mode")

Who answers in it, and how: `tests/synthetic_world.py`. No Locust, no chaos.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from contract import samplers
from contract.records import GATEWAY, Event, Lane, Offset, Outcome, RequestRecord
from contract.run import ABORTED, FINISHED, ArrowFile, JsonLines, open_run
from contract.samplers.client import Client
from contract.samplers.health import Health
from contract.schemas import REQUESTS
from tests.synthetic_world import OLLAMA, OPENAI, START, VLLM, Engine, Hole, World, answer

UNATTENDED = ("classify", "nightly")


@dataclass(frozen=True)
class Made:
    """A run folder and the truth that was put into it."""

    path: Path
    steps: tuple[Hole, ...]
    requests: tuple[RequestRecord, ...]

    def hole(self, step: str, trial: int = 1) -> Hole:
        return next(h for h in self.steps if (h.step, h.trial) == (step, trial))

    def lost_at(self, step: str, trial: int = 1) -> float:
        return START + self.hole(step, trial).lost


def make(
    results: Path,
    steps: Sequence[Hole] = (),
    duration_s: float = 120.0,
    rate: float = 4.0,
    probe_rate: float = 5.0,
    pairs: int = 24,
    overhead_ms: float = 14.0,
    first_slower_ms: float = 0.0,
    engines: Sequence[Engine] = (VLLM, OLLAMA, OPENAI),
    cooldown: str | None = "30s",
    expect: dict[str, Any] | None = None,
    extra: Sequence[RequestRecord] = (),
    drop: Sequence[tuple[str, str]] = (),
    events: Sequence[Event] | None = None,
    status: str | None = FINISHED,
    reason: str | None = None,
    health: bool | Sequence[Health] = True,
    unseen: Sequence[str] = (),
    thoughts_s: float | None = None,
    overloaded: Sequence[tuple[float, float]] = (),
    stalled: Sequence[tuple[float, float]] = (),
    shunned: Sequence[tuple[str, float, float]] = (),
    gateway: Mapping[str, int] = MappingProxyType({"1.106.2": 12}),
    seed: int = 1,
    name: str = "synthetic",
) -> Made:
    """A run folder. `status` None: never closed. `drop`: (move, stage) that were not written. `extra`: further requests.

    `overloaded`: (from, to) in which the load generator was late. `stalled`: (from, to) in which the probe sent no request.
    `shunned`: (tier, from, to) in which the gateway leaves a tier out although it serves, as LiteLLM 1.108.7 does with a healthy
    fallback. `gateway`: version → answers that named it.
    `unseen`: tiers whose good answers show no token, since their caps were spent on thoughts. `thoughts_s`: good answers begin
    with thoughts that are shown, for so long; endless: no content follows.
    """
    world = World(engines, steps, random.Random(seed), shunned)
    _load(world, duration_s, rate)
    _probe(world, duration_s, probe_rate, stalled)
    _pairs(world, duration_s, pairs, overhead_ms / 1000, first_slower_ms / 1000)
    inputs = {"topology.yaml": topology_text(engines, cooldown), "gateway.yaml": "{}\n"}
    if steps or expect is not None:
        inputs["timeline.yaml"] = timeline_text(steps, expect or {}, duration_s)
    run = open_run(results, name, START, inputs, {"made": "by tests"}, seed, gateway, unattended=UNATTENDED)
    written = [*world.requests, *extra]
    for record in written:
        if record.outcome == Outcome.OK and record.tier in unseen:
            record.ttft_ms, record.gaps_ms = None, []
        elif record.outcome == Outcome.OK and record.ttft_ms is not None and thoughts_s is not None:
            _think(record, thoughts_s)
    _write(
        ArrowFile(run.path / "requests.arrow", REQUESTS),
        [a for a in written if not a.lane.startswith("probe")],
    )
    _write(ArrowFile(run.path / "probe.arrow", REQUESTS), [a for a in written if a.lane.startswith("probe")])
    if health:
        rows = _health(world, duration_s) if health is True else health
        _write(samplers.create(run.path, "health"), rows)
    _write(samplers.create(run.path, "client"), _client(duration_s, rate, overloaded))
    clocks = JsonLines(run.path / "clocks.jsonl")
    clocks.append(Offset(START, "w1", 0.0, 0.0))
    clocks.close()
    lines = JsonLines(run.path / "chaos.jsonl")
    told = events if events is not None else [e for h in steps for e in h.events(run.path.name)]
    for event in sorted(told, key=lambda e: e.at):
        if (event.move, event.stage) not in drop:
            lines.append(event)
    lines.close()
    if status is not None:
        run.close(
            status, START + duration_s, reason if status == ABORTED else None, {"requests": len(written)}
        )
    return Made(run.path, tuple(steps), tuple(written))


def _think(record: RequestRecord, thoughts_s: float) -> None:
    """Its first token becomes a thought; the content, if any, comes so much later."""
    assert record.ttft_ms is not None
    assert record.latency_ms is not None
    record.thought_ms = record.ttft_ms
    if thoughts_s == float("inf"):
        record.ttft_ms = None
    else:
        record.ttft_ms, record.latency_ms = (
            record.ttft_ms + thoughts_s * 1000,
            record.latency_ms + thoughts_s * 1000,
        )


def topology_text(engines: Sequence[Engine], cooldown: str | None) -> str:
    gateway: dict[str, Any] = {"url": "http://127.0.0.1:4000", "model": engines[0].name}
    if cooldown:
        gateway["cooldown"] = cooldown
    tiers = [
        {
            "name": e.name, "match": {"group": e.group, "api_base": f"http://{e.name}/v1"} if e.group else {"group": e.name}, "engine": f"{e.name} (synthetic)", "model": f"model-of-{e.name}",
            "url": f"http://127.0.0.1:{8000 + i}/v1", "health": f"http://127.0.0.1:{8000 + i}/health",
        } | ({"cloud": True} if e.cloud else {})
        for i, e in enumerate(engines)
    ]  # fmt: skip
    return yaml.safe_dump({"gateway": gateway, "tiers": tiers}, sort_keys=False)


def timeline_text(steps: Sequence[Hole], expect: dict[str, Any], duration_s: float) -> str:
    once = [h for h in steps if h.trial == 1]
    first = min((h.at for h in once), default=1.0)
    data = {
        "hypothesis": "what was put in is found again",
        "baseline": f"{first:g}s",
        "settle": "5s",
        "max": f"{max(duration_s, max((h.restore for h in once), default=0.0) + 6):g}s",
        "objectives": {"ttft_ms": 2000},
        "steps": [
            {"name": h.step, "at": f"{h.at:g}s", "for": f"{h.length:g}s", "fault": h.fault, "target": h.target}
            for h in once
        ] or [{"name": "never", "at": f"{first:g}s", "for": "1s", "fault": "scale_to_zero", "target": "vllm"}],
        "expect": expect,
    }  # fmt: skip
    return yaml.safe_dump(data, sort_keys=False)


def _load(world: World, duration_s: float, rate: float) -> None:
    at = 0.05
    while rate > 0 and at < duration_s - 2:
        world.through(at, Lane.LOAD, tokens=10 if world.counter % 3 else 24)
        at += world.random.expovariate(rate)


def _probe(world: World, duration_s: float, rate: float, stalled: Sequence[tuple[float, float]]) -> None:
    lanes = (Lane.PROBE_NEW, Lane.PROBE_KEPT)
    for i in range(int((duration_s - 2) * rate)):
        at = i / rate + 0.03
        if not any(start <= at < end for start, end in stalled):
            world.through(at, lanes[i % 2], tokens=1)


def _pairs(world: World, duration_s: float, pairs: int, overhead_s: float, first_slower_s: float) -> None:
    """ABBA or BAAB against the first tier, spread over the first third of the run."""
    top = world.engines[0]
    for i in range(pairs):
        at = 1 + i * (duration_s / 3) / max(1, pairs)
        order = world.random.choice(("gddg", "dggd"))
        for k, side in enumerate(order):
            if world.down(top, at + k * 0.4):
                if side == "g":
                    world.through(at + k * 0.4, Lane.OVERHEAD, pair=f"p{i}")
                else:
                    world.direct(at + k * 0.4, top, Lane.OVERHEAD, pair=f"p{i}")
                continue
            record = world.new(
                at + k * 0.4, Lane.OVERHEAD, via=GATEWAY if side == "g" else top.name, pair=f"p{i}"
            )
            more_s = (overhead_s if side == "g" else 0.0) + (first_slower_s if k == 0 else 0.0)
            answer(record, top.name, top.ttft_s + more_s + world.random.gauss(0, 0.002), [top.tpot_s] * 9)
            world.requests.append(record)


def _health(world: World, duration_s: float) -> list[Health]:
    rows = []
    for second in range(int(duration_s)):
        for engine in world.engines:
            up = world.down(engine, second + 0.5) is None
            rows.append(
                Health(START + second + 0.5, engine.name, up, 200 if up else None, 1.5 if up else None)
            )
    return rows


def _client(duration_s: float, rate: float, overloaded: Sequence[tuple[float, float]]) -> list[Client]:
    rows = []
    for s in range(int(duration_s)):  # each tells of the second before
        late = any(start < s and s - 1 < end for start, end in overloaded)
        lag_ms = 900.0 if late else 1.2
        rows.append(Client(START + s, "w1", 12.0, lag_ms, 4, int(rate), int(rate), 0, 0.4, 1))
    return rows


def _write(file: ArrowFile, records: Sequence[Any]) -> None:
    for i in range(0, len(records), 200):  # as a run does: batch after batch
        file.append(records[i : i + 200])
    file.close()


def rounds(hole: Hole, count: int, every_s: float) -> list[Hole]:
    """The same step again and again: `count` trials."""
    return [replace(hole, at=hole.at + i * every_s, trial=i + 1) for i in range(count)]


def three_tier(results: Path, **more: Any) -> Made:
    """The timeline three_tier as it ought to go: the GPU tier leaves, the CPU tier too for a while, both return."""
    steps = [
        Hole("gaming-mode", "vllm", at=40, length=110, restore_s=4, sticky_s=12, effective_after_s=3),
        Hole("cpu-tier-too", "ollama", at=90, length=40, restore_s=3, effective_after_s=2),
    ]
    expect = {
        "failover": {"id": "NFR65", "step": "gaming-mode", "to": "ollama", "max_s": 5},
        "overhead": {"id": "NFR66", "max_ms": 100},
        "cloud_only_in_need": {"id": "NFR68"},
        "continuity": {"min_good": 0.99},
        "cuts": {"max_per_trial": 5},
        "recovery": {"max_s": 60},
        "exercised": {"gaming-mode": {"ollama": 5}, "cpu-tier-too": {"openai": 3}},
    }
    given: dict[str, Any] = {"steps": steps, "expect": expect, "duration_s": 205, "name": "three_tier"}
    return make(results, **given | more)
