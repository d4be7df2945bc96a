"""The known content of a synthetic run is found in the numbers of its figures."""

import pytest

from analysis import frames
from analysis.checkers import failover_gap as judged
from analysis.evidence import Evidence
from analysis.figures import (
    availability,
    failover_gap,
    latency_by_tier,
    outcomes,
    overhead,
    recovery,
    served_by,
    style,
    throughput,
    ttft_itl,
)
from tests.synthetic import make, rounds, three_tier
from tests.synthetic_world import Hole


def read(made):
    return Evidence(frames.read(made.path))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    made = three_tier(tmp_path_factory.mktemp("three"))
    return made, read(made)


def through(made):
    return [a for a in made.requests if a.via == "gateway"]


def test_latency_has_the_slowest_answer_and_the_quantiles_of_all(three):
    made, run = three
    rows = latency_by_tier.data(run)
    sent = rows[(rows["tier"] == "vllm") & (rows["measure"] == "latency_ms")]
    truth = sorted(
        a.latency_ms for a in through(made) if (a.lane, a.tier, a.outcome) == ("load", "vllm", "ok")
    )
    steps = sent[sent["mark"] == "step"]
    assert sent["n"].iloc[0] == len(truth)
    assert (steps["ms"].max(), steps["share"].max()) == (pytest.approx(truth[-1]), 1.0)
    p50 = sent.loc[sent["mark"] == "p50", "ms"].iloc[0]
    assert sum(ms < p50 for ms in truth) == pytest.approx(len(truth) / 2, abs=1)
    assert "vllm 268 ms (99 %: 567 ms)" in latency_by_tier.title(run)


def test_the_first_token_and_the_time_between_chunks_are_those_of_the_engines(three):
    rows = ttft_itl.data(three[1]).set_index(["tier", "measure", "mark"])["ms"]
    assert rows["vllm", "ttft_ms", "p50"] == pytest.approx(82, abs=3)
    assert rows["ollama", "chunk_gap_ms", "p50"] == pytest.approx(60, abs=2)
    assert rows["openai", "tpot_ms", "p50"] == pytest.approx(30, abs=2)
    assert "clumps" not in ttft_itl.title(three[1])


def test_chunks_in_clumps_are_reported_in_the_title(tmp_path):
    made = make(tmp_path / "a", duration_s=30)
    for record in made.requests:
        record.gaps_ms = [0.1 if i % 8 else 160.0 for i in range(len(record.gaps_ms))]
    clumped = make(
        tmp_path / "b",
        duration_s=30,
        rate=0,
        probe_rate=0,
        pairs=0,
        extra=[a for a in made.requests if a.lane == "load"],
    )
    run = read(clumped)
    assert "chunks of vllm came in clumps" in ttft_itl.title(run)
    assert ttft_itl.data(run).loc[0, "clumped"] is True


def test_every_trial_its_failover_the_median_its_interval_and_the_limit(tmp_path):
    steps = rounds(Hole("gone", "vllm", at=10, length=10, hole_s=1.0, sticky_s=3), 6, 30)
    expect = {"failover": {"step": "gone", "to": "ollama", "max_s": 5}, "recovery": {"max_s": 60}}
    run = read(make(tmp_path, steps, duration_s=190, pairs=0, expect=expect))
    rows = failover_gap.data(run)
    took = rows[rows["mark"] == "failover"]
    assert took["trial"].tolist() == [1, 2, 3, 4, 5, 6]
    assert took["s"].tolist() == pytest.approx([1.5] * 6, abs=0.3)
    assert set(took["tier"]) == {"ollama"}
    middle = rows[rows["mark"] == "median"].iloc[0]
    assert [middle["lower_s"], middle["upper_s"]] == [took["s"].min(), took["s"].max()]  # n = 6: [x1, x6]
    assert rows.loc[rows["mark"] == "limit", "s"].tolist() == [5.0]
    assert "(median of 6; max " in failover_gap.title(run)
    back = recovery.data(run)
    assert back.loc[back["mark"] == "recovery", "s"].tolist() == pytest.approx([3.1] * 6, abs=0.4)
    assert back.loc[back["mark"] == "limit", "s"].tolist() == [60.0]


def _bars(figure):
    """(from, to, hatched) of every bar in it, in data's seconds."""
    return [
        (round(b.get_x(), 3), round(b.get_x() + b.get_width(), 3), bool(b.get_hatch()))
        for b in figure.axes[0].patches
        if b.get_width()
    ]


@pytest.mark.parametrize(
    ("probe_rate", "max_s", "status"), [(0.4, 5.0, "unknown"), (0.4, 9.0, "pass"), (5, 1.0, "fail")]
)
def test_what_is_certain_of_a_gap_is_drawn_apart_from_what_is_possible(tmp_path, probe_rate, max_s, status):
    """A probe with a low rate knows little: a single bar up to the upper bound would look like a gap beyond the limit."""
    expect = {
        "failover": {"step": "freeze", "to": "ollama", "max_s": 5},
        "failover_gap": {"step": "freeze", "max_s": max_s},
    }
    hole = Hole("freeze", "vllm", 20, 20, hang_s=2.5)
    run = read(make(tmp_path, [hole], duration_s=80, probe_rate=probe_rate, expect=expect))
    rows = failover_gap.data(run)
    gaps = rows[rows["mark"].isin(["gap_new", "gap_kept"])]
    bars = _bars(failover_gap.draw(run))
    for lower_s, upper_s in gaps[["lower_s", "upper_s"]].round(3).to_numpy(float):
        assert (lower_s, upper_s, True) in bars, "possible: hatched"
        assert not lower_s or (0.0, lower_s, False) in bars, "certain: filled"
    assert rows.loc[rows["mark"] == "gap_limit", "s"].tolist() == [max_s]
    longest = gaps.loc[gaps["upper_s"].idxmax()]
    assert failover_gap.title(run).endswith(
        f"the probe's longest gap: at least {longest['lower_s']:.2f} s, at most {longest['upper_s']:.2f} s"
    )
    # What is drawn is what is judged: filled beyond the limit fails, hatched within it passes, between the two is unknown.
    drawn = (
        "fail"
        if (gaps["lower_s"] > max_s).any()
        else "pass"
        if (gaps["upper_s"] <= max_s).all()
        else "unknown"
    )
    found = judged.check(judged.Params(step="freeze", max_s=max_s), run)
    assert (found.status, drawn) == (status, status)


def test_a_gap_whose_end_was_not_seen_says_so(tmp_path):
    run = read(make(tmp_path, [Hole("s", "vllm", 10, 60, hole_s=60)], duration_s=60, pairs=0, status=None,
                    drop=[("restore", "begin"), ("restore", "commanded"), ("restore", "effective")]))  # fmt: skip
    assert failover_gap.title(run).endswith(", and its end was not seen")
    assert failover_gap.draw(run).axes[0].texts, "an arrow goes on from it"


def test_a_failover_without_a_seen_end_is_censored_and_one_without_requests_is_unknown(tmp_path):
    expect = {"failover": {"step": "s", "to": "ollama", "max_s": 5}}
    hole = Hole("s", "vllm", 10, 20, hole_s=60)
    run = read(make(tmp_path / "a", [hole], duration_s=60, pairs=0, expect=expect))
    row = failover_gap.data(run).iloc[0]
    assert (row["censored"], row["s"]) == (True, pytest.approx(21.8, abs=0.3))
    assert failover_gap.title(run).startswith("s: no failover within 21.8 s")
    silent = read(make(tmp_path / "b", [hole], duration_s=60, rate=0, probe_rate=0, pairs=0, expect=expect))
    assert failover_gap.title(silent) == "s: failover is unknown"
    assert recovery.title(silent) == "s: recovery is unknown"
    assert recovery.data(silent)["why_unknown"].str.contains("the probe sent no request").all()


def test_tokens_and_answers_over_time_add_up_to_those_of_the_answers(three):
    made, run = three
    rows = throughput.data(run)
    good = [a for a in through(made) if a.outcome == "ok"]
    wide_s = rows["at_s"].unique()[1]
    assert rows["answers_per_s"].sum() * wide_s == pytest.approx(len(good))
    tokens = sum(a.output_tokens for a in through(made) if a.tier)
    assert rows["tokens_per_s"].sum() * wide_s == pytest.approx(tokens, rel=0.01)
    assert "before the faults" in throughput.title(run)


def test_the_hole_is_down_and_its_worst_window_is_found(tmp_path):
    hole = Hole("s", "vllm", 20, 30, hole_s=7.3)
    run = read(make(tmp_path, [hole], duration_s=80, expect={"availability": {"window": "20s", "max_s": 5}}))
    rows = availability.data(run).set_index("mark")
    assert rows.loc["down", "s"] == pytest.approx(7.3, abs=0.3)
    assert rows.loc["down", "start_s"] == pytest.approx(hole.lost, abs=0.3)
    assert rows.loc["worst 1 s", "s"] == pytest.approx(1.0)
    assert rows.loc["worst 20 s", "s"] == pytest.approx(7.3, abs=0.3)
    assert rows.loc["worst 20 s", "limit_s"] == 5.0
    assert availability.title(run).startswith("Down for 7.")


def test_the_overhead_that_was_put_in_is_the_median(three):
    rows = overhead.data(three[1])
    middle = rows[rows["mark"] == "median"].set_index("measure")
    assert middle["ms"].tolist() == pytest.approx([14, 14], abs=2.5)
    assert (middle["lower_ms"] < 14).all()
    assert (middle["upper_ms"] > 14).all()
    pairs = rows[rows["mark"] == "pair"]
    assert set(pairs["order"]) == {"gateway first", "tier first"}
    assert (pairs["measure"] == "ttft_ms").sum() == len(three[1].pairs)
    assert rows.loc[rows["mark"] == "limit", "ms"].tolist() == [100.0]


def test_served_by_adds_up_and_shares_are_of_their_column(three):
    made, run = three
    rows = served_by.data(run)
    assert rows["answers"].sum() == sum(a.tier is not None for a in through(made))
    assert rows.groupby("at_s")["share"].sum().tolist() == pytest.approx([1.0] * rows["at_s"].nunique())
    assert set(rows.loc[rows["tier"] == "vllm", "why"]) == {"first tier"}
    assert not (rows["why"] == "spurious").any()
    assert "0 spurious" in served_by.title(run)


def test_outcomes_cover_all_requests_and_good_ones_have_their_witness(three):
    made, run = three
    rows = outcomes.data(run)
    assert rows["requests"].sum() == len(made.requests)
    cut = rows[rows["outcome"] == "cut"].set_index("tier")["requests"]
    assert cut.to_dict() == {"vllm": 1, "ollama": 4}
    assert set(rows.loc[rows["outcome"] == "ok", "witness"]) == {"end"}
    assert "5 cut" in outcomes.title(run)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one line", ["one line"]),
        (
            "ollama took over after 0.70 s; openai took over after 1.56 s; 1 answer was cut; 0 requests failed",
            [
                "ollama took over after 0.70 s; openai took over",
                "after 1.56 s; 1 answer was cut; 0 requests failed",
            ],
        ),
        ("a" * 200, ["a" * 67, "a" * 67, "a" * 66]),
    ],
)
def test_a_long_title_has_lines_of_about_one_length(text, lines):
    assert style.balanced(text, 94) == lines


def test_a_title_divides_no_interval_and_no_number_from_its_unit():
    made = style.figure()
    style.headed(
        made, f"{'x' * 60}: 10.4 ms [4.7, 19.9] and the rest of a title that is too long for one line", ""
    )
    assert "10.4\N{NO-BREAK SPACE}ms" in made.get_suptitle()
    assert "[4.7,\N{NO-BREAK SPACE}19.9]" in made.get_suptitle()
