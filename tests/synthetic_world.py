"""A small simulation without clocks: tiers in order, each serving except in its holes, and the gateway in front of them.

The gateway answers nothing for `hole_s` after a loss, then uses the next tier, and stays with it for `sticky_s` after the
return. A hole of the gateway itself ends after `hole_s`; it completes open requests, unless it is killed (`unit_kill`).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from contract.records import GATEWAY, Event, Lane, Outcome, RequestRecord, Witness

START = 1_795_000_000.0
FALLBACK_S = 0.15  # the time that the gateway needs to switch to the next tier


@dataclass(frozen=True)
class Engine:
    """A tier: the time to its first token, and between two tokens."""

    name: str
    ttft_s: float
    tpot_s: float
    cloud: bool = False
    group: str | None = None  # one of several deployments, from which the gateway picks at random
    weight: float = 1.0  # of its random choice


VLLM, OLLAMA, OPENAI = (
    Engine("vllm", 0.08, 0.02), Engine("ollama", 0.25, 0.06), Engine("openai", 0.35, 0.03, cloud=True),
)  # fmt: skip


@dataclass(frozen=True)
class Hole:
    """One trial of one step. Seconds from the run's start, or from the stage before."""

    step: str
    target: str
    at: float  # inject commanded
    length: float  # commanded → the restore is commanded
    hole_s: float = 0.0  # lost → the gateway turns to the next tier; requests fail at once
    hang_s: float = (
        0.0  # requests sent within this time after lost are answered by the next tier, but only at its end
    )
    lost_after_s: float = 0.2  # commanded → no longer serving
    effective_after_s: float = 1.5  # commanded → verified gone
    restore_s: float = 2.0  # restore commanded → verified
    sticky_s: float = 0.0  # verified → the gateway comes back to it
    trial: int = 1
    fault: str = "scale_to_zero"
    kept_s: float = 0.0  # kept connections are served this much longer than new ones

    @property
    def lost(self) -> float:
        return self.at + self.lost_after_s

    @property
    def restore(self) -> float:
        return self.at + self.length

    @property
    def back(self) -> float:
        return self.restore + self.restore_s

    def events(self, run: str) -> list[Event]:
        def event(at: float, move: str, stage: str, detail: dict[str, str] | None = None) -> Event:
            return Event(
                START + at,
                run,
                move,
                stage,
                "timeline",
                self.step,
                self.trial,
                self.fault,
                self.target,
                None,
                detail,
            )

        return [
            event(self.at - 0.05, "inject", "begin"),
            event(self.at, "inject", "commanded"),
            event(self.at + self.effective_after_s, "inject", "effective"),
            event(self.restore - 0.05, "restore", "begin"),
            event(self.restore, "restore", "commanded"),
            event(self.back, "restore", "effective", {"answered": "yes"}),
        ]


@dataclass
class World:
    """Which tier answers a request that is sent at `at`, and how."""

    engines: Sequence[Engine]
    holes: Sequence[Hole]
    random: random.Random
    shunned: Sequence[tuple[str, float, float]] = ()
    counter: int = 0
    requests: list[RequestRecord] = field(default_factory=list)

    def new(self, at: float, lane: str, via: str = GATEWAY, tokens: int = 10, **more: Any) -> RequestRecord:
        self.counter += 1
        return RequestRecord(
            request_id=f"req-{self.counter:05d}", scenario="chat" if lane == Lane.LOAD else str(lane), lane=lane,
            via=via, stream=True, scheduled_at=START + at, sent_at=START + at, max_tokens=tokens, prompt_tokens=12,
            worker="w1", **more,
        )  # fmt: skip

    def down(self, engine: Engine, at: float, kept: bool = False) -> Hole | None:
        for h in self.holes:
            if h.target == engine.name and h.lost + (h.kept_s if kept else 0) <= at < h.back:
                return h
        return None

    def through(self, at: float, lane: str, tokens: int = 10, **more: Any) -> RequestRecord:
        """One request through the gateway."""
        record = self.new(at, lane, tokens=tokens, **more)
        if any(h.target == GATEWAY and h.lost <= at < h.lost + h.hole_s for h in self.holes):
            refuse(record, Outcome.REFUSED, None)
            self.requests.append(record)
            return record
        wait_s, hops = 0.0, 0
        for engine in self._in_turn():
            if any(name == engine.name and start <= at < end for name, start, end in self.shunned):
                hops = 1
                continue
            hole = self._avoided(engine, at, kept=lane == Lane.PROBE_KEPT)
            if hole is None:
                self._serve(record, at, engine, wait_s, tokens, hops)
                break
            lost = hole.lost + (hole.kept_s if lane == Lane.PROBE_KEPT else 0)
            if lost <= at < lost + hole.hole_s:
                refuse(record, Outcome.REJECTED, 500)
                break
            hops = 1
            if lost <= at < lost + hole.hang_s:
                wait_s += lost + hole.hang_s - at
            elif at < hole.back:
                wait_s += FALLBACK_S if at < lost + hole.hang_s + 1 else 0.0  # then it is in cooldown
        else:
            refuse(record, Outcome.REJECTED, 429)
        self.requests.append(record)
        return record

    def _in_turn(self) -> list[Engine]:
        """In the order of the gateway: a group's deployments at random, before the next tier."""
        found = []
        for group, peers in groupby(self.engines, key=lambda e: e.group):
            left = list(peers)
            while group is not None and len(left) > 1:
                drawn = self.random.choices(left, [e.weight for e in left])[0]
                found.append(drawn)
                left.remove(drawn)
            found += left
        return found

    def direct(self, at: float, engine: Engine, lane: str, tokens: int = 10, **more: Any) -> RequestRecord:
        record = self.new(at, lane, via=engine.name, tokens=tokens, **more)
        if self.down(engine, at):
            refuse(record, Outcome.REFUSED, None)
        else:
            self._serve(record, at, engine, 0.0, tokens, None)
        self.requests.append(record)
        return record

    def _avoided(self, engine: Engine, at: float, kept: bool) -> Hole | None:
        for h in self.holes:
            kept_s = h.kept_s if kept else 0.0
            if h.target == engine.name and h.lost + kept_s <= at < h.back + h.sticky_s:
                return h
        return None

    def _serve(
        self, record: RequestRecord, at: float, engine: Engine, wait_s: float, tokens: int, hops: int | None
    ) -> None:
        jitter = self.random.uniform(0.9, 1.15)
        ttft_s = wait_s + engine.ttft_s * jitter
        gaps = [engine.tpot_s * self.random.uniform(0.8, 1.2) for _ in range(tokens - 1)]
        answer(record, engine.name, ttft_s, gaps, hops)
        for h in self.holes:  # a stream that was running when its tier went
            ended = at + (record.latency_ms or 0) / 1000
            gone = h.target == engine.name or (h.target == record.via == GATEWAY and h.fault == "unit_kill")
            if gone and at < h.lost < ended and tokens > 1:
                cut(record, h.lost - at)


def answer(
    record: RequestRecord, tier: str, ttft_s: float, gaps_s: Sequence[float] = (), fallbacks: int | None = 0
) -> RequestRecord:
    """Make it a good answer by this tier."""
    record.outcome, record.status, record.error, record.tier = Outcome.OK, 200, None, tier
    record.headers_ms = ttft_s * 1000 - 1
    record.ttft_ms, record.gaps_ms = ttft_s * 1000, [g * 1000 for g in gaps_s]
    record.latency_ms = (ttft_s + sum(gaps_s)) * 1000 + 1
    record.output_tokens, record.finish_reason, record.witness = len(gaps_s) + 1, "length", Witness.END
    if record.via == GATEWAY:
        record.route_group, record.route_fallbacks, record.route_retries = tier, fallbacks, 0
    return record


def refuse(record: RequestRecord, outcome: str, status: int | None, after_s: float = 0.004) -> RequestRecord:
    """Make it a failure after this time."""
    record.outcome, record.status, record.error = outcome, status, f"{status or 'connection refused'}"
    record.tier = record.ttft_ms = record.witness = record.output_tokens = None
    record.gaps_ms, record.latency_ms = [], after_s * 1000
    return record


def cut(record: RequestRecord, after_s: float) -> RequestRecord:
    """Cut it this long after it was sent; before its first token the gateway would have turned to the next tier."""
    record.outcome, record.error, record.finish_reason, record.witness = (
        Outcome.CUT,
        "no finish_reason",
        None,
        None,
    )
    record.ttft_ms = min(record.ttft_ms or 0.0, after_s * 1000)
    record.latency_ms = after_s * 1000
    came, kept = record.ttft_ms, []
    for gap in record.gaps_ms:
        came += gap
        if came > record.latency_ms:
            break
        kept.append(gap)
    record.gaps_ms, record.output_tokens = kept, len(kept) + 1
    return record
