"""Documents: the known accuracy of each tier is found, and so are the results of the client's calls."""

from dataclasses import replace

import pytest

from analysis import frames, html, judge
from analysis.evidence import Evidence
from analysis.metrics import documents
from analysis.reporting import summary, tables
from contract.document import FIELDS
from contract.records import GATEWAY, Lane, Outcome, RequestRecord
from tests.synthetic import make
from tests.synthetic_documents import classify
from tests.synthetic_world import START, Hole

GONE = Hole("gaming-mode", "vllm", at=80, length=100, hole_s=0.6, restore_s=3)
ALL = {"vllm": 0.95, "ollama": 0.85, "openai": 1.0}


def read(path, requests, steps=(GONE,), duration_s=200.0, **more):
    made = make(path, steps, rate=0.5, pairs=0, duration_s=duration_s, extra=requests, **more)
    return Evidence(frames.read(made.path))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    requests = classify([GONE], ALL, documents=40, invalid={"ollama": 0.05})
    return read(tmp_path_factory.mktemp("run"), requests)


def test_the_stated_accuracy_of_each_tier_is_found_again(run):
    found = {of.tier: of for of in run.documents}
    for tier, stated in ALL.items():
        of = found[tier]
        if tier == "openai":
            assert (of.answered, of.accuracy, of.interval, of.per_minute) == (0, None, None, None)
            continue
        assert of.answered == 40
        assert of.accuracy == stated
        low, high = of.interval
        assert low < stated < high
    assert found["vllm"].valid == 40
    assert found["ollama"].valid == 38
    assert sum(40 - n for n in found["vllm"].right_fields.values()) == 2  # one field of each wrong document
    assert found["ollama"].right_fields["correspondent"] == 37  # two have no fields, one has it wrong


def test_a_document_counts_once_however_many_calls_it_needs(run):
    of = run.documents[0]
    assert of.answers > 2 * of.answered


def test_the_rest_of_the_analysis_treats_these_requests_as_others(run):
    requests = run.frames.requests
    mine = requests[requests["request_id"].isin(run.classified["request_id"])]
    assert len(mine) == len(run.classified)
    assert set(mine["scenario"]) == {"classify"}
    assert not set(frames.columns.OF_A_DOCUMENT) & set(requests.columns)


def test_what_was_recorded_of_documents_is_read_as_it_was_written(run, tmp_path):
    requests = classify([GONE], ALL, documents=40, invalid={"ollama": 0.05})
    by_id = {a.request_id: a for a in requests}
    assert len(run.classified) == len(by_id)
    for row in run.classified.to_dict("records"):
        record = by_id[row["request_id"]]
        assert (row["document"], row["attempt"]) == (record.document, record.attempt)
        assert (None if row["valid"] is frames.pd.NA else row["valid"]) == record.valid
        assert row["wrong"] == (None if record.wrong is None else tuple(record.wrong))
        assert row["sent_at"] == record.sent_at


def test_of_warm_up_no_document_counts(tmp_path):
    record = RequestRecord(
        "w", "classify", Lane.WARMUP, GATEWAY, False, START, START, document="a", attempt=1
    )
    assert read(tmp_path, [record]).classified.empty


def test_a_run_without_documents_has_none(tmp_path):
    run = read(tmp_path, [])
    assert run.documents == []
    assert list(run.classified.columns) == [*frames.CLASSIFIED, *frames.columns.OF_A_DOCUMENT]


def call(document, attempt, at, took_s=1.0, worker=None, tier="vllm", **what):
    """One call for a document; by default with a right answer."""
    record = RequestRecord(
        f"{document} {at}", "classify", Lane.LOAD, GATEWAY, False, START + at, START + at, outcome=Outcome.OK, status=200,
        latency_ms=took_s * 1000, ttft_ms=took_s * 1000, tier=tier, document=document, attempt=attempt, valid=True, wrong=[],
        worker=worker,
    )  # fmt: skip
    return replace(record, **what)


def failed(document, attempt, at, status=503, outcome=Outcome.REJECTED, **what):
    none = {"tier": None, "outcome": outcome, "status": status, "valid": None, "wrong": None}
    return call(document, attempt, at, **(none | what))


CUT = {"outcome": Outcome.CUT, "valid": None, "wrong": None}
CASES = {
    "answered at once": ([call("?", 1, 5)], {"classified": 1}),
    "answered at the third call": (
        [failed("?", 1, 5), failed("?", 2, 6.5), call("?", 3, 8.5)], {"classified": 1, "repeated": 2},
    ),
    "three failed calls": ([failed("?", i, 4 * i) for i in (1, 2, 3)], {"in_vain": 1, "repeated": 2}),
    "not what it can use": ([call("?", 1, 5, valid=False, wrong=None)], {"invalid": 1}),
    "cut": ([call("?", 1, 5, **CUT)], {"invalid": 1}),
    "not repeated after a 400": ([failed("?", 1, 5, status=400)], {"in_vain": 1}),
    "not repeated after it broke": ([failed("?", 1, 5, status=200, outcome=Outcome.BROKEN)], {"in_vain": 1}),
    "the run ended in the back-off": ([failed("?", 1, 5, status=429)], {"unfinished": 1}),
    "the same after a timeout": ([failed("?", 1, 5, status=None, outcome=Outcome.TIMEOUT)], {"unfinished": 1}),
    "the run ended in the midst of it": (
        [failed("?", 1, 5, status=None, outcome=Outcome.ABANDONED, latency_ms=None)], {"unfinished": 1},
    ),
    "two clients at the same document": (
        [failed("?", 1, 5), failed("?", 1, 5.2), call("?", 2, 6.6), call("?", 2, 6.8)], {"classified": 2, "repeated": 2},
    ),
    "two workers at the same document": (
        [failed("?", 1, 5, worker="w1"), call("?", 1, 6.2, worker="w2"), call("?", 2, 6.6, worker="w1")],
        {"classified": 2, "repeated": 1},
    ),
}  # fmt: skip
OTHERS = [
    failed("in three", 1, 5), failed("in three", 2, 6.5, took_s=2), call("in three", 3, 9.5, took_s=0.5),
    call("in one", 1, 5.5, took_s=0.25), call("without its first", 2, 12),
    *(call(f"busy {i}", 1, 2 + 3 * i, took_s=2, tier="ollama") for i in range(5)),
    call("busy 5", 1, 17.5, took_s=2, valid=False, wrong=None, tier="ollama"),
]  # fmt: skip


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """All of them in one run; a document of a case has the case's name."""
    records = [
        replace(c, document=name, request_id=f"{name} {i}")
        for name, (cs, _) in CASES.items()
        for i, c in enumerate(cs)
    ]
    return read(tmp_path_factory.mktemp("calls"), records + OTHERS, duration_s=20, steps=[]).classified  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_result_of_a_document_is_reported(calls, case):
    found = documents.client(calls[calls["document"] == case])
    seen = {k: getattr(found, k) for k in found.__slots__ if k != "begun" and getattr(found, k)}
    assert seen == CASES[case][1]
    assert found.begun == found.classified + found.waiting + found.unfinished


@pytest.mark.parametrize(
    ("document", "ms"), [("in three", 5000), ("in one", 250), ("without its first", None)]
)
def test_a_documents_latency_is_from_its_first_call_on(calls, document, ms):
    took = documents.latency_ms(calls)[calls["document"] == document].dropna()
    assert took.tolist() == ([] if ms is None else [pytest.approx(ms)])


def test_documents_a_minute_are_of_the_time_in_which_one_was_in_hand(calls):
    assert documents.per_minute(calls, "ollama") == pytest.approx(
        30
    )  # five of two seconds each, and one of no use
    assert documents.per_minute(calls, "openai") is None


def test_every_field_that_is_judged_has_its_count(run):
    assert list(run.documents[0].right_fields) == list(FIELDS)


def test_the_pages_report_documents_and_those_that_wait(run):
    text = summary.markdown(run, judge.judge(run))
    assert "| vllm | 40 | 100.0 % |" in text
    assert "| 85.0 % [70.9, 92.9] |" in text  # ollama: 34 of 40
    c = documents.client(run.classified)
    assert f"answer not usable: {c.invalid}" in text
    assert c.invalid >= 2
    (table,) = html.documents.tables(run)
    assert [row[0].text for row in table.rows] == ["vllm", "ollama", "openai"]
    assert all(len(row) == len(table.columns) for row in table.rows)
    rows = tables.documents(run).set_index("tier")
    assert rows.loc["ollama", ["documents", "valid", "right"]].tolist() == [40, 38, 34]


def test_the_pages_say_nothing_of_documents_where_there_are_none(tmp_path):
    run = read(tmp_path, [], duration_s=20, steps=[])
    text = summary.markdown(run, judge.judge(run))
    assert "documents" not in text.lower()
    assert html.documents.tables(run) == []
    assert tables.documents(run).empty
