"""A ramp of each tier in turn finds the capacity that its engine was given, and reports the engine's gauges at it."""

import csv
import json
import re

import pytest
import yaml

from contract.run import read_arrow
from contract.schemas import REQUESTS
from tests.chaos.stand import ROOT
from tests.whole.stack import SHORT, latest, locust, write_inputs

FACTOR = 1.4
TOKENS = 10  # an answer of the scenario chat
# Slots, seconds to the first token, seconds between two tokens.
STATED = {"vllm": (4, 0.2, 0.05), "ollama": (2, 0.1, 0.04)}


def _inputs(folder):
    path = write_inputs(folder)
    data = yaml.safe_load(path.read_text())
    for tier, (slots, first_s, next_s) in STATED.items():
        data["embedded"]["engines"][tier] |= {
            "max-num-seqs": slots, "time-factor-under-load": 1.0, "time-to-first-token": f"{first_s * 1000:g}ms",
            "inter-token-latency": f"{next_s * 1000:g}ms",
        }  # fmt: skip
    path.write_text(yaml.safe_dump(data))
    (folder / "short.yaml").write_text(SHORT)
    return path, folder / "short.yaml"


@pytest.mark.verify
@pytest.mark.timeout(900)
@pytest.mark.shows("capacity", "make ramp VIA=each", on="embedded + real LiteLLM")
def test_each_tiers_capacity_is_found_again_and_is_in_one_table(tmp_path):
    options = (
        "--ramp-from",
        "2",
        "--ramp-factor",
        str(FACTOR),
        "--ramp-hold",
        "15s",
        "--objective-ttft-ms",
        "1500",
    )
    process = locust(
        *_inputs(tmp_path), tmp_path / "results", "-f", "locustfile.py,scenarios/shapes/ramp.py", "--via", "each", *options, users=1
    )  # fmt: skip
    out, _ = process.communicate(timeout=850)
    run = latest(tmp_path / "results")
    rows = {r["via"]: r for r in csv.DictReader((run / "capacity.csv").open())}
    assert list(rows) == ["vllm", "ollama", "gateway"], out
    assert process.returncode == (5 if "unknown_beyond" in {r["bound"] for r in rows.values()} else 0), out
    for tier, (slots, first_s, next_s) in STATED.items():
        can, row = slots / (first_s + (TOKENS - 1) * next_s), rows[tier]
        rate = float(row["rate"] or 0)
        assert rate <= 1.15 * can, (tier, out)
        if row["bound"] == "highest":  # else this machine was too busy
            assert rate > can / FACTOR**2.5, (tier, out)
            assert float(row["tokens_per_s"]) == pytest.approx(rate * TOKENS, rel=0.35)
            assert float(row["in_flight_little"]) == pytest.approx(float(row["in_flight"]), rel=0.6)
            assert float(row["running"] or slots) <= slots
    assert re.search(r"^via +highest rate", out, re.MULTILINE)
    ramps = {r["via"]: r for r in json.loads((run / "ramp.json").read_text())["ramps"]}
    requests = [a for a in read_arrow(run / "requests.arrow", REQUESTS)[0].to_pylist() if a["lane"] == "load"]
    kv_cache = {
        via: [s["kv_cache"] for s in ramp["steps"] if s["kv_cache"] is not None]
        for via, ramp in ramps.items()
    }
    assert kv_cache["vllm"], "vLLM reports its cache"
    assert not kv_cache["ollama"]
    assert not kv_cache["gateway"]
    for via, ramp in ramps.items():
        sent = sum(a["via"] == via for a in requests)
        assert sent == sum(s["scheduled"] - s["dropped"] for s in ramp["steps"])


@pytest.mark.verify
@pytest.mark.timeout(900)
@pytest.mark.shows(
    "capacity", "make ramp TOPOLOGY=topologies/llamacpp.yaml VIA=llamacpp", on="embedded + real engine"
)
def test_a_real_engine_is_ramped_and_reports_what_runs_in_it(tmp_path):
    (tmp_path / "short.yaml").write_text(SHORT)
    options = ("--ramp-from", "1", "--ramp-to", "1", "--ramp-hold", "5s")
    process = locust(
        ROOT / "topologies/llamacpp.yaml", tmp_path / "short.yaml", tmp_path / "results",
        "-f", "locustfile.py,scenarios/shapes/ramp.py", "--via", "llamacpp", *options, users=1,
    )  # fmt: skip
    out, _ = process.communicate(timeout=850)
    run = latest(tmp_path / "results")
    ((row,), (ramp,)) = (
        list(csv.DictReader((run / "capacity.csv").open())),
        json.loads((run / "ramp.json").read_text())["ramps"],
    )
    assert row["via"] == ramp["via"] == "llamacpp"
    assert row["bound"] in ("at_least", "highest", "none", "unknown_beyond"), out
    assert [s for s in ramp["steps"] if s["running"] is not None], "llama.cpp reports its running requests"
    requests = [a for a in read_arrow(run / "requests.arrow", REQUESTS)[0].to_pylist() if a["lane"] == "load"]
    assert {a["tier"] for a in requests if a["outcome"] == "ok"} == {"llamacpp"}
