"""A whole run, with a real Locust and a real LiteLLM: the records agree with the engines' ledgers and the gateway's counts."""

import csv
import json
from collections import Counter

import pytest

from contract import samplers
from contract.run import read_arrow, read_lines, read_manifest
from contract.schemas import REQUESTS
from tests.whole.stack import SHORT, latest, locust

MANY = (
    SHORT.replace("baseline: 8s", "baseline: 20s")
    .replace("at: 8s", "at: 20s")
    .replace("at: 12s", "at: 26s")
    .replace("settle: 14s", "settle: 35s")
)


def requests_of(run):
    found = []
    for name in ("requests.arrow", "probe.arrow"):
        table, torn = read_arrow(run / name, REQUESTS)
        assert not torn
        found += [a for a in table.to_pylist() if a["covered_by"] is None]
    return found


def run_locust(stack, tmp_path, text, users):
    (tmp_path / "short.yaml").write_text(text)
    before = stack.counted()
    process = locust(stack.path, tmp_path / "short.yaml", tmp_path / "results", users=users)
    out, _ = process.communicate(timeout=170)
    after = stack.counted()
    counted = {group: after[group] - before.get(group, 0.0) for group in after}
    return latest(tmp_path / "results"), out, process.returncode, counted


def check_truth(stack, run, counted):
    """Every request agrees with the ledger of the tier that it names, and the counts with the gateway's."""
    requests = requests_of(run)
    ledgers = {tier.name: stack.ledger(tier.name) for tier in stack.topology.tiers}
    for record in requests:
        reached = [name for name, ledger in ledgers.items() if record["request_id"] in ledger]
        if record["tier"] is not None:
            assert record["tier"] in reached, f"{record} names a tier that never got it"
            entry = ledgers[record["tier"]][record["request_id"]]
            if record["outcome"] == "ok":
                assert entry.how == "length", (
                    f"{record} is recorded as whole, and its engine reports {entry.how}"
                )
                assert record["output_tokens"] == entry.output_tokens == record["max_tokens"]
            elif record["outcome"] == "cut":
                assert entry.how != "length", f"{record} is recorded as cut, and its engine finished it"
        elif record["outcome"] == "refused":
            assert not reached
    # An answer that the engine ended before its time is never ok, whatever the gateway reports.
    ok = {a["request_id"] for a in requests if a["outcome"] == "ok"}
    for name, ledger in ledgers.items():
        aborted = {nonce for nonce, entry in ledger.items() if entry.how == "abort"}
        assert not aborted & {a["request_id"] for a in requests if a["outcome"] == "ok" and a["tier"] == name}
    # The gateway counts what it reported as a success: our whole answers, and those that it wrongly reported as whole.
    ours = Counter(a["route_group"] for a in requests if a["via"] == "gateway" and reported_as_whole(a))
    wrong = {
        g: (ours[g], counted.get(g, 0)) for g in set(ours) | set(counted) if ours[g] != counted.get(g, 0)
    }
    assert not wrong, f"ours, the gateway's: {wrong}"
    assert ok
    return requests


def reported_as_whole(record):
    return record["status"] == 200 and record["finish_reason"] is not None


@pytest.mark.parametrize(
    "end", ["abort", *(pytest.param(e, marks=pytest.mark.verify) for e in ("error", "silence"))]
)
def test_a_run_agrees_with_the_ledgers_and_the_gateways_counts(stack, tmp_path, end):
    with stack.going_with(end):
        run, out, code, counted = run_locust(stack, tmp_path, SHORT, users=12)
    requests = check_truth(stack, run, counted)
    assert len(requests) > 60
    assert code == 0, out
    assert "pass  restored" in out
    manifest = read_manifest(run)
    assert manifest["status"] == "finished"
    assert manifest["counts"]["ok"] == sum(
        a["outcome"] == "ok" for a in requests if a["scenario"] not in ("probe", "warmup")
    )
    assert "LITELLM" in (run / "topology.yaml").read_text()
    assert "sk-of-the-tests" not in "".join(
        p.read_text(errors="replace") for p in run.rglob("*") if p.is_file()
    )
    assert samplers.read(run, "health")[0].num_rows > 50
    assert samplers.read(run, "client")[0].num_rows > 25
    assert [e["stage"] for e in read_lines(run / "chaos.jsonl")[0]].count("effective") == 4
    with open(run / "locust_stats.csv") as f:
        assert any(row["Name"] == "gateway → vllm" for row in csv.DictReader(f))
    verdict = json.loads((run / "report" / "verdict.json").read_text())
    assert verdict["status"] == "pass"
    assert ("reconciled", "pass") in [(f["name"], f["status"]) for f in verdict["findings"]]
    with open(run / "report" / "reconciliation.csv") as f:
        rows = {(row["tier"], row["source"]): row for row in csv.DictReader(f)}
    for tier in stack.topology.tiers:
        ours = rows[tier.name, "gateway"]
        assert (ours["judgement"], ours["difference"]) == ("agrees", "0"), rows
        assert rows[tier.name, "ledger"]["judgement"] == "agrees"
    assert "gaming-mode" in rows["vllm", "engine"]["why"]
    for figure in ("timeline", "latency_by_tier", "failover_gap", "throughput"):
        assert (run / "report" / f"{figure}.png").stat().st_size > 10_000


@pytest.mark.verify
def test_a_run_of_a_thousand_requests_agrees_with_the_ledgers_and_the_gateways_counts(stack, tmp_path):
    run, out, _, counted = run_locust(stack, tmp_path, MANY, users=120)
    requests = check_truth(stack, run, counted)
    assert len(requests) >= 1000, out
    recorded = Counter((a["outcome"], a["tier"]) for a in requests)
    print(f"{len(requests)} requests: {recorded}; counted {counted}")


@pytest.mark.verify
def test_a_longer_soak_repeats_the_timeline_and_each_round_is_a_trial(stack, tmp_path):
    (tmp_path / "short.yaml").write_text(SHORT)
    process = locust(stack.path, tmp_path / "short.yaml", tmp_path / "results", "--duration", "70s")
    out, _ = process.communicate(timeout=170)
    assert process.returncode == 0, out
    run = latest(tmp_path / "results")
    restores = [
        e for e in read_lines(run / "chaos.jsonl")[0] if (e["move"], e["stage"]) == ("restore", "effective")
    ]
    assert sorted((e["trial"], e["step"]) for e in restores) == [
        (1, "cpu-tier-too"), (1, "gaming-mode"), (2, "cpu-tier-too"), (2, "gaming-mode"),
    ]  # fmt: skip
    with open(run / "report" / "failover.csv") as f:
        assert [row["trial"] for row in csv.DictReader(f)].count("2") == 2
