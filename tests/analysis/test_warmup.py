"""Requests before the clock started change no number, whatever their outcome."""

import pytest

from analysis import frames, judge, report
from analysis.evidence import Evidence
from contract.records import GATEWAY, Lane, Outcome, RequestRecord
from tests.analysis.reports import pictures
from tests.synthetic import three_tier
from tests.synthetic_world import START

WARM = [
    RequestRecord(
        f"req-warm-{n}", "warmup", Lane.WARMUP, via, n % 2 == 0, START - 3 + n / 10, START - 3 + n / 10, outcome, status,
        ttft_ms=ttft_ms, latency_ms=9000.0, tier="vllm" if status == 200 else None, output_tokens=2, max_tokens=2,
    )
    for n, (via, outcome, status, ttft_ms) in enumerate(
        [
            (GATEWAY, Outcome.OK, 200, 3800.0), (GATEWAY, Outcome.CUT, 200, 3800.0), ("vllm", Outcome.OK, 200, 5000.0),
            (GATEWAY, Outcome.REJECTED, 500, None), ("vllm", Outcome.TIMEOUT, None, None),
        ]
    )
]  # fmt: skip
DERIVED = ("summary.csv", "failover.csv", "phases.csv", "summary.md")


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    found = []
    for extra in ((), WARM):
        run = Evidence(frames.read(three_tier(tmp_path_factory.mktemp("run"), extra=extra).path))
        verdict = judge.judge(run)
        with pictures():
            folder = report.write(run, verdict)
        found.append(
            (len(run.frames.warmup), verdict.findings, {f: (folder / f).read_text() for f in DERIVED})
        )
    return found


def test_warm_up_requests_are_kept_apart(reports):
    assert [warm for warm, *_ in reports] == [0, len(WARM)]


def test_no_expectation_rests_on_them(reports):
    (_, without, _), (_, with_them, _) = reports
    assert with_them == without


@pytest.mark.parametrize("file", DERIVED)
def test_no_table_has_them(reports, file):
    (_, _, without), (_, _, with_them) = reports
    assert with_them[file] == without[file]
