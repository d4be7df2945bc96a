"""The simulation of `tests/synthetic_world.py` in columns, with the same known truth: a day of ten million
requests in well under two minutes.

    made = make_big(tmp_path, records=10_000_000, duration_s=86400, steps=rounds(hole, 140, 600))

No loop over records: arrays of one hour of requests at a time, written in batches of one second.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from contract import samplers
from contract.records import GATEWAY, Lane, Offset, Outcome, Witness
from contract.run import FINISHED, ArrowFile, JsonLines, open_run
from contract.schemas import REQUESTS
from tests.synthetic import Made, timeline_text, topology_text
from tests.synthetic_world import FALLBACK_S, OLLAMA, OPENAI, START, VLLM, Engine, Hole

AT_ONCE = 400_000  # requests that are made together
TOKENS = np.array([10, 10, 24])  # that load requests, in turns
_NO_TIER, _FAILED, _EXHAUSTED = -1, -2, -3
Columns = dict[str, Any]


def make_big(
    results: Path,
    records: int = 1_000_000,
    duration_s: float = 86_400.0,
    steps: Sequence[Hole] = (),
    probe_rate: float = 2.0,
    pairs: int = 240,
    overhead_ms: float = 14.0,
    engines: Sequence[Engine] = (VLLM, OLLAMA, OPENAI),
    cooldown: str | None = "30s",
    expect: dict[str, Any] | None = None,
    status: str | None = FINISHED,
    seed: int = 1,
    name: str = "synthetic",
) -> Made:
    """A run folder of so many records. Times in seconds; `pairs` are made only away from holes. `Made.requests` stays empty."""
    random = np.random.default_rng(seed)
    inputs = {"topology.yaml": topology_text(engines, cooldown), "gateway.yaml": "{}\n"}
    inputs["timeline.yaml"] = timeline_text(steps, expect or {}, duration_s)
    run = open_run(results, name, START, inputs, {"made": "by tests"}, seed)
    probe_at = np.arange(int((duration_s - 2) * probe_rate)) / probe_rate + 0.03
    pair_at = _calm(np.linspace(1, duration_s / 3, max(1, pairs))[:pairs], steps)
    load = records - len(probe_at) - 4 * len(pair_at)
    assert load >= 0, "the probe alone requests more than that"
    at = np.sort(random.uniform(0.05, duration_s - 2, load))
    world = _World(engines, steps, random)

    file = ArrowFile(run.path / "requests.arrow", REQUESTS)
    for i in range(0, max(load, 1), AT_ONCE):
        part = at[i : i + AT_ONCE]
        made = world.through(part, Lane.LOAD, TOKENS[np.arange(i, i + len(part)) % 3], kept=False)
        begins, ends = (part[0] if i else 0.0), (part[-1] if i + AT_ONCE < load else np.inf)
        mine = pair_at[(pair_at >= begins) & (pair_at < ends)] if len(part) else pair_at
        _write(file, world, [made, world.pairs(mine, overhead_ms / 1000)])
    file.close()
    file = ArrowFile(run.path / "probe.arrow", REQUESTS)
    for k in range(0, len(probe_at), AT_ONCE):
        part = probe_at[k : k + AT_ONCE]
        kept = np.arange(k, k + len(part)) % 2 == 1
        lane = np.where(kept, str(Lane.PROBE_KEPT), str(Lane.PROBE_NEW))
        _write(file, world, [world.through(part, lane, np.ones(len(part), int), kept)])
    file.close()
    _watch(run.path, world, duration_s, at)
    clocks = JsonLines(run.path / "clocks.jsonl")
    clocks.append(Offset(START, "w1", 0.0, 0.0))
    clocks.close()
    events = sorted((e for h in steps for e in h.events(run.path.name)), key=lambda e: e.at)
    (run.path / "chaos.jsonl").write_text("".join(json.dumps(asdict(e)) + "\n" for e in events))
    if status is not None:
        run.close(status, START + duration_s, None, {"requests": records})
    return Made(run.path, tuple(steps), ())


def _calm(at: np.ndarray, steps: Sequence[Hole]) -> np.ndarray:
    """Those of them that are away from every hole."""
    hit = np.zeros(len(at), dtype=bool)
    for h in steps:
        hit |= (at > h.at - 5) & (at < h.back + h.sticky_s + 5)
    return at[~hit]


class _World:
    """Which tier answers the requests sent at these instants, and how. Instants in order, in seconds from the run's start."""

    def __init__(self, engines: Sequence[Engine], steps: Sequence[Hole], random: np.random.Generator) -> None:
        self.engines, self.steps, self.random, self.sent = engines, steps, random, 0

    def through(self, at: np.ndarray, lane: Any, tokens: np.ndarray, kept: Any) -> Columns:
        """Through the gateway, as `synthetic.World.through`."""
        n = len(at)
        kept = np.broadcast_to(kept, n)
        by, wait_s, hops = np.full(n, _NO_TIER), np.zeros(n), np.zeros(n, np.int16)
        for place, engine in enumerate(self.engines):
            open_ = by == _NO_TIER
            hole = self.hole(engine, at, kept, sticky=True)
            by[open_ & (hole < 0)] = place
            rows = np.flatnonzero(open_ & (hole >= 0))
            holes = [self.steps[i] for i in range(len(self.steps))]
            if not len(rows):
                continue
            of = hole[rows]
            lost, fails, hangs, back = (
                np.array([getattr(h, name) for h in holes])[of]
                for name in ("lost", "hole_s", "hang_s", "back")
            )
            lost = lost + np.array([h.kept_s for h in holes])[of] * kept[rows]
            late = at[rows]
            failed = late < lost + fails
            by[rows[failed]] = _FAILED
            hops[rows] = 1
            hanging = late < lost + hangs
            first = ~hanging & (late < back) & (late < lost + hangs + 1)
            wait_s[rows] += np.where(hanging, lost + hangs - late, np.where(first, FALLBACK_S, 0.0))
        by[by == _NO_TIER] = _EXHAUSTED
        made = self._answered(at, by, wait_s + self._ttft_s(by), tokens)
        served = by >= 0
        return made | {
            "lane": np.broadcast_to(lane, n), "via": np.full(n, GATEWAY), "pair": np.full(n, None),
            "route_fallbacks": np.where(served, hops, -1), "route_retries": np.where(served, 0, -1),
        }  # fmt: skip

    def pairs(self, at: np.ndarray, overhead_s: float) -> Columns:
        """ABBA or BAAB against the first tier, while it serves."""
        top = self.engines[0]
        first = self.random.integers(0, 2, len(at)) == 0
        gateway = np.stack([first, ~first, ~first, first], axis=1).ravel()
        sent = (at[:, None] + np.arange(4) * 0.4).ravel()
        ttft_s = top.ttft_s + overhead_s * gateway + self.random.normal(0, 0.002, len(sent))
        made = self._answered(sent, np.zeros(len(sent), int), ttft_s, np.full(len(sent), 10), steady=True)
        return made | {
            "lane": np.full(len(sent), str(Lane.OVERHEAD)), "via": np.where(gateway, GATEWAY, top.name),
            "pair": np.array([f"p{x:.3f}" for x in at], dtype=object).repeat(4),
            "route_fallbacks": np.where(gateway, 0, -1), "route_retries": np.where(gateway, 0, -1),
        }  # fmt: skip

    def hole(self, engine: Engine, at: np.ndarray, kept: Any, sticky: bool) -> np.ndarray:
        """Which hole each instant is in; −1: none."""
        found = np.full(len(at), -1)
        kept = np.broadcast_to(kept, len(at))
        for i, h in enumerate(self.steps):
            if h.target == engine.name:
                a, b = np.searchsorted(at, [h.lost, h.back + (h.sticky_s if sticky else 0.0)])
                part = found[a:b]
                part[(part < 0) & ~(kept[a:b] & (at[a:b] < h.lost + h.kept_s))] = i
        return found

    def _ttft_s(self, by: np.ndarray) -> np.ndarray:
        ttft = np.array([e.ttft_s for e in self.engines])
        return np.where(by >= 0, ttft[np.maximum(by, 0)], 0.0) * self.random.uniform(0.9, 1.15, len(by))

    def _answered(
        self, at: np.ndarray, by: np.ndarray, ttft_s: np.ndarray, tokens: np.ndarray, steady: bool = False
    ) -> Columns:
        served = by >= 0
        lengths = np.where(served, tokens - 1, 0).astype(np.int32)
        tpot = np.array([e.tpot_s for e in self.engines])[np.maximum(by, 0)] * 1000
        gaps = np.repeat(tpot, lengths)
        if not steady:
            gaps *= self.random.uniform(0.8, 1.2, len(gaps))
        row = np.repeat(np.arange(len(at), dtype=np.int32), lengths)
        ttft_ms = np.where(served, ttft_s * 1000, np.nan)
        latency_ms = np.where(served, ttft_ms + np.bincount(row, gaps, len(at)) + 1, 4.0)
        headers_ms = np.where(served, ttft_ms - 1, np.nan)
        was_cut = np.zeros(len(at), dtype=bool)
        for h in self.steps:  # streams that were running when their tier went
            a, b = np.searchsorted(at, [h.lost - 60, h.lost])
            mine = by[a:b] == [e.name for e in self.engines].index(h.target)
            mine &= (at[a:b] + latency_ms[a:b] / 1000 > h.lost) & (tokens[a:b] > 1)
            rows = a + np.flatnonzero(mine)
            was_cut[rows] = True
            latency_ms[rows] = (h.lost - at[rows]) * 1000
            ttft_ms[rows] = np.minimum(ttft_ms[rows], latency_ms[rows])
        if was_cut.any():
            ends = np.cumsum(lengths, dtype=np.int64)
            came = np.cumsum(gaps)
            before = np.concatenate([[0.0], came])[ends - lengths]
            keep = ~was_cut[row] | (ttft_ms[row] + came - before[row] <= latency_ms[row])
            gaps, row = gaps[keep], row[keep]
            lengths = np.bincount(row, minlength=len(at)).astype(np.int32)
        whole = served & ~was_cut
        return {
            "at": at, "by": by, "served": served, "whole": whole, "cut": was_cut, "tokens": tokens,
            "headers_ms": headers_ms, "ttft_ms": ttft_ms, "latency_ms": latency_ms,
            "gaps": gaps.astype(np.float32), "lengths": lengths,
        }  # fmt: skip


def _write(file: ArrowFile, world: _World, parts: list[Columns]) -> None:
    """In the order in which the requests ended, a second's batch after another."""
    table = pa.concat_tables([_table(world, p) for p in parts if len(p["at"])]) if parts else None
    if table is None or not table.num_rows:
        return
    sent, took = (table[name].to_numpy() for name in ("sent_at", "latency_ms"))
    ended = sent + took / 1000
    order = np.argsort(ended, kind="stable")
    (batch,) = table.take(pa.array(order)).combine_chunks().to_batches()
    second = np.floor(ended[order])
    edges = np.concatenate([[0], np.flatnonzero(np.diff(second)) + 1, [len(order)]])
    for a, b in itertools.pairwise(edges):
        file.append_batch(batch.slice(a, b - a))


def _table(world: _World, made: Columns) -> pa.Table:
    at, served, whole, was_cut = (made[k] for k in ("at", "served", "whole", "cut"))
    n = len(at)
    tier = _texts(made["by"], [e.name for e in world.engines])
    lane = pa.array(made["lane"].tolist()) if n < 1 else pa.array(made["lane"].astype(str))
    outcome = np.select([whole, was_cut], [0, 1], 2)
    error = np.select([whole, was_cut, made["by"] == _FAILED], [-1, 0, 1], 2)
    columns: Columns = {
        "request_id": _ids(world.sent, n),
        "scenario": pa.array(np.where(made["lane"] == Lane.LOAD, "chat", made["lane"].astype(str))),
        "lane": lane,
        "via": pa.array(made["via"].astype(str)),
        "stream": pa.array(np.ones(n, bool)),
        "scheduled_at": START + at,
        "sent_at": START + at,
        "outcome": _texts(outcome, [str(o) for o in (Outcome.OK, Outcome.CUT, Outcome.REJECTED)]),
        "status": _numbers(np.where(served, 200, np.where(made["by"] == _FAILED, 500, 429)), pa.int16()),
        "error": _texts(error, ["no finish_reason", "500", "429"]),
        "gaps_ms": pa.ListArray.from_arrays(
            pa.array(np.concatenate([[0], np.cumsum(made["lengths"])]).astype(np.int32)), pa.array(made["gaps"])
        ),
        "tier": tier,
        "route_group": pa.compute.if_else(pa.array(made["route_fallbacks"] >= 0), tier, None),
        "route_fallbacks": _numbers(made["route_fallbacks"], pa.int16()),
        "route_retries": _numbers(made["route_retries"], pa.int16()),
        "prompt_tokens": _numbers(np.full(n, 12), pa.int32()),
        "output_tokens": _numbers(np.where(served, made["lengths"] + 1, -1), pa.int32()),
        "max_tokens": _numbers(made["tokens"], pa.int32()),
        "finish_reason": _texts(np.where(whole, 0, -1), ["length"]),
        "witness": _texts(np.where(whole, 0, -1), [str(Witness.END)]),
        "pair": pa.array(made["pair"], pa.string()),
        "worker": _texts(np.where(np.char.startswith(made["lane"].astype(str), "probe"), -1, 0), ["w1"]),
    }  # fmt: skip
    columns |= {k: pa.array(made[k], from_pandas=True) for k in ("headers_ms", "ttft_ms", "latency_ms")}
    world.sent += n
    arrays = [columns[f.name] if f.name in columns else pa.nulls(n, f.type) for f in REQUESTS]
    arrays = [a if isinstance(a, pa.Array) else pa.array(a) for a in arrays]
    return pa.table([a.cast(f.type) for a, f in zip(arrays, REQUESTS, strict=True)], schema=REQUESTS)


def _texts(which: np.ndarray, texts: list[str]) -> pa.Array:
    """The texts of these places; below 0: none."""
    places = pa.array(np.maximum(which, 0).astype(np.int32), mask=which < 0)
    return pa.DictionaryArray.from_arrays(places, pa.array(texts)).cast(pa.string())


def _numbers(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Below 0: none."""
    return pa.array(values, kind, mask=values < 0)


def _ids(first: int, n: int) -> pa.Array:
    """`record-00000001` and so on: digits as bytes, eight each."""
    number = np.arange(first + 1, first + n + 1)
    text = np.empty((n, 12), dtype=np.uint8)
    text[:, :4] = np.frombuffer(b"req-", np.uint8)
    for place in range(8):
        text[:, 11 - place] = ord("0") + number // 10**place % 10
    offsets = np.arange(n + 1, dtype=np.int32) * 12
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))


def _watch(path: Path, world: _World, duration_s: float, at: np.ndarray) -> None:
    """health.arrow and client.arrow."""
    second = np.arange(int(duration_s)) + 0.5
    file, schema = samplers.create(path, "health"), samplers.find("health").schema
    for engine in world.engines:
        up = world.hole(engine, second, False, sticky=False) < 0
        columns = {
            "at": START + second, "tier": np.full(len(second), engine.name), "up": up,
            "status": _numbers(np.where(up, 200, -1), pa.int16()),
            "latency_ms": pa.array(np.where(up, 1.5, np.nan), from_pandas=True),
        }  # fmt: skip
        file.append_batch(_batch(columns, schema))
    file.close()
    sent = np.bincount(at.astype(int), minlength=len(second))[: len(second)]
    n = len(second)
    columns = {
        "at": START + np.arange(n), "worker": np.full(n, "w1"), "cpu_percent": np.full(n, 12.0), "hub_lag_ms": np.full(n, 1.2),
        "users": np.full(n, 4), "scheduled": np.concatenate([[0], sent[:-1]]), "sent": np.concatenate([[0], sent[:-1]]),
        "dropped": np.zeros(n, int), "late_ms": np.full(n, 0.4), "in_flight": np.ones(n, int),
    }  # fmt: skip
    file = samplers.create(path, "client")
    file.append_batch(_batch(columns, samplers.find("client").schema))
    file.close()


def _batch(columns: Columns, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [columns[f.name] for f in schema]
    arrays = [a if isinstance(a, pa.Array) else pa.array(a) for a in arrays]
    return pa.RecordBatch.from_arrays(
        [a.cast(f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema
    )
