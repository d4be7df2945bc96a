"""A real LiteLLM behind a delay of 50 ms: the comparison finds 50 ms, and no difference of a run with itself."""

import json
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import yaml

from analysis.__main__ import main
from tests.chaos.stand import ROOT
from tests.whole.stack import latest, locust

DELAY_MS = 50
CALM = """
hypothesis: users notice nothing while an unused tier is away
baseline: 44s
settle: 6s
max: 3m
objectives: {ttft_ms: 2000}
steps:
  - {name: unnoticed, at: 44s, for: 2s, fault: scale_to_zero, target: ollama}
expect:
  cuts: {max_per_trial: 0}
"""


@contextmanager
def delayed(port):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.whole.delayed", str(port), str(DELAY_MS)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)


def soak(topology, timeline, results, seed):
    running = locust(topology, timeline, results, "--arrivals", "poisson:3/s", "--seed", str(seed))
    out, _ = running.communicate(timeout=240)
    assert (results / "latest").is_dir(), out
    return latest(results)


@pytest.mark.verify
@pytest.mark.timeout(600)
def test_50_ms_in_front_of_the_gateway_are_found(stack, tmp_path, capsys):
    timeline, results = tmp_path / "calm.yaml", tmp_path / "results"
    timeline.write_text(CALM)
    before = soak(stack.path, timeline, results, 1)
    stack.calm()
    data = yaml.safe_load(stack.path.read_text())
    with delayed(urlsplit(data["gateway"]["url"]).port) as port:
        data["gateway"]["url"] = f"http://127.0.0.1:{port}"
        (tmp_path / "delayed").mkdir()
        slower = tmp_path / "delayed" / "topology.yaml"
        (slower.parent / "gateway.yaml").write_text((stack.path.parent / "gateway.yaml").read_text())
        slower.write_text(yaml.safe_dump(data, sort_keys=False))
        after = soak(slower, timeline, results, 2)

    code = main(["compare", str(before), str(after), "--out", str(tmp_path / "compared")])
    print(capsys.readouterr().out)
    assert code == 1
    compared = json.loads((tmp_path / "compared" / "comparison.json").read_text())
    rows = {(r["metric"], r["statistic"], r["of"], r["via"]): r for r in compared["rows"]}
    seen = [("overhead_ttft", "median", "all tiers", "gateway"), ("latency", "p50", "vllm", "gateway")]
    judged = [rows[key] for key in seen if rows[key]["judged"] != "cannot tell"]
    assert judged, "the machine was too busy for both"
    for row in judged:
        # A tenth of a latency may be nearly the delay, so it may not be beyond the tolerance.
        assert row["judged"] in ("worse", "slightly worse"), row
        assert row["high"] >= DELAY_MS, row
        assert row["low"] <= 2 * DELAY_MS, row  # a busy machine adds its own to proxy and gateway
    assert rows["chunk_gap", "p50", "vllm", "gateway"]["judged"] != "worse"

    assert main(["compare", str(before), str(before), "--out", str(tmp_path / "itself")]) == 0
    itself = json.loads((tmp_path / "itself" / "comparison.json").read_text())
    assert {r["judged"] for r in itself["rows"]} <= {"no difference found", "cannot tell"}
