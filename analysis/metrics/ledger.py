"""Compares the records with the ledgers of an embedded stack's engines. Pure except for `read`.

A ledger is the ground truth: if it contradicts a record, the record is wrong. results/README.md documents its format
(`ledger/*.jsonl`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json

from contract import textfile
from contract.records import Outcome, Witness

GAVE_ALL = ("length", "garbled")  # garbled: complete, with a part that is not JSON
ENDED_WELL = (*GAVE_ALL, "stop")
MOST_BYTES = 16 * 2**30  # of one file: ten million requests, each of four lines
CLOCKS_S = 0.005  # two processes' clocks, both anchored to the same machine's clock


@dataclass(frozen=True, slots=True)
class Entry:
    """One request as one engine recorded it."""

    tier: str
    nonce: str
    arrived_at: float
    first_at: float | None = None  # content was written
    how: str | None = None  # None: it never ended
    # How it was about to end, written before its last bytes: valid if the engine was killed there.
    ending: str | None = None


_ENTRY = ("arrived_at", "first_at", "how", "ending")
_TEXT, _INSTANT = ("line", "id", "nonce", "how", "ending"), ("arrived_at", "begun_at", "first_byte_at")
_LINES = pa.schema([*((name, pa.string()) for name in _TEXT), *((name, pa.float64()) for name in _INSTANT)])
_AT_ONCE = 2**18  # ids that are split together


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of the comparison."""

    answers: dict[str, int]  # tier → its answers in the records
    contradicted: dict[str, list[str]]  # tier → contradictions by its ledger, each in words
    unrecorded: dict[str, list[str]]  # tier → nonces of this run in its ledger without a record


def read(path: Path) -> pd.DataFrame:
    """One engine's ledger, a row for each request with a nonce. A torn tail is skipped; an invalid file gives no rows.

    The lines of a request are `arrived`, then `begun`, `ending` and `ended`; a killed engine may not write the last ones.
    """
    whole_lines = textfile.read_bytes(path, most_bytes=MOST_BYTES, links=False).rpartition(b"\n")[0]
    options = json.ParseOptions(explicit_schema=_LINES, unexpected_field_behavior="ignore")
    try:
        lines = json.read_json(pa.BufferReader(whole_lines), parse_options=options).to_pandas()
    except pa.ArrowInvalid:
        lines = _LINES.empty_table().to_pandas()
    found = lines.groupby("id", sort=False).first()  # of each column the first value
    found = found[found["nonce"].notna() & found["arrived_at"].notna()]
    return found.assign(first_at=found["first_byte_at"].fillna(found["begun_at"]))


def check(
    requests: pd.DataFrame, known: Sequence[pd.Series], ledgers: Mapping[str, pd.DataFrame], whole: bool
) -> Checked:
    """Compares every recorded answer of a tier that has a ledger with all ledgers.

    `known`: the ids of all records, warm-up included. `ledgers`: tier → see `read`. `whole`: the run was closed and none
    of its files is torn, so that every request of this run in a ledger must have a record.
    """
    tiers = list(ledgers)
    entries, nonces = _entries(ledgers)
    place = pc.index_in(_text(requests["request_id"]), nonces).fill_null(-1).to_numpy()
    tier = requests["tier"].astype("category").cat.set_categories(tiers).cat.codes.to_numpy()
    counts = np.bincount(tier[tier >= 0], minlength=len(tiers)).tolist()
    checked = Checked(dict(zip(tiers, counts, strict=True)), {t: [] for t in tiers}, {t: [] for t in tiers})

    wrong = _wrong(requests, place, tier, entries, len(nonces), len(tiers))
    found = _by_nonce(entries, place[wrong], nonces, tiers)
    columns = ["request_id", "tier", "outcome", "witness", "first_at"]
    for name, by, outcome, witness, first_at in requests[columns][wrong].itertuples(index=False, name=None):
        words = contradiction(found.get(name, []), by, outcome, witness, first_at)
        assert words is not None, f"{name}: not contradicted"
        checked.contradicted[by].append(f"{name}: {words}")

    if whole:
        missing = _unrecorded(nonces, [_text(ids) for ids in known])
        for nonce, entries_of in _by_nonce(entries, missing, nonces, tiers).items():
            checked.unrecorded[entries_of[-1].tier].append(nonce)
    return checked


def _entries(ledgers: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pa.Array]:
    """All entries, tier by tier, and the unique nonces; an entry's `place` is the index of its nonce."""
    texts = [_text(table["nonce"]) for table in ledgers.values()]
    encoded = pa.chunked_array(texts, pa.large_string()).combine_chunks().dictionary_encode()
    tables = [table[list(_ENTRY)].assign(tier=i) for i, table in enumerate(ledgers.values())]
    entries = pd.concat(tables or [pd.DataFrame(columns=[*_ENTRY, "tier"])], ignore_index=True)
    return entries.assign(place=encoded.indices.to_numpy()), encoded.dictionary


def _wrong(
    requests: pd.DataFrame,
    place: np.ndarray,
    tier: np.ndarray,
    entries: pd.DataFrame,
    nonces: int,
    tiers: int,
) -> np.ndarray:
    """Mask over the requests: those with a `contradiction`. The same rules, vectorized."""
    given = tier >= 0
    # Arrays over (nonce, tier); requests without an entry use the last index, which stays False.
    size = nonces * tiers
    key = np.where(given & (place >= 0), place.astype(np.int64) * tiers + tier, size)
    entered, gave_all, ended_well = (np.zeros(size + 1, bool) for _ in range(3))
    entry_key = entries["place"].to_numpy(np.int64) * tiers + entries["tier"].to_numpy(np.int64)
    entered[entry_key] = True
    for there, ends in ((gave_all, GAVE_ALL), (ended_well, ENDED_WELL)):
        there[entry_key[(entries["how"].isin(ends) | entries["ending"].isin(ends)).to_numpy(bool)]] = True

    ok = given & entered[key] & (requests["outcome"] == Outcome.OK).to_numpy(bool)
    to_the_cap = requests["witness"].isin([Witness.END, Witness.USAGE]).to_numpy(bool)
    well = np.where(to_the_cap, gave_all[key], ended_well[key])
    wrong = (given & ~entered[key]) | (ok & ~well)

    several = entered[:size].reshape(nonces, tiers).sum(axis=1) > 1 if size else np.zeros(nonces, bool)
    rows = np.flatnonzero(ok & well)
    rows = rows[several[place[rows]]]
    ours = pd.DataFrame(
        {
            "row": rows,
            "place": place[rows],
            "by": tier[rows],
            "first": requests["first_at"].to_numpy(float)[rows],
        }
    )
    theirs = entries.loc[several[entries["place"].to_numpy()], ["place", "tier", "arrived_at", "first_at"]]
    both = ours.merge(theirs, on="place")
    own = both["tier"] == both["by"]
    last_at = both["arrived_at"].where(own).groupby(both["row"]).transform("max")
    answered_before = both["first_at"] < both["first"] + CLOCKS_S
    wrong[both.loc[~own & (both["arrived_at"] > last_at) & answered_before, "row"]] = True
    return wrong


def _by_nonce(
    entries: pd.DataFrame, places: np.ndarray, nonces: pa.Array, tiers: Sequence[str]
) -> dict[str, list[Entry]]:
    """Nonce → its entries in order of arrival, for the nonces with these indices, in the order of `nonces`."""
    chosen = np.unique(places[places >= 0])
    found: dict[str, list[Entry]] = {nonce: [] for nonce in nonces.take(pa.array(chosen)).to_pylist()}
    some = entries[np.isin(entries["place"].to_numpy(), chosen)].sort_values("arrived_at", kind="stable")
    names = nonces.take(pa.array(some["place"].to_numpy())).to_pylist()
    columns = [some[c].astype(object).where(some[c].notna(), None) for c in _ENTRY]
    for name, tier, *fields in zip(names, some["tier"], *columns, strict=True):
        found[name].append(Entry(tiers[tier], name, *fields))
    return found


def _unrecorded(nonces: pa.Array, known: Sequence[pa.Array]) -> np.ndarray:
    """The indices of the nonces that have the prefix of this run but no record."""
    ids = pa.chunked_array(known, pa.large_string())
    unknown = np.flatnonzero(~pc.is_in(nonces, ids).to_numpy(zero_copy_only=False))
    runs: set[str] = set()
    for part in _parts(ids):
        runs.update(pc.unique(_heads(part)).to_pylist())
    heads = _heads(nonces.take(pa.array(unknown))).to_pylist()
    return unknown[[head in runs and "-" in head for head in heads]] if heads else unknown


def _heads(ids: pa.Array) -> pa.Array:
    """`record-1a2b3c` of `record-1a2b3c-00002f`: the prefix of a run's requests. An id without `-` belongs to no run."""
    return pc.list_element(pc.split_pattern(ids, "-", max_splits=1, reverse=True), 0)


def _parts(ids: pa.ChunkedArray) -> Iterator[pa.Array]:
    for chunk in ids.chunks:
        for begin in range(0, len(chunk), _AT_ONCE):
            yield chunk.slice(begin, _AT_ONCE)


def _text(column: pd.Series) -> pa.Array:
    made = pa.array(column)
    whole = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
    return whole.cast(pa.large_string())


def contradiction(
    entries: Sequence[Entry], tier: str, outcome: str, witness: str | None, first_at: float | None
) -> str | None:
    """How the ledgers contradict an answer by `tier`, in words; None if they agree.

    They agree if:
    - The tier's ledger has this nonce.
    - An `ok` answer ended well there: at its cap, if that is its witness. An answer that the engine ended early is not ok,
      whatever the gateway reported.
    - No other tier got the request later and gave content before the recorded first token: that tier would have served.

    A `cut` answer may be complete in the ledger: it can be cut in transit.
    """
    mine = [e for e in entries if e.tier == tier]
    if not mine:
        others = ", ".join(dict.fromkeys(e.tier for e in entries)) or "no tier"
        return f"recorded as answered by {tier}; {others} got the request"
    if outcome != Outcome.OK:
        return None
    good = GAVE_ALL if witness in (Witness.END, Witness.USAGE) else ENDED_WELL
    if not any(e.how in good or e.ending in good for e in mine):
        return f"recorded as ok; the ledger of {tier} has {mine[-1].how or 'no end'}"
    for e in entries:
        if e.tier != tier and e.arrived_at > mine[-1].arrived_at and _answered_before(e, first_at):
            return f"recorded as answered by {tier}; {e.tier} got the request after it and answered first"
    return None


def _answered_before(entry: Entry, first_at: float | None) -> bool:
    # A frozen engine reads abandoned requests when it thaws, but gives no content for them.
    return entry.first_at is not None and first_at is not None and entry.first_at < first_at + CLOCKS_S
