"""The scheduled and the delivered load, and whether latency from sent hides a hang."""

import random

import pytest

from analysis import frames, judge
from analysis.evidence import Evidence
from analysis.metrics.delivery import delivery, hidden
from analysis.metrics.overload import overloaded_seconds
from analysis.reporting import summary
from contract.records import Lane
from tests.synthetic import make
from tests.synthetic_world import OLLAMA, OPENAI, VLLM, Hole, World, answer


def world():
    return World((VLLM, OLLAMA, OPENAI), (), random.Random(1))


def run_of(tmp_path, requests, **more):
    return Evidence(
        frames.read(make(tmp_path, rate=0, probe_rate=2, pairs=0, extra=requests, duration_s=60, **more).path)
    )


def delivered(run):
    return delivery(
        run.frames.requests, run.frames.samples["client"], overloaded_seconds(run.frames.samples["client"])
    )


def late_by(w, at, s, takes_s=0.2):
    record = answer(w.new(at, Lane.LOAD), "vllm", takes_s)
    record.scheduled_at -= s
    return record


def test_scheduled_requests_were_sent_or_not(tmp_path):
    w = world()
    requests = [late_by(w, 5 + i / 10, 0.05) for i in range(99)]
    never = w.new(30, Lane.LOAD)
    never.sent_at = None
    found = delivered(run_of(tmp_path, [*requests, never], overloaded=[(10, 15)]))
    assert (found.scheduled, found.sent, found.dropped, found.users_max) == (100, 99, 0, 4)
    assert found.late_p99_ms == pytest.approx(50, abs=0.1)
    assert (found.overloaded, found.seconds) == (5, 60)


def test_dropped_arrivals_count_as_scheduled(tmp_path):
    run = run_of(tmp_path, [late_by(world(), 5, 0.0)])
    run.frames.samples["client"].loc[3, ["scheduled", "dropped"]] = [9, 8]
    found = delivered(run)
    assert (found.scheduled, found.sent, found.dropped) == (9, 1, 8)


def test_the_most_requests_in_flight_at_one_instant(tmp_path):
    w = world()
    requests = [answer(w.new(at, Lane.LOAD), "vllm", 2.0) for at in (5, 6, 6.5, 8.6, 20)]
    assert delivered(run_of(tmp_path, requests)).in_flight_max == 3
    assert delivered(run_of(tmp_path / "none", [])).in_flight_max == 0


def test_users_of_several_load_generators_are_added(tmp_path):
    run = run_of(tmp_path, [])
    other = run.frames.samples["client"].assign(worker="w2", at=run.frames.samples["client"]["at"] + 0.4)
    import pandas as pd

    found = delivery(run.frames.requests, pd.concat([run.frames.samples["client"], other]), run.overloaded)
    assert found.users_max == 8


def test_an_open_loop_that_waited_says_that_latency_from_sent_hides_it(tmp_path):
    w = world()
    run = run_of(tmp_path, [late_by(w, 5 + i, 4.0 if i < 10 else 0.0) for i in range(40)])
    assert hidden(run.frames.requests)[2]
    assert "201 ms from sent, 4.20 s from scheduled: requests waited to be sent" in summary.load(run)[1]


@pytest.mark.parametrize(
    ("open_loop", "words"),
    [(False, "a closed loop), so both hide a hang."), (True, "from scheduled.")],
)
def test_equal_latencies_are_explained_by_the_kind_of_loop(tmp_path, open_loop, words):
    run = run_of(tmp_path, [late_by(world(), 5 + i, 0.0) for i in range(40)])
    if open_loop:
        run.frames.manifest["arguments"]["arrivals"] = "poisson:4/s"
    assert summary.load(run)[1].endswith(words)


def test_without_answers_no_latency_is_reported(tmp_path):
    run = run_of(tmp_path, [])
    assert hidden(run.frames.requests) is None
    assert summary.load(run) == [
        "Load: 0 requests scheduled, 0 sent (late by an unknown time), 0 dropped; at most 0 in flight, 4 users; "
        "the client was overloaded in 0 of 60 seconds."
    ]


def test_the_first_page_begins_with_the_load_and_has_both_latencies(tmp_path):

    run = Evidence(frames.read(make(tmp_path, [Hole("s", "vllm", 20, 20, hang_s=6)], duration_s=60).path))
    lines = summary.markdown(run, judge.judge(run)).splitlines()
    assert lines[2] == "- expect: unknown: the timeline has no expectation"
    assert lines[3] == "- gateway: litellm 1.106.2"
    assert lines[5].startswith("Load: ")
    assert any("| from sent (p50 / p99) | from scheduled (p50 / p99) |" in line for line in lines)
    assert any(line.startswith("Unavailable, by the probe: 0.00 s of ") for line in lines)
    assert any(
        line.startswith("Brown-outs (good, but no TTFT within 2000 ms), by the probe: 4.") for line in lines
    )
    assert any(line.startswith("| openai (cloud: spurious ones are leaks) | 0 |") for line in lines)
