"""The timeline: its title describes what happened, its numbers are the answers of the synthetic run."""

import pytest

from analysis import frames
from analysis.evidence import Evidence
from analysis.figures import timeline
from tests.synthetic import make, rounds, three_tier
from tests.synthetic_world import Hole


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    made = three_tier(tmp_path_factory.mktemp("three"))
    return made, Evidence(frames.read(made.path))


def test_the_title_states_which_tier_took_over_and_what_was_cut(three):
    assert timeline.title(three[1]) == (
        "ollama took over after 0.43 s; openai took over after 0.54 s; 5 answers were cut; 0 requests failed"
    )


def test_a_row_is_a_mark_and_no_cut_is_missing(three):
    made, run = three
    rows = timeline.data(run).set_index("request_id")
    cut = [a for a in made.requests if a.outcome == "cut" and a.via == "gateway"]
    assert set(rows.index[rows["mark"] == "cut"]) == {a.request_id for a in cut}
    for record in cut:
        assert rows.loc[record.request_id, "latency_ms"] == pytest.approx(record.latency_ms)
        assert rows.loc[record.request_id, "at_s"] == pytest.approx(record.sent_at - run.frames.started_at)
    slowest = max(
        (a for a in made.requests if a.outcome == "ok" and a.via == "gateway"), key=lambda a: a.latency_ms
    )
    assert slowest.request_id in rows.index


def test_of_many_failures_one_a_pixel_is_drawn_and_all_are_counted(tmp_path, monkeypatch):
    made = make(tmp_path, [Hole("s", "vllm", 10, 20, hole_s=60)], duration_s=60, pairs=0)
    run = Evidence(frames.read(made.path))
    whole = (timeline.data(run)["mark"] == "failed").sum()
    assert whole == sum(a.outcome == "rejected" for a in made.requests) > 100
    monkeypatch.setattr(timeline, "MOST_FAILURES", 50)
    monkeypatch.setattr(timeline, "GRID", (20, 20))
    fewer = Evidence(frames.read(made.path))
    assert 0 < (timeline.data(fewer)["mark"] == "failed").sum() < whole
    assert f"{whole} requests failed" in timeline.title(fewer)


def test_many_trials_are_reported_by_their_maximum(tmp_path):
    steps = rounds(Hole("s", "vllm", 10, 8, hole_s=1.0), 6, 20)
    run = Evidence(frames.read(make(tmp_path, steps, duration_s=140, pairs=0).path))
    assert "(max of 6)" in timeline.title(run)


def test_a_tier_that_returns_has_not_taken_over(tmp_path):
    made = make(tmp_path, [Hole("s", "vllm", 10, 20, hole_s=60)], duration_s=60, pairs=0)
    assert timeline.title(Evidence(frames.read(made.path))).startswith(
        "no tier took over before vllm returned, after 2"
    )


def test_the_loss_of_an_unused_tier_is_no_takeover(tmp_path):
    made = make(tmp_path, [Hole("s", "ollama", 10, 20)], duration_s=60)
    assert timeline.title(Evidence(frames.read(made.path))) == (
        "no tier in use was seen lost; 0 answers were cut; 0 requests failed"
    )
