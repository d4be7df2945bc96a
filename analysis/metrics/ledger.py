"""What the engines of an embedded stack wrote down of our requests, against what our records say. Pure but for `read`.

A ledger is the truth: where it contradicts a record, the record lies. Pages of the engines' own telling (`ledger/*.jsonl`)
are told in results/README.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json

from contract.records import Outcome, Witness

GAVE_ALL = ("length", "garbled")  # garbled: to its end, with a part in it that is no JSON
ENDED_WELL = (*GAVE_ALL, "stop")
CLOCKS_S = 0.005  # two processes' clocks, both anchored to the same machine's


@dataclass(frozen=True, slots=True)
class Entry:
    """One request as one engine saw it."""

    tier: str
    nonce: str
    arrived_at: float
    first_at: float | None = None  # content was written
    how: str | None = None  # None: it never ended
    # How it was about to end, said before its last bytes: true of one that was killed there.
    ending: str | None = None


_ENTRY = ("arrived_at", "first_at", "how", "ending")
_TEXT, _INSTANT = ("line", "id", "nonce", "how", "ending"), ("arrived_at", "begun_at", "first_byte_at")
_LINES = pa.schema([*((name, pa.string()) for name in _TEXT), *((name, pa.float64()) for name in _INSTANT)])
_AT_ONCE = 2**18  # ids that are taken apart together


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of the comparison."""

    answers: dict[str, int]  # tier → answers that our records say it gave
    contradicted: dict[str, list[str]]  # tier → what its ledger says otherwise, each in words
    unrecorded: dict[str, list[str]]  # tier → nonces of this run that it was asked under and no record has


def read(path: Path) -> pd.DataFrame:
    """One engine's ledger, a row for each request with a nonce. A torn tail is passed over; what is no ledger holds none.

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


def check(
    requests: pd.DataFrame, known: Sequence[pd.Series], ledgers: Mapping[str, pd.DataFrame], whole: bool
) -> Checked:
    """Every request whose answer our records give to a tier that has a ledger, against all of them.

    `known`: the ids of all records, warm-up included. `ledgers`: tier → see `read`. `whole`: the run was closed and none
    of its files is torn, so that a request of this run's in a ledger must have a record.
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
        assert words is not None, f"{name}: only what is contradicted comes here"
        checked.contradicted[by].append(f"{name}: {words}")

    if whole:
        missing = _unrecorded(nonces, [_text(ids) for ids in known])
        for nonce, told in _by_nonce(entries, missing, nonces, tiers).items():
            checked.unrecorded[told[-1].tier].append(nonce)
    return checked


def _entries(ledgers: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pa.Array]:
    """All entries, tier after tier, and each nonce once, as they are met; an entry has the `place` of its nonce there."""
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
    """Which asks have a `contradiction`: the same rules, over columns."""
    given = tier >= 0
    # Of each nonce and tier what the ledger has; what nobody asked has the last place, where nothing is.
    size = nonces * tiers
    key = np.where(given & (place >= 0), place.astype(np.int64) * tiers + tier, size)
    asked, gave_all, ended_well = (np.zeros(size + 1, bool) for _ in range(3))
    entry_key = entries["place"].to_numpy(np.int64) * tiers + entries["tier"].to_numpy(np.int64)
    asked[entry_key] = True
    for there, ends in ((gave_all, GAVE_ALL), (ended_well, ENDED_WELL)):
        there[entry_key[(entries["how"].isin(ends) | entries["ending"].isin(ends)).to_numpy(bool)]] = True

    ok = given & asked[key] & (requests["outcome"] == Outcome.OK).to_numpy(bool)
    to_the_cap = requests["witness"].isin([Witness.END, Witness.USAGE]).to_numpy(bool)
    well = np.where(to_the_cap, gave_all[key], ended_well[key])
    wrong = (given & ~asked[key]) | (ok & ~well)

    several = asked[:size].reshape(nonces, tiers).sum(axis=1) > 1 if size else np.zeros(nonces, bool)
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
    spoke_before = both["first_at"] < both["first"] + CLOCKS_S
    wrong[both.loc[~own & (both["arrived_at"] > last_at) & spoke_before, "row"]] = True
    return wrong


def _by_nonce(
    entries: pd.DataFrame, places: np.ndarray, nonces: pa.Array, tiers: Sequence[str]
) -> dict[str, list[Entry]]:
    """Nonce → what engines wrote down under it, in order of arrival; of the nonces at these places, in their order there."""
    wanted = np.unique(places[places >= 0])
    found: dict[str, list[Entry]] = {nonce: [] for nonce in nonces.take(pa.array(wanted)).to_pylist()}
    some = entries[np.isin(entries["place"].to_numpy(), wanted)].sort_values("arrived_at", kind="stable")
    names = nonces.take(pa.array(some["place"].to_numpy())).to_pylist()
    columns = [some[c].astype(object).where(some[c].notna(), None) for c in _ENTRY]
    for name, tier, *told in zip(names, some["tier"], *columns, strict=True):
        found[name].append(Entry(tiers[tier], name, *told))
    return found


def _unrecorded(nonces: pa.Array, known: Sequence[pa.Array]) -> np.ndarray:
    """The places of the nonces that no record has although they begin as those of this run."""
    ids = pa.chunked_array(known, pa.large_string())
    unknown = np.flatnonzero(~pc.is_in(nonces, ids).to_numpy(zero_copy_only=False))
    runs: set[str] = set()
    for part in _parts(ids):
        runs.update(pc.unique(_heads(part)).to_pylist())
    heads = _heads(nonces.take(pa.array(unknown))).to_pylist()
    return unknown[[head in runs and "-" in head for head in heads]] if heads else unknown


def _heads(ids: pa.Array) -> pa.Array:
    """`record-1a2b3c` of `record-1a2b3c-00002f`: all that a run asks begins alike. One without `-` in it is no run's."""
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
