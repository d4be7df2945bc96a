"""The vectorised comparison with the ledgers finds the same contradictions as a plain loop, on random small runs."""

import functools
import json
import random

import pandas as pd
import pytest

from analysis.metrics import ledger
from analysis.metrics.ledger import CLOCKS_S, ENDED_WELL, GAVE_ALL, Checked
from contract.records import Outcome, Witness

RUNS = 150
FAST = 50  # of them the fast tests compare
OURS, WARM, OTHERS = "req-1a2b3c", "req-1a2b3c-w", "req-998877"
NO_RUNS = ("req-1", "alone", "", "-", "a--b")
ENDS = ("length", "length", "length", "garbled", "stop", "abort", "gone", None)


# The reference: entries by nonce, then one request after another.


def by_nonce(tables):
    found = {}
    for tier, table in tables.items():
        for row in table.astype(object).where(table.notna(), None).to_dict("records"):
            found.setdefault(row["nonce"], []).append(row | {"tier": tier})
    for entries in found.values():
        entries.sort(key=lambda e: e["arrived_at"])
    return found


def check(requests, known, tables, whole):
    ledgers, tiers = by_nonce(tables), list(tables)
    checked = Checked(dict.fromkeys(tiers, 0), {t: [] for t in tiers}, {t: [] for t in tiers})
    for record in requests.astype(object).where(requests.notna(), None).to_dict("records"):
        if record["tier"] in tables:
            checked.answers[record["tier"]] += 1
            wrong = contradiction(ledgers.get(record["request_id"], []), record)
            if wrong is not None:
                checked.contradicted[record["tier"]].append(f"{record['request_id']}: {wrong}")
    runs = {run_of(name) for name in known} - {None}
    for nonce, entries in ledgers.items():
        if whole and nonce not in known and run_of(nonce) in runs:
            checked.unrecorded[entries[-1]["tier"]].append(nonce)
    return checked


def contradiction(entries, record):
    tier = record["tier"]
    mine = [e for e in entries if e["tier"] == tier]
    if not mine:
        others = ", ".join(dict.fromkeys(e["tier"] for e in entries)) or "no tier"
        return f"recorded as answered by {tier}; {others} got the request"
    if record["outcome"] != Outcome.OK:
        return None
    good = GAVE_ALL if record["witness"] in (Witness.END, Witness.USAGE) else ENDED_WELL
    if not any(e["how"] in good or e["ending"] in good for e in mine):
        return f"recorded as ok; the ledger of {tier} has {mine[-1]['how'] or 'no end'}"
    for e in entries:
        later = e["tier"] != tier and e["arrived_at"] > mine[-1]["arrived_at"]
        told = e["first_at"] is not None and record["first_at"] is not None
        if later and told and e["first_at"] < record["first_at"] + CLOCKS_S:
            return f"recorded as answered by {tier}; {e['tier']} got the request after it and answered first"
    return None


def run_of(nonce):
    head, _, _ = nonce.rpartition("-")
    return head if "-" in head else None


# Random runs.


def lines_of(rng, number, nonce):
    """The ledger lines of one request: complete, without the end, up to the first token, or almost none."""
    arrived_at = 1.0 + rng.randrange(4) / 4  # some at the same instant
    common = {"id": str(number), "nonce": nonce, "arrived_at": arrived_at}
    lines = [{"line": "arrived"} | common]
    first_at = rng.choice((None, 1.3, 1.3 + CLOCKS_S, 1.3 + CLOCKS_S / 2, arrived_at + 0.1))
    if rng.random() < 0.5:
        lines.append({"line": "begun", "id": str(number), "begun_at": first_at})
    if rng.random() < 0.4:
        lines.append({"line": "ending", "id": str(number), "ending": rng.choice(ENDS)})
    if rng.random() < 0.7:
        ended = {"how": rng.choice(ENDS), "ending": rng.choice(ENDS), "first_byte_at": first_at}
        lines.append({"line": "ended", "id": str(number)} | ended)
    return lines


def random_run(seed, folder):
    rng = random.Random(seed)
    tiers = ["a", "b", "c"][: rng.randint(1, 3)]
    names = [f"{run}-{i:05x}" for run in (OURS, WARM, OTHERS) for i in range(3)] + list(NO_RUNS)
    tables = {}
    for tier in tiers:
        if rng.random() < 0.9:  # else it keeps no ledger
            sent = rng.choices(names, k=rng.choice((0, 4, 20, 30)))
            lines = [line for i, nonce in enumerate(sent) for line in lines_of(rng, i, nonce)]
            path = folder / f"{tier}.jsonl"
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            tables[tier] = ledger.read(path)
    requests = pd.DataFrame(
        [
            {
                "request_id": rng.choice(
                    [n for n in names if not n.startswith(OTHERS)]
                ),  # one twice, now and then
                "tier": rng.choice([*tiers, None]),
                "outcome": rng.choice((Outcome.OK, Outcome.OK, Outcome.OK, Outcome.CUT)),
                "witness": rng.choice((*Witness, None)),
                "first_at": rng.choice((1.3, 1.3, 1.6, None)),
            }
            for _ in range(rng.choice((0, 8, 30)))
        ],
        columns=["request_id", "tier", "outcome", "witness", "first_at"],
    ).astype({"request_id": "str", "first_at": "float64"})
    for column in ("tier", "outcome", "witness"):
        requests[column] = requests[column].astype("str").astype("category")
    warm = pd.Series([f"{WARM}-{i:05x}" for i in range(rng.randrange(4))], dtype="str")
    return requests, warm, tables


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """For a seed's run, the result of the vectorised code and that of the loop."""

    @functools.cache
    def of(seed):
        requests, warm, tables = random_run(seed, tmp_path_factory.mktemp("ledgers"))
        known, whole = [requests["request_id"], warm], seed % 3 > 0
        return (
            ledger.check(requests, known, tables, whole),
            check(requests, set(pd.concat(known)), tables, whole),
        )

    return of


@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=[pytest.mark.verify] if s >= FAST else []) for s in range(RUNS)]
)
def test_over_columns_the_same_is_found_in_the_same_words_and_order(both, seed):
    columnar, looped = both(seed)
    assert columnar == looped


@pytest.mark.verify
def test_the_random_runs_have_every_kind_of_contradiction_and_answers_that_agree(both):
    found = [both(seed)[1] for seed in range(RUNS)]
    words = [w for looped in found for texts in looped.contradicted.values() for w in texts]
    for kind in (
        "; no tier got the request", "; c got the request", ", a got the request", "has no end", "has abort", "has stop",
        "got the request after it and answered first",
    ):  # fmt: skip
        assert sum(kind in w for w in words) > 2, kind
    assert sum(n for looped in found for n in looped.answers.values()) - len(words) > 100
    unrecorded = {
        run_of(nonce) for looped in found for texts in looped.unrecorded.values() for nonce in texts
    }
    assert unrecorded == {OURS, WARM}
    assert any(not looped.answers for looped in found)
