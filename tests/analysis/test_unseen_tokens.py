"""A run whose answers show no token: nothing is lost or 0, and their ends count as the first token."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis import frames, judge
from analysis.__main__ import main
from analysis.evidence import Evidence
from analysis.figures import ttft_itl
from analysis.metrics import chunks, latency, outages, overhead, rates, shares
from analysis.reporting import summary, tables
from tests.analysis.reports import pictures
from tests.synthetic import three_tier
from tests.synthetic_world import OLLAMA

ALL = ("vllm", "ollama", "openai")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run, its tokens shown and not."""
    folder = tmp_path_factory.mktemp("unseen")
    made = [three_tier(folder, unseen=unseen, name=name) for name, unseen in (("shown", ()), ("unseen", ALL))]
    return [Evidence(frames.read(m.path)) for m in made]


def test_the_end_of_an_answer_stands_for_its_first_token(runs):
    _, run = runs
    requests = run.frames.requests
    good = requests[requests["good"]]
    assert good["ttft_ms"].isna().all()
    assert (good["first_at"] == good["ended_at"]).all()
    assert requests.loc[~requests["good"] & requests["ttft_ms"].isna(), "first_at"].isna().all(), (
        "what failed had none"
    )


def test_what_was_not_shown_is_not_measured_and_not_0(runs):
    _, run = runs
    requests = run.frames.requests
    for found in (
        latency.ttft_ms(requests),
        latency.tpot_ms(requests),
        latency.first_token_ms(requests, "scheduled"),
    ):
        assert found.empty
    assert chunks.chunk_gaps(requests).n == 0
    pairs = run.pairs
    assert overhead.overhead(pairs, "ttft_ms") is None
    assert overhead.overhead(pairs, "latency_ms").ms == pytest.approx(14, abs=3)
    (found,) = [f for f in judge.judge(run).findings if f.name == "overhead"]
    assert found.measured.startswith(f"TTFT unknown (0 of {len(pairs)} pairs have one); total +")


def test_tokens_that_are_not_shown_are_spread_over_the_whole_exchange(runs):
    shown, unseen = (
        rates.tokens_over_time(r.frames.requests, list(ALL), r.frames.started_at + np.arange(0.0, 206.0, 0.5))
        for r in runs
    )
    assert unseen.to_numpy().sum() == pytest.approx(shown.to_numpy().sum(), rel=0.001)
    assert unseen.to_numpy().max() < 1.5 * shown.to_numpy().max(), "no burst where an answer ends"


def test_failover_gap_and_recovery_are_those_of_the_answers_ends(runs):
    found = []
    for run in runs:
        (trial,) = run.trials_of("gaming-mode")
        lost_at = run.lost_at(trial)
        requests, covered = run.fit(trial), run.frames.covered
        took = outages.failover(requests, covered, trial, lost_at, "ollama")
        back, _ = run.recovery(trial, 60.0)
        calm = outages.calm_ttft_s(run.frames.requests, run.trials, "ollama", "probe_new")
        found.append((took.s, back.s, calm))
    (shown, back, calm), (unseen, back_unseen, calm_unseen) = found
    assert shown <= unseen < shown + 1.0
    assert back_unseen == pytest.approx(back, abs=0.5)
    assert calm_unseen == pytest.approx(calm, abs=0.01), "a probe's one token is its end"
    assert calm == pytest.approx(OLLAMA.ttft_s, abs=0.05)


def test_goodput_judges_by_the_end_what_showed_no_token(runs):
    _, run = runs
    requests = run.frames.requests
    assert shares.goodput(requests, 10_000).ratio == shares.goodput(requests, None).ratio
    assert shares.goodput(requests, 100).ratio == 0.0, "no answer ended so soon"
    assert not shares.within(requests, 100)[requests["good"] & (requests["latency_ms"] > 100)].any()


def test_the_whole_report_is_made_and_counts_them(runs):
    _, run = runs
    with pictures():
        assert main(["report", str(run.frames.path), "--quiet"]) == 0
    folder = run.frames.path / "report"
    assert not (folder / "errors.txt").exists()
    assert json.loads((folder / "verdict.json").read_text())["exit_code"] == 0
    good = int(run.frames.requests["good"].sum())
    assert f"{good} good answers show no token" in (folder / "summary.md").read_text()
    assert "NaN" not in (folder / "verdict.json").read_text()
    phases = pd.read_csv(folder / "phases.csv")
    assert phases["p50_ttft_ms"].isna().all()
    assert (phases.loc[phases["phase"] == "baseline", "goodput"] == 1.0).all()


def test_the_figure_of_first_tokens_names_what_has_none(runs, thoughtful):
    (_, unseen), (_, alone) = runs, thoughtful
    assert "good streamed answers shows a token" in ttft_itl.title(unseen)
    ttft_itl.draw(unseen)
    assert ttft_itl.title(alone).startswith(
        "First token at the median: vllm unknown, then 20 ms a chunk; ollama"
    )
    ttft_itl.draw(alone)


def test_a_judged_ttft_says_how_many_answers_have_none(tmp_path):
    params = {"latency": {"quantile": 0.5, "max_ms": 2000, "of": "ttft"}}
    run = Evidence(frames.read(three_tier(tmp_path, unseen=("ollama",), expect=params).path))
    (found,) = [f for f in judge.judge(run).findings if f.name == "latency"]
    assert " more have no content and no TTFT" in found.evidence


@pytest.fixture(scope="module")
def thoughtful(tmp_path_factory):
    """The same run of models that think aloud: for 3 s before their content, and without any content."""
    folder = tmp_path_factory.mktemp("thoughtful")
    made = [three_tier(folder, thoughts_s=s, name=name) for s, name in ((3.0, "long"), (np.inf, "alone"))]
    return [Evidence(frames.read(m.path)) for m in made]


def test_a_thought_is_the_first_token_of_a_calm_answer_as_it_is_of_a_failover(runs, thoughtful):
    shown, _ = runs
    lengths = ["failover_s", "detection_s", "gap_new_lower_s", "gap_new_upper_s", "recovery_s"]
    expected = tables.failovers(shown)[lengths].astype(float)
    assert (expected["detection_s"] > 0.1).all()
    assert (expected["gap_new_lower_s"] > 0.1).all()
    for run in thoughtful:
        pd.testing.assert_frame_equal(tables.failovers(run)[lengths].astype(float), expected, atol=0.01)


def test_answers_of_thoughts_alone_are_not_reported_as_without_token(thoughtful):
    long, alone = thoughtful
    good = int(alone.frames.requests["good"].sum())
    text = "\n".join(summary.quality(alone))
    assert f"{good} good answers show thoughts and no content. They have no TTFT;" in text
    assert "show no token" not in text
    assert chunks.chunk_gaps(alone.frames.requests).n > 0
    assert not latency.tpot_ms(alone.frames.requests).empty
    assert "no content" not in "\n".join(summary.quality(long))
