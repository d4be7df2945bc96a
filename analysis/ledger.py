"""What the engines of an embedded stack wrote down of our asks, against what our records say. Pure but for `read`.

A ledger is the truth: where it contradicts a record, the record lies. Pages of the engines' own telling (`ledger/*.jsonl`)
are told in results/README.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import json

from contract.records import Outcome, Witness

GAVE_ALL = ("length", "garbled")  # garbled: to its end, with a part in it that is no JSON
ENDED_WELL = (*GAVE_ALL, "stop")
CLOCKS_S = 0.005  # two processes' clocks, both anchored to the same machine's


@dataclass(frozen=True, slots=True)
class Entry:
    """One ask as one engine saw it."""

    tier: str
    nonce: str
    arrived_at: float
    first_at: float | None = None  # content was written
    how: str | None = None  # None: it never ended
    ending: str | None = (
        None  # how it was about to end, said before its last bytes: true of one that was killed there
    )


_ENTRY = ("nonce", "arrived_at", "first_at", "how", "ending")
_TEXT, _INSTANT = ("line", "id", "nonce", "how", "ending"), ("arrived_at", "begun_at", "first_byte_at")
_LINES = pa.schema([*((name, pa.string()) for name in _TEXT), *((name, pa.float64()) for name in _INSTANT)])

Ledgers = dict[str, list[Entry]]
"""Nonce → what engines wrote down under it, in order of arrival."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of the comparison."""

    answers: dict[str, int]  # tier → answers that our records say it gave
    contradicted: dict[str, list[str]]  # tier → what its ledger says otherwise, each in words
    unrecorded: dict[str, list[str]]  # tier → nonces of this run that it was asked under and no record has


def read(path: Path) -> pd.DataFrame:
    """One engine's ledger, a row for each ask with a nonce. A torn tail is passed over; what is no ledger holds none.

    Lines tell what they know: `arrived`, then `begun` and `ending` of one that may be killed before its `ended`.
    """
    whole_lines = path.read_bytes().rpartition(b"\n")[0]
    options = json.ParseOptions(explicit_schema=_LINES, unexpected_field_behavior="ignore")
    try:
        lines = json.read_json(pa.BufferReader(whole_lines), parse_options=options).to_pandas()
    except pa.ArrowInvalid:
        lines = _LINES.empty_table().to_pandas()
    found = lines.groupby("id", sort=False).first()  # of each column what the first line says that has it
    found = found[found["nonce"].notna() & found["arrived_at"].notna()]
    return found.assign(first_at=found["first_byte_at"].fillna(found["begun_at"]))


def by_nonce(tables: Mapping[str, pd.DataFrame]) -> Ledgers:
    """Of the tiers' ledgers."""
    found: Ledgers = {}
    for tier, table in tables.items():
        columns = [table[c].astype(object).where(table[c].notna(), None) for c in _ENTRY]
        for row in zip(*columns, strict=True):
            entry = Entry(tier, *row)
            found.setdefault(entry.nonce, []).append(entry)
    for entries in found.values():
        entries.sort(key=lambda e: e.arrived_at)
    return found


def check(
    asks: pd.DataFrame, known: set[str], tiers: Sequence[str], ledgers: Ledgers, whole: bool
) -> Checked:
    """Every ask whose answer our records give to one of `tiers`, against the ledgers.

    `known`: the ids of all records, warm-up included. `whole`: the run was closed and none of its files is torn, so
    that an ask of this run's in a ledger must have a record.
    """
    checked = Checked(dict.fromkeys(tiers, 0), {t: [] for t in tiers}, {t: [] for t in tiers})
    columns = ["request_id", "tier", "outcome", "witness", "first_at"]
    for name, tier, outcome, witness, first_at in zip(*(asks[c] for c in columns), strict=True):
        if tier not in checked.answers:
            continue
        checked.answers[tier] += 1
        wrong = contradiction(ledgers.get(name, []), tier, outcome, witness, first_at)
        if wrong is not None:
            checked.contradicted[tier].append(f"{name}: {wrong}")
    if whole:
        runs = {_run_of(name) for name in known} - {None}
        for nonce, entries in ledgers.items():
            if nonce not in known and _run_of(nonce) in runs:
                checked.unrecorded[entries[-1].tier].append(nonce)
    return checked


def contradiction(
    entries: Sequence[Entry], tier: str, outcome: str, witness: str | None, first_at: float | None
) -> str | None:
    """What the ledgers say otherwise of an answer by `tier`; None where they agree.

    - The tier was asked under this nonce.
    - An `ok` answer was ended well there: at its cap, where its witness says so; an answer that the engine ended before
      its time is not ok, whatever the gateway said of it.
    - No other tier was asked later and gave content before our first token came: that one would have served.

    A `cut` answer may be whole in the ledger: it can be cut on its way.
    """
    mine = [e for e in entries if e.tier == tier]
    if not mine:
        asked = ", ".join(dict.fromkeys(e.tier for e in entries)) or "nobody"
        return f"we say that {tier} answered; {asked} was asked"
    if outcome != Outcome.OK:
        return None
    good = GAVE_ALL if witness in (Witness.END, Witness.USAGE) else ENDED_WELL
    if not any(e.how in good or e.ending in good for e in mine):
        return f"we say ok; {tier} says {mine[-1].how or 'nothing of its end'}"
    for e in entries:
        if e.tier != tier and e.arrived_at > mine[-1].arrived_at and _spoke_before(e, first_at):
            return f"we say that {tier} answered; {e.tier} was asked after it and spoke first"
    return None


def _spoke_before(entry: Entry, first_at: float | None) -> bool:
    # One that was frozen reads, when it thaws, what was given up long ago; it gives no content then.
    return entry.first_at is not None and first_at is not None and entry.first_at < first_at + CLOCKS_S


def _run_of(nonce: str) -> str | None:
    """`ask-1a2b3c` of `ask-1a2b3c-00002f`: all that a run asks begins alike."""
    head, _, _ = nonce.rpartition("-")
    return head if "-" in head else None
