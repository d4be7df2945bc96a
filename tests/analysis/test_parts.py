"""Where a request counts: in the first fault's window that it touches, else before, between or after; and exactly once."""

import random

import numpy as np
import pandas as pd
import pytest

from analysis import checkers, frames
from analysis.evidence import Evidence
from analysis.judging.finding import Status
from analysis.metrics import cuts
from analysis.metrics.parts import COLUMNS, Kind, part_of, parts_of, places, span
from analysis.metrics.windows import trials_of
from analysis.reporting import summary, tables
from contract.records import Lane, Outcome, RequestRecord
from tests.analysis.test_windows import WHOLE, events
from tests.synthetic import make, three_tier
from tests.synthetic_world import OLLAMA, START, VLLM, Hole, World, answer, cut, refuse

# Faults on vllm: 10 → 35 and 50 → 75, of a run from 0 to 100.
TWICE = [*WHOLE, *((move, stage, at + 40) for move, stage, at in WHOLE)]
BEFORE, FIRST, BETWEEN, SECOND, AFTER = range(5)


def twice():
    trials = trials_of(
        pd.concat([events(TWICE[:6]), events(TWICE[6:], trial=2)]).sort_values("at", kind="stable"), 100.0
    )
    return parts_of(trials, 0.0, 100.0)


def requests(*rows):
    table = pd.DataFrame(rows, columns=["sent_at", "ended_at", "outcome"]).astype(
        {"sent_at": float, "ended_at": float}
    )
    return table.assign(scheduled_at=table["sent_at"].fillna(5.0))


@pytest.mark.parametrize(
    ("sent", "ended", "outcome", "part", "phase"),
    [
        (8.0, 9.9, "ok", BEFORE, "baseline"),
        (8.0, 10.0, "ok", FIRST, "transition"),  # it ended as the inject began
        (8.0, 12.0, "cut", FIRST, "transition"),  # the case that was counted before the fault
        (8.0, 20.0, "ok", FIRST, "transition"),  # answered well all the same
        (8.0, 20.0, "timeout", FIRST, "transition"),
        (20.0, 33.0, "cut", FIRST, "in effect"),  # the first phase that it touches
        (32.0, 40.0, "ok", FIRST, "restoring"),
        (34.9, 55.0, "cut", FIRST, "restoring"),  # it touches both windows
        (35.0, 49.9, "cut", BETWEEN, "settling"),
        (35.0, 50.0, "cut", SECOND, "transition"),
        (8.0, 90.0, "ok", FIRST, "transition"),
        (75.0, 80.0, "rejected", AFTER, "settling"),
        (8.0, None, "abandoned", FIRST, "transition"),  # under way until nothing more is known
        (80.0, None, "abandoned", AFTER, "settling"),
        (None, None, "broken", BEFORE, "baseline"),  # never sent: the instant for which it was scheduled, 5
        (None, None, "abandoned", FIRST, "transition"),
    ],
)
def test_a_request_counts_in_the_first_window_that_it_touches_else_where_it_was_sent(
    sent, ended, outcome, part, phase
):
    parts = twice()
    found = places(parts, requests((sent, ended, outcome)))
    rows = [p.name for one in parts for p in one.phases]
    assert (found.part[0], rows[found.row[0]]) == (part, phase)


def test_a_run_without_a_fault_is_one_part():
    (whole,) = parts_of([], 0.0, 50.0)
    assert (whole.kind, whole.start, whole.end) == (Kind.WHOLE, 0.0, 50.0)
    assert places([whole], requests((3.0, None, "abandoned"), (4.0, 5.0, "cut"))).row.tolist() == [0, 0]


def test_an_inject_that_never_began_has_no_window():
    trials = trials_of(events([("inject", "fail", 10)], error="held by another"), 50.0)
    assert [p.kind for p in parts_of(trials, 0.0, 50.0)] == [Kind.WHOLE]


def test_an_open_window_lasts_until_the_next_fault_on_its_target_or_the_end():
    trials = trials_of(pd.concat([events(TWICE[:3]), events(TWICE[6:9], trial=2)]), 100.0)
    assert [(p.start, p.end) for p in parts_of(trials, 0.0, 100.0)[1::2]] == [(10, 50), (50, 100)]


def _slow(windows, sent, ended):
    """The definition: the first of the windows, by their begins, that the request touches; else the gap."""
    for i, (start, end) in enumerate(windows):
        if sent < end and ended >= start:
            return 2 * i + 1
    return 2 * sum(start <= sent for start, _ in windows)


@pytest.mark.parametrize("seed", range(40))
def test_every_request_counts_in_exactly_one_part_whatever_overlaps(seed):
    some = random.Random(seed)
    steps = []
    for i in range(some.randrange(6)):
        begun, target = some.uniform(0, 90), some.choice(["vllm", "ollama", "gateway"])
        rows = [("inject", "begin", begun), ("inject", "commanded", begun + 0.1), ("restore", "begin", begun + 5),
                ("restore", "effective", begun + some.uniform(5, 40))]  # fmt: skip
        steps.append(events(rows[: some.choice([1, 2, 4, 4, 4])], step=f"s{i}", target=target))
    recorded = pd.concat(steps).sort_values("at", kind="stable") if steps else events([])
    parts = parts_of(trials_of(recorded, 140.0), 0.0, 140.0)
    rows = []
    for _ in range(300):
        sent = some.uniform(0, 139)
        ended = some.choice([None, sent, sent + some.expovariate(0.2), sent + 60])
        rows.append((some.choice([None, sent, sent]), ended, some.choice(list(map(str, Outcome)))))
    sent_requests = requests(*rows).sort_values("sent_at", ignore_index=True)
    sent, ended = span(sent_requests)
    windows = [(p.start, p.end) for p in parts[1::2]]
    found = places(parts, sent_requests)
    assert found.part.tolist() == [_slow(windows, s, e) for s, e in zip(sent, ended, strict=True)]
    assert np.array_equal(found.part, part_of(parts, sent, ended))
    phases = [(i, p) for i, one in enumerate(parts) for p in one.phases]
    assert set(found.row) <= set(range(len(phases)))
    assert [phases[r][0] for r in found.row] == found.part.tolist()
    for r, s, e in zip(found.row, sent, ended, strict=True):
        part, phase = parts[phases[r][0]], phases[r][1]
        assert phase.start <= max(s, part.start), "it touches the phase in which it counts"
        assert s < phase.end or phase is part.phases[-1]
        assert e >= phase.start or not phases[r][0] % 2


def _of_users(requests):
    return [a for a in requests if (a.lane, a.via) == (Lane.LOAD, "gateway")]


def unended(name, intended, sent, outcome=Outcome.ABANDONED):
    """A user's request with an unknown end."""
    sent_at = None if sent is None else START + sent
    return RequestRecord(name, "chat", Lane.LOAD, "gateway", True, START + intended, sent_at, outcome)


RUNS = {
    "three tiers, the second taken within the first's step": lambda folder: three_tier(folder),
    "three trials": lambda folder: make(
        folder, [Hole("s", "vllm", 20 + 30 * i, 10, trial=i + 1) for i in range(3)], duration_s=120
    ),
    "a gateway that is gone for a while": lambda folder: make(
        folder, [Hole("g", "gateway", 20, 10, hole_s=5, fault="unit_kill")], duration_s=60
    ),
    "killed before the restore": lambda folder: make(
        folder, [Hole("s", "vllm", 20, 20)], duration_s=60, status=None, drop=[("restore", "effective")]
    ),
    "killed before the restore, and the last that is known was just sent": lambda folder: make(
        folder,
        [Hole("s", "vllm", 20, 20)],
        duration_s=60,
        status=None,
        drop=[("restore", "effective")],
        extra=[unended("last", 59.9, 60.5)],
    ),
    "killed before the restore, and the last that is known was never sent": lambda folder: make(
        folder,
        [Hole("s", "vllm", 20, 20)],
        duration_s=60,
        status=None,
        drop=[("restore", "effective")],
        extra=[unended("early", 10.0, None, Outcome.BROKEN), unended("last", 60.5, None, Outcome.BROKEN)],
    ),
    "without faults": lambda folder: make(folder, duration_s=20),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_rows_of_a_table_add_up_to_what_users_sent(tmp_path, name):
    made = RUNS[name](tmp_path)
    run, users = Evidence(frames.read(made.path)), _of_users(made.requests)
    phases, parts = tables.phases(run), tables.by_part(run)
    parts = parts[parts["part"] != "all"]
    for column in ("requests", "good", *map(str, Outcome)):
        wanted = [
            a for a in users if column == "requests" or a.outcome == ("ok" if column == "good" else column)
        ]
        assert phases[column].sum() == parts[column].sum() == len(wanted), column
    was_sent = sum(a.sent_at is not None for a in users)
    assert parts["sent"].sum() == was_sent, "what was never sent has no place among the sent"
    assert tables.by_part(run)["sent"].max() == was_sent
    rates = cuts.cut_rates(run.frames.requests, run.parts)
    through = [a for a in made.requests if a.via == "gateway" and a.outcome != Outcome.ABANDONED]
    assert sum(n for _, n in rates.values()) == len(through)
    assert sum(n for n, _ in rates.values()) == sum(a.outcome in cuts.CUTS for a in through)


def held_up(requests, steps, **more):
    """A run of these requests alone."""
    made = make(
        more.pop("folder"), steps, rate=0, probe_rate=0, pairs=0, extra=requests, duration_s=100, **more
    )
    return Evidence(frames.read(made.path))


def streams(at, count, length_s=3.0, **more):
    w = World((VLLM, OLLAMA), (), random.Random(round(at)))
    made = [
        answer(w.new(at + i / 10, Lane.LOAD, **more), "vllm", 0.1, [length_s / 10] * 10) for i in range(count)
    ]
    for i, record in enumerate(made):
        record.request_id = f"sent-{at:g}-{i}"
    return made


TWO = [Hole("first", "vllm", 20, 10, restore_s=2), Hole("second", "vllm", 60, 10, trial=1, restore_s=2)]


def test_answers_cut_by_a_fault_count_during_faults_and_not_before_the_first(tmp_path):
    """A scale-down cuts three streams that began before it: they must not count as 3 of 12 before the fault."""
    requests = [*streams(5, 9), *(cut(a, 2.0) for a in streams(18.5, 3)), *streams(24, 4)]
    run = held_up(requests, TWO[:1], folder=tmp_path)
    assert (
        "Cut answers: 0 of 9 (0.00%) before the first fault, 3 of 7 (42.86%) during faults, no requests after the last fault."
        in summary.quality(run)
    )
    before, during, _, every = tables.by_part(run).to_dict("records")
    assert (before["requests"], before["sent"], before["lost_to_fault"]) == (9, 12, 3)
    assert (during["requests"], during["cut"], during["sent"]) == (7, 3, 4)
    assert (every["requests"], every["cut"]) == (16, 3)
    assert "| before the first fault | 9 | 9 | 0 | 0 | 0 | 0 | 1.0000 |" in "\n".join(summary._parts(run))
    assert "12, 3 lost to a fault" in "\n".join(summary._parts(run))


def test_cuts_between_two_faults_and_after_the_last_have_their_own_words(tmp_path):
    requests = [cut(a, 1.0) for at, n in ((40, 2), (80, 1)) for a in streams(at, n)]
    text = summary.quality(held_up(requests, TWO, folder=tmp_path))
    assert (
        "Cut answers: no requests before the first fault, no requests during faults, 2 of 2 (100.00%) between faults, "
        "1 of 1 (100.00%) after the last fault." in text
    )


def test_failures_and_continuity_are_counted_where_the_fault_was(tmp_path):
    late = [refuse(a, Outcome.TIMEOUT, None, after_s=6.0) for a in streams(17, 2)]  # sent before, dead within
    run = held_up([*streams(5, 10), *late, *streams(40, 4)], TWO[:1], folder=tmp_path)
    table = tables.by_part(run).set_index("part")
    assert table["continuity"].astype(object).where(table["continuity"].notna(), None).tolist() == [
        1.0,
        0.0,
        1.0,
        pytest.approx(14 / 16),
    ]
    assert table["goodput"].iloc[0] == 1.0


def test_latency_and_first_token_are_of_what_was_sent_there(tmp_path):
    slow = streams(19.5, 1, length_s=30)  # sent before the fault, and ended within: well
    run = held_up([*streams(5, 3), *slow], TWO[:1], folder=tmp_path)
    table = tables.phases(run).set_index("phase")
    assert table.loc["baseline", ["requests", "sent", "lost_to_fault"]].tolist() == [3, 4, 0]
    assert table.loc["baseline", "p99_latency_ms"] == pytest.approx(30_100, abs=2)
    assert (table.loc["transition", "good"], table.loc["transition", "sent"]) == (1, 0)
    assert np.isnan(table.loc["transition", "p50_latency_ms"])


def test_where_faults_overlap_the_first_counts_and_each_has_its_latency(tmp_path):
    steps = [Hole("outer", "vllm", 20, 50, restore_s=2), Hole("inner", "ollama", 30, 10, restore_s=2)]
    run = held_up(streams(35, 4, length_s=1.0), steps, folder=tmp_path)
    table = tables.phases(run).set_index(["step", "phase"])
    assert table.loc[("outer", "in effect"), ["requests", "sent"]].tolist() == [4, 4]
    assert table.loc[("inner", "in effect"), ["requests", "sent"]].tolist() == [0, 4]
    assert table.loc[("inner", "in effect"), "p50_latency_ms"] == pytest.approx(1101, abs=1)
    assert "between" not in summary.quality(run)[1], "nothing lies between two faults that overlap"


@pytest.mark.parametrize(("most", "status"), [(2, Status.FAIL), (3, Status.PASS)])
def test_what_was_under_way_when_the_fault_came_is_evidence_where_nothing_was_sent_after(
    tmp_path, most, status
):
    run = held_up([cut(a, 2.0) for a in streams(18.5, 3)], TWO[:1], folder=tmp_path)
    found = checkers.catalogue()["cuts"]
    finding = found.check(found.Params(max_per_trial=most), run)
    assert (finding.status, finding.value) == (status, 3.0)
    assert "3 of 3 requests" in finding.evidence


def test_a_cut_of_what_was_under_way_is_lost_where_nothing_was_sent_after(tmp_path):
    run = held_up([cut(a, 2.0) for a in streams(18.5, 3)], TWO[:1], folder=tmp_path)
    found = checkers.catalogue()["retried"]
    finding = found.check(found.Params(within="30s"), run)
    assert (finding.status, finding.value) == (Status.FAIL, 3.0)


def test_slow_answers_of_a_trial_are_those_that_ended_in_it(tmp_path):
    held = [
        answer(a, "ollama", 5.0, [0.1] * 3) for a in streams(18, 2)
    ]  # sent before, first token long after
    made = make(
        tmp_path, TWO[:1], rate=0, probe_rate=5, pairs=0, extra=[*held, *streams(5, 2)], duration_s=100
    )
    run = Evidence(frames.read(made.path))
    assert tables.failovers(run)["brown_answers"].tolist() == [2]
    for record in held:
        record.scenario = "classify"  # no person waits for a first token of it
    made = make(tmp_path / "unattended", TWO[:1], rate=0, probe_rate=5, pairs=0, extra=held, duration_s=100)
    assert tables.failovers(Evidence(frames.read(made.path)))["brown_answers"].tolist() == [0]


def test_the_columns_that_a_place_rests_on_are_in_a_run(tmp_path):
    assert set(COLUMNS) <= set(frames.read(make(tmp_path, duration_s=20).path).requests.columns)
