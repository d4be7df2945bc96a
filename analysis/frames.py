"""The only reader of a run folder: returns its tables, with a few derived columns. Judges nothing.

A killed run is read like any other: a missing file gives an empty table, a torn tail is skipped, and both are reported.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis import untrusted
from analysis.columnar import columns
from analysis.metrics import clocks, ledger
from analysis.metrics.answered import by_answers
from analysis.metrics.overload import overloaded_seconds, touched
from analysis.metrics.windows import Trial, instant, trials_of
from analysis.progress import OnProgress, no_progress
from contract import gateway_version, samplers, textfile
from contract import timeline as timelines
from contract import topology as topologies
from contract.counters import Scrape
from contract.ranks import Ranks
from contract.records import GATEWAY, Event, Lane, Offset, Outcome, WorkerEnd
from contract.refusal import Refusal, no_such
from contract.run import FINISHED, Batches, read_lines, read_manifest
from contract.schemas import REQUESTS
from contract.timeline import Timeline
from contract.topology import Tier, Topology

RESULTS = Path("results")
INPUTS = ("topology.yaml", "timeline.yaml", "gateway.yaml")  # copied into the run without secrets
EVENT_FILES = (
    "chaos.jsonl",
    "guardian.jsonl",
    "restore.jsonl",
    "takeover.jsonl",
)  # one writer each


@dataclass(frozen=True)
class Frames:
    """The tables of one run.

    `requests` are those that metrics rest on: requests and probe (column `file`), without warm-up and without the
    probe's covered slots. Columns added to the record's: `good` (outcome ok), `first_at` (time of the first token, which may be
    a thought; for a good answer that shows none, its end), `headers_at`, `ended_at`, all in unix seconds, `touched` (see
    `overload.touched`), `clock_uncertainty_s` and, if the run has such requests, `unattended` (of a scenario in which no person
    waits for a first token). Times of all tables are on the master's clock (see `clocks.one_clock`).

    `classified` are those of `requests` that classify a document, in the order in which they were sent, with the columns
    CLASSIFIED and those of a document. `requests` itself has no column for documents, since most runs have none.

    `samples` are the tables of the samplers, by name; each has the columns of the sampler's rows, sorted by `at`. For a sampler
    that the run did not record, the table has no rows.

    Ten million requests must fit: repeated texts are categories (see `columns`), and gaps share one array (see `lists`). Select
    columns before rows.
    """

    path: Path
    manifest: dict[str, Any]
    topology: Topology
    timeline: Timeline | None
    requests: pd.DataFrame
    classified: pd.DataFrame
    covered: (
        pd.DataFrame
    )  # the probe's slots over its limit in flight; each waits with the request `covered_by`
    warmup: pd.DataFrame
    samples: Mapping[str, pd.DataFrame]  # see `contract.samplers`
    events: pd.DataFrame  # of EVENT_FILES, in order of time
    torn: tuple[str, ...]  # files whose tail was torn

    @property
    def name(self) -> str:
        return str(self.manifest.get("run") or self.path.name)

    @property
    def tiers(self) -> list[str]:
        """The tiers' names in the order in which the gateway falls through them."""
        return [t.name for t in self.topology.tiers]

    @property
    def ranks(self) -> Ranks:
        """The same, with the tiers that the gateway balances between in one rank."""
        return self.topology.ranks

    @property
    def started_at(self) -> float:
        return float(self.manifest["started_at"])

    @cached_property
    def ended_at(self) -> float:
        """The time of the last record; not the manifest's closing, which may be long after, nor a later `make restore`.
        Of the samplers, only health and client count: the others go on until the files are closed.
        """
        closed_at = float(self.manifest.get("closed_at") or self.started_at)
        by_hand = (self.events["by"] == "restore") & (self.events["at"] > closed_at)
        known = [
            self.started_at, *(float(s.max()) for s in (
                self.requests["scheduled_at"], self.requests["sent_at"], self.requests["ended_at"], self.covered["scheduled_at"],
                self.samples["health"]["at"], self.samples["client"]["at"], self.events.loc[~by_hand, "at"],
            ) if s.notna().any()),
        ]  # fmt: skip
        return max(known)

    @cached_property
    def trials(self) -> list[Trial]:
        """Every trial of every step, in the order in which they began."""
        return by_answers(trials_of(self.events, self.ended_at), self.requests)

    def gateway(self, columns: Sequence[str]) -> pd.DataFrame:
        """The requests through the gateway, in the order in which they were sent: a copy of these columns."""
        return self.requests.loc[self.through_gateway, list(columns)]

    @cached_property
    def through_gateway(self) -> np.ndarray:
        """Mask over `requests`: those sent through the gateway."""
        return ((self.requests["via"] == GATEWAY) & self.requests["sent_at"].notna()).to_numpy(bool)

    @property
    def has_ledgers(self) -> bool:
        """Whether engines of an embedded stack kept ledgers of the requests they got."""
        return (self.path / "ledger").is_dir()

    @cached_property
    def ledgers(self) -> dict[str, pd.DataFrame]:
        """Tier → its engine's ledger, see `ledger.read`; empty except on embedded stacks."""
        folder = self.path / "ledger"
        textfile.refuse_link(folder)
        return {p.stem: ledger.read(p) for p in sorted(folder.glob("*.jsonl"))}

    @cached_property
    def counters(self) -> list[dict[str, Any]]:
        """The lines of counters.jsonl, see `contract.counters.Scrape`."""
        return read_lines(self.path / "counters.jsonl", Scrape)[0]

    @cached_property
    def inputs(self) -> dict[str, str]:
        """The texts of topology.yaml, timeline.yaml and gateway.yaml; only files that the run has."""
        files = [self.path / name for name in INPUTS]
        return {file.name: textfile.read(file, links=False) for file in files if os.path.lexists(file)}

    @property
    def cut_short(self) -> str | None:
        """Why the run did not finish; None: it did."""
        status = self.manifest.get("status")
        if status == FINISHED:
            return None
        reason = self.manifest.get("reason")
        return (
            f"the run was {status} ({reason})"
            if reason
            else "the run was never closed: killed, or still running"
        )

    @property
    def gateway_versions(self) -> dict[str, int]:
        """Version of the gateway → answers that named it, the earliest first; empty if no answer named one."""
        return dict(self.manifest.get("gateway_versions") or {})

    @property
    def gateway_version(self) -> str | None:
        """`litellm 1.108.7`; of several versions, with the answers of each. None: no answer named one."""
        return gateway_version.text(self.topology.gateway.kind, self.gateway_versions)

    @property
    def open_loop(self) -> bool:
        """Whether requests were sent on a schedule of arrivals, independent of earlier ones."""
        return bool((self.manifest.get("arguments") or {}).get("arrivals"))

    @cached_property
    def clock_uncertainty_s(self) -> float | None:
        """How far the times of requests may be off against one another, ± seconds: the largest of all workers'.

        0 if all times are from one machine's clock; None if a worker's clock was not measured.
        """
        of_requests = self.requests["clock_uncertainty_s"]
        return None if of_requests.isna().any() else float(of_requests.max()) if len(of_requests) else 0.0

    @cached_property
    def missing(self) -> list[str]:
        """What is missing from the run's workers, in words; empty if nothing is."""
        found = []
        for worker in self.manifest.get("workers") or []:
            name, requests, records = (
                f"{worker['worker']} ({worker['host']})",
                worker["requests"],
                worker["records"],
            )
            if worker["end"] == WorkerEnd.LOST:
                heard, reported = (instant(worker[k], self.started_at) for k in ("heard_at", "reported_at"))
                found.append(
                    f"{name} was lost: last message at {heard}, last records at {reported}; "
                    f"its requests that ended after that are unknown (it counted {requests}, {records} have records)"
                )
            elif requests != records:
                found.append(f"{name} counted {requests} requests, but only {records} have records")
        for name in self.requests.loc[self.requests["clock_uncertainty_s"].isna(), "worker"].unique():
            found.append(
                f"the clock of {name} was not measured: its requests have the times of its own clock"
            )
        return found

    def tier(self, name: str) -> Tier:
        return self.topology.tier(name)


def find_run(text: str | None) -> Path:
    """The run folder for a path or a name inside results/; None: the latest run. Raises Refusal."""
    if text is None:
        latest = RESULTS / "latest"
        if not latest.is_dir():
            raise Refusal(f"{latest}: no run found; name a run folder")
        return latest.resolve()
    for path in (Path(text), RESULTS / text):
        if path.is_dir():
            return path.resolve()
    there = [p.name for p in RESULTS.iterdir() if p.is_dir()] if RESULTS.is_dir() else []
    raise Refusal(f"{text}: not a folder; {no_such('run', text, there)}")


def read(path: Path, on_progress: OnProgress = no_progress) -> Frames:
    """The tables of the run in this folder. Raises Refusal if it is not a run folder.

    The folder may be a stranger's: every file is checked as it is read, and what no run writes is refused.
    """
    try:
        return _read(path, on_progress)
    except MemoryError:
        raise Refusal(f"{path}: its tables are larger than this machine's memory") from None


def _read(path: Path, on_progress: OnProgress) -> Frames:
    untrusted.refuse_links(path)
    manifest = read_manifest(path)
    torn: list[str] = []
    possible = untrusted.Possible(path, manifest["started_at"])
    offsets = clocks.table(_lines(path, "clocks.jsonl", torn, Offset))
    samples = {name: _samples(path, name, offsets, torn) for name in samplers.names()}
    requests, of_documents = _requests(path, torn, on_progress)
    possible.gaps("requests.arrow", requests["gaps_ms"].array.numbers)
    requests = _derived(clocks.one_clock(requests, ["scheduled_at", "sent_at"], offsets), samples["client"])
    _mark_unattended(requests, manifest["unattended"])
    classified = _classified(requests, of_documents)
    events = _events(path, torn)
    tables = {
        "clocks.jsonl": offsets,
        "requests.arrow": requests,
        EVENT_FILES[0]: events[events["by"] != "restore"],
    }
    for file, table in {**tables, **{samplers.file(name): table for name, table in samples.items()}}.items():
        possible.check(file, table)
    possible.check("restore.jsonl", events, untrusted.BY_HAND_S)
    held = columns.of_table(requests)
    del requests, tables, table
    requests, covered, warmup = _split(held)
    columns.release_memory()
    found = Frames(
        path=path,
        manifest=manifest,
        topology=_topology(path),
        timeline=_timeline(path),
        requests=requests,
        classified=classified,
        covered=covered,
        warmup=warmup,
        samples=samples,
        events=events,
        torn=tuple(torn),
    )
    _ = found.counters, found.inputs  # small, so they are refused here
    return found


def _topology(path: Path) -> Topology:
    file = path / "topology.yaml"
    if not os.path.lexists(file):
        raise Refusal(f"{file}: missing; it lists the tiers and their order")
    return topologies.read(file, links=False)


def _timeline(path: Path) -> Timeline | None:
    file = path / "timeline.yaml"
    return timelines.read(file, links=False) if os.path.lexists(file) else None


_PANDAS = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
}  # to keep None distinct from False and 0


def _samples(path: Path, name: str, offsets: pd.DataFrame, torn: list[str]) -> pd.DataFrame:
    found, tail_torn = samplers.read(path, name)
    if tail_torn:
        torn.append(samplers.file(name))
    table = found.to_pandas(types_mapper=_PANDAS.get)
    if "worker" in found.schema.names:  # rows of each load generator, on its own clock
        table = clocks.one_clock(table, ["at"], offsets)
    return table.sort_values("at", ignore_index=True)


def _requests(path: Path, torn: list[str], on_progress: OnProgress) -> tuple[pd.DataFrame, pa.Table]:
    files = [(file, Batches(path / f"{file}.arrow", REQUESTS)) for file in ("requests", "probe")]
    requests, of_documents = columns.requests_of(files, on_progress)
    torn += [f"{file}.arrow" for file, batches in files if batches.torn]
    return pd.DataFrame(requests, copy=False), of_documents


def _derived(requests: pd.DataFrame, client: pd.DataFrame) -> pd.DataFrame:
    requests["good"] = requests["outcome"] == Outcome.OK
    for name, length_ms in (
        ("first_at", "ttft_ms"),
        ("headers_at", "headers_ms"),
        ("ended_at", "latency_ms"),
    ):
        requests[name] = requests["sent_at"] + requests[length_ms] / 1000
    unseen = requests["good"].to_numpy(bool) & requests["ttft_ms"].isna().to_numpy()
    if unseen.any():
        requests.loc[unseen, "first_at"] = requests.loc[unseen, "ended_at"]
    thoughtful = requests["thought_ms"].notna()
    if thoughtful.any():  # a thought shows that the tier serves
        first_at = requests["sent_at"] + requests["thought_ms"] / 1000
        requests.loc[thoughtful, "first_at"] = first_at[thoughtful]
    requests["touched"] = touched(requests, overloaded_seconds(client))
    return requests


def _mark_unattended(requests: pd.DataFrame, scenarios: Sequence[str]) -> None:
    """Adds the column only if it has a True: with ten million requests it costs memory."""
    found = requests["scenario"].isin(scenarios)
    if found.any():
        requests["unattended"] = found


CLASSIFIED = [
    "request_id", "scenario", "lane", "via", "worker", "scheduled_at", "sent_at", "ended_at", "outcome", "status", "error",
    "good", "tier", "latency_ms", "prompt_tokens", "output_tokens", "finish_reason", "witness", "touched",
]  # fmt: skip


def _classified(requests: pd.DataFrame, of_documents: pa.Table) -> pd.DataFrame:
    """`of_documents`: see `columns.requests_of`. `wrong` is a tuple of fields, None if the answer was not valid."""
    documents = of_documents.drop_columns(["row", "wrong"]).to_pandas(types_mapper=_PANDAS.get)
    wrong = [None if w is None else tuple(w) for w in of_documents["wrong"].to_pylist()]
    documents["wrong"] = pd.Series(wrong, dtype=object)
    at = of_documents["row"].to_numpy()
    rows = {name: requests[name].array.take(at) for name in CLASSIFIED}
    found = pd.concat([pd.DataFrame(rows), documents], axis=1)
    found = found[(found["lane"] != Lane.WARMUP) & found["sent_at"].notna()]
    return found.sort_values("sent_at", kind="stable", ignore_index=True)


def _split(requests: dict[str, columns.Column]) -> list[pd.DataFrame]:
    """[requests that metrics rest on, covered slots, warm-up]."""
    covered = ~np.asarray(pd.isna(requests["covered_by"]), bool)
    warm = np.asarray(requests["lane"] == Lane.WARMUP, bool)
    return columns.split(
        requests, by=("sent_at", "scheduled_at"), parts=(~covered & ~warm, covered, warm & ~covered)
    )


EVENT_COLUMNS = (
    "at", "run", "move", "stage", "by", "step", "trial", "fault", "target", "late_ms", "detail", "error", "file",
)  # fmt: skip


def _events(path: Path, torn: list[str]) -> pd.DataFrame:
    rows = [line | {"file": file} for file in EVENT_FILES for line in _lines(path, file, torn, Event)]
    events = pd.DataFrame(rows, columns=list(EVENT_COLUMNS))
    events["at"] = events["at"].astype("float64")
    return events.sort_values("at", kind="stable", ignore_index=True)


def _lines(path: Path, file: str, torn: list[str], kind: type) -> list[dict[str, Any]]:
    lines, tail_torn = read_lines(path / file, kind)
    if tail_torn:
        torn.append(file)
    return lines
