"""A run folder from a few words, with a known truth: what is put in here, the analysis must find again.

    made = make(tmp_path, steps=[Hole("gaming-mode", "vllm", at=40, length=60, hole_s=7.3)])
    made.path, made.lost_at("gaming-mode")

A small world without clocks: tiers in order, each serving but for its holes; a gateway that answers nothing for `hole_s`
after a loss, then takes the next tier, and stays with it for `sticky_s` after the return. A hole of the gateway itself is over
after `hole_s`; what it has under way it ends, unless it is killed (`unit_kill`). No Locust, no chaos.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from contract import samplers
from contract.records import (
    GATEWAY,
    Ask,
    Event,
    Lane,
    Offset,
    Outcome,
    Witness,
)
from contract.run import ABORTED, FINISHED, ArrowFile, JsonLines, open_run
from contract.samplers.client import Client
from contract.samplers.health import Health
from contract.schemas import REQUESTS

START = 1_795_000_000.0
UNATTENDED = ("classify", "nightly")
FALLBACK_S = 0.15  # what the gateway takes to turn to the next tier, once it does


@dataclass(frozen=True)
class Engine:
    """A tier: how long it takes to its first token, and between two."""

    name: str
    ttft_s: float
    tpot_s: float
    cloud: bool = False
    group: str | None = None  # one of several deployments, between which the gateway draws lots
    weight: float = 1.0  # of its lot


VLLM, OLLAMA, OPENAI = (
    Engine("vllm", 0.08, 0.02), Engine("ollama", 0.25, 0.06), Engine("openai", 0.35, 0.03, cloud=True),
)  # fmt: skip


@dataclass(frozen=True)
class Hole:
    """One trial of one step. Seconds from the run's start, or from the stage before."""

    step: str
    target: str
    at: float  # inject commanded
    length: float  # commanded → the mend is commanded
    hole_s: float = 0.0  # lost → the gateway turns to the next tier; asks fail at once
    hang_s: float = (
        0.0  # asks sent within this after lost are answered by the next tier, but only when it is over
    )
    lost_after_s: float = 0.2  # commanded → no longer serving
    effective_after_s: float = 1.5  # commanded → verified gone
    mend_s: float = 2.0  # mend commanded → verified
    sticky_s: float = 0.0  # verified → the gateway comes back to it
    trial: int = 1
    fault: str = "scale_to_zero"
    kept_s: float = 0.0  # kept connections are served so much longer than new ones

    @property
    def lost(self) -> float:
        return self.at + self.lost_after_s

    @property
    def mend(self) -> float:
        return self.at + self.length

    @property
    def back(self) -> float:
        return self.mend + self.mend_s

    def events(self, run: str) -> list[Event]:
        def event(at: float, move: str, stage: str) -> Event:
            return Event(
                START + at, run, move, stage, "timeline", self.step, self.trial, self.fault, self.target, None
            )

        return [
            event(self.at - 0.05, "inject", "begin"),
            event(self.at, "inject", "commanded"),
            event(self.at + self.effective_after_s, "inject", "effective"),
            event(self.mend - 0.05, "mend", "begin"),
            event(self.mend, "mend", "commanded"),
            event(self.back, "mend", "effective"),
        ]


@dataclass(frozen=True)
class Made:
    """A run folder and the truth that was put into it."""

    path: Path
    steps: tuple[Hole, ...]
    asks: tuple[Ask, ...]

    def hole(self, step: str, trial: int = 1) -> Hole:
        return next(h for h in self.steps if (h.step, h.trial) == (step, trial))

    def lost_at(self, step: str, trial: int = 1) -> float:
        return START + self.hole(step, trial).lost


@dataclass
class World:
    """Who answers an ask that is sent at `at`, and how."""

    engines: Sequence[Engine]
    holes: Sequence[Hole]
    random: random.Random
    shunned: Sequence[tuple[str, float, float]] = ()
    counter: int = 0
    asks: list[Ask] = field(default_factory=list)

    def new(self, at: float, lane: str, via: str = GATEWAY, tokens: int = 10, **more: Any) -> Ask:
        self.counter += 1
        return Ask(
            request_id=f"ask-{self.counter:05d}", scenario="chat" if lane == Lane.LOAD else str(lane), lane=lane,
            via=via, stream=True, intended_at=START + at, sent_at=START + at, max_tokens=tokens, prompt_tokens=12,
            worker="w1", **more,
        )  # fmt: skip

    def down(self, engine: Engine, at: float, kept: bool = False) -> Hole | None:
        for h in self.holes:
            if h.target == engine.name and h.lost + (h.kept_s if kept else 0) <= at < h.back:
                return h
        return None

    def through(self, at: float, lane: str, tokens: int = 10, **more: Any) -> Ask:
        """One ask through the gateway."""
        ask = self.new(at, lane, tokens=tokens, **more)
        if any(h.target == GATEWAY and h.lost <= at < h.lost + h.hole_s for h in self.holes):
            refuse(ask, Outcome.REFUSED, None)
            self.asks.append(ask)
            return ask
        wait_s, hops = 0.0, 0
        for engine in self._in_turn():
            if any(name == engine.name and start <= at < end for name, start, end in self.shunned):
                hops = 1
                continue
            hole = self._avoided(engine, at, kept=lane == Lane.PROBE_KEPT)
            if hole is None:
                self._serve(ask, at, engine, wait_s, tokens, hops)
                break
            lost = hole.lost + (hole.kept_s if lane == Lane.PROBE_KEPT else 0)
            if lost <= at < lost + hole.hole_s:
                refuse(ask, Outcome.REJECTED, 500)
                break
            hops = 1
            if lost <= at < lost + hole.hang_s:
                wait_s += lost + hole.hang_s - at
            elif at < hole.back:
                wait_s += FALLBACK_S if at < lost + hole.hang_s + 1 else 0.0  # then it is in cooldown
        else:
            refuse(ask, Outcome.REJECTED, 429)
        self.asks.append(ask)
        return ask

    def _in_turn(self) -> list[Engine]:
        """As the gateway tries them: of a group's deployments by lot, before the next tier."""
        found = []
        for group, peers in groupby(self.engines, key=lambda e: e.group):
            left = list(peers)
            while group is not None and len(left) > 1:
                drawn = self.random.choices(left, [e.weight for e in left])[0]
                found.append(drawn)
                left.remove(drawn)
            found += left
        return found

    def direct(self, at: float, engine: Engine, lane: str, tokens: int = 10, **more: Any) -> Ask:
        ask = self.new(at, lane, via=engine.name, tokens=tokens, **more)
        if self.down(engine, at):
            refuse(ask, Outcome.REFUSED, None)
        else:
            self._serve(ask, at, engine, 0.0, tokens, None)
        self.asks.append(ask)
        return ask

    def _avoided(self, engine: Engine, at: float, kept: bool) -> Hole | None:
        for h in self.holes:
            kept_s = h.kept_s if kept else 0.0
            if h.target == engine.name and h.lost + kept_s <= at < h.back + h.sticky_s:
                return h
        return None

    def _serve(
        self, ask: Ask, at: float, engine: Engine, wait_s: float, tokens: int, hops: int | None
    ) -> None:
        jitter = self.random.uniform(0.9, 1.15)
        ttft_s = wait_s + engine.ttft_s * jitter
        gaps = [engine.tpot_s * self.random.uniform(0.8, 1.2) for _ in range(tokens - 1)]
        answer(ask, engine.name, ttft_s, gaps, hops)
        for h in self.holes:  # a stream that was running when its tier went
            ended = at + (ask.latency_ms or 0) / 1000
            gone = h.target == engine.name or (h.target == ask.via == GATEWAY and h.fault == "unit_kill")
            if gone and at < h.lost < ended and tokens > 1:
                cut(ask, h.lost - at)


def answer(
    ask: Ask, tier: str, ttft_s: float, gaps_s: Sequence[float] = (), fallbacks: int | None = 0
) -> Ask:
    """Make it a good answer by this tier."""
    ask.outcome, ask.status, ask.error, ask.tier = Outcome.OK, 200, None, tier
    ask.headers_ms = ttft_s * 1000 - 1
    ask.ttft_ms, ask.gaps_ms = ttft_s * 1000, [g * 1000 for g in gaps_s]
    ask.latency_ms = (ttft_s + sum(gaps_s)) * 1000 + 1
    ask.output_tokens, ask.finish_reason, ask.witness = len(gaps_s) + 1, "length", Witness.END
    if ask.via == GATEWAY:
        ask.route_group, ask.route_fallbacks, ask.route_retries = tier, fallbacks, 0
    return ask


def refuse(ask: Ask, outcome: str, status: int | None, after_s: float = 0.004) -> Ask:
    """Make it a failure that came so soon."""
    ask.outcome, ask.status, ask.error = outcome, status, f"{status or 'connection refused'}"
    ask.tier = ask.ttft_ms = ask.witness = ask.output_tokens = None
    ask.gaps_ms, ask.latency_ms = [], after_s * 1000
    return ask


def cut(ask: Ask, after_s: float) -> Ask:
    """Cut it so long after it was sent; before its first token the gateway would have turned to the next tier."""
    ask.outcome, ask.error, ask.finish_reason, ask.witness = Outcome.CUT, "no finish_reason", None, None
    ask.ttft_ms = min(ask.ttft_ms or 0.0, after_s * 1000)
    ask.latency_ms = after_s * 1000
    came, kept = ask.ttft_ms, []
    for gap in ask.gaps_ms:
        came += gap
        if came > ask.latency_ms:
            break
        kept.append(gap)
    ask.gaps_ms, ask.output_tokens = kept, len(kept) + 1
    return ask


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
    extra: Sequence[Ask] = (),
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
    """A run folder. `status` None: never closed. `drop`: (move, stage) that were not written. `extra`: further asks.

    `overloaded`: (from, to) in which the load generator was late. `stalled`: (from, to) in which the probe did not ask.
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
    written = [*world.asks, *extra]
    for ask in written:
        if ask.outcome == Outcome.OK and ask.tier in unseen:
            ask.ttft_ms, ask.gaps_ms = None, []
        elif ask.outcome == Outcome.OK and ask.ttft_ms is not None and thoughts_s is not None:
            _think(ask, thoughts_s)
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


def _think(ask: Ask, thoughts_s: float) -> None:
    """Its first token becomes a thought; the content, if any, comes so much later."""
    assert ask.ttft_ms is not None
    assert ask.latency_ms is not None
    ask.thought_ms = ask.ttft_ms
    if thoughts_s == float("inf"):
        ask.ttft_ms = None
    else:
        ask.ttft_ms, ask.latency_ms = ask.ttft_ms + thoughts_s * 1000, ask.latency_ms + thoughts_s * 1000


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
        "max": f"{max(duration_s, max((h.mend for h in once), default=0.0) + 6):g}s",
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
            ask = world.new(
                at + k * 0.4, Lane.OVERHEAD, via=GATEWAY if side == "g" else top.name, pair=f"p{i}"
            )
            more_s = (overhead_s if side == "g" else 0.0) + (first_slower_s if k == 0 else 0.0)
            answer(ask, top.name, top.ttft_s + more_s + world.random.gauss(0, 0.002), [top.tpot_s] * 9)
            world.asks.append(ask)


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
        Hole("gaming-mode", "vllm", at=40, length=110, mend_s=4, sticky_s=12, effective_after_s=3),
        Hole("cpu-tier-too", "ollama", at=90, length=40, mend_s=3, effective_after_s=2),
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
