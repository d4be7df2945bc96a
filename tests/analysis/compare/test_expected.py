"""Expectations of two runs: a flip is listed first, and unknown is not a pass on either side."""

import json

import pytest

from analysis.__main__ import main
from analysis.compare import baseline, command, comparison, expected, export, judged, summary, tolerance
from analysis.compare.comparison import Comparison
from analysis.compare.estimate import Count, Judgement, Kept, Proportion, Sample, Side
from analysis.compare.judged import Judged
from analysis.judging.finding import Status
from contract.records import GATEWAY, Lane, RequestRecord
from contract.run import ABORTED
from tests.analysis.compare.sides import CONDITIONS, share, side
from tests.synthetic import make
from tests.synthetic_world import START, Hole

PASS, FAIL, UNKNOWN = Status.PASS, Status.FAIL, Status.UNKNOWN


def kept(status: Status, value: float = 0.0, target: str = "at most 0", name: str = "leaks") -> Kept:
    return Kept(name, "N1", target, f"{value:g} answers", status, value, "answers", 400)


def judged_side(name: str, *findings: Kept, counts: tuple[Count, ...] = ()) -> Side:
    code = {PASS: 0, FAIL: 1, UNKNOWN: 5}
    worst = next((s for s in (FAIL, UNKNOWN, PASS) if s in {f.status for f in findings}), UNKNOWN)
    verdict = Judgement(str(worst), code[worst], findings)
    return Side(name, CONDITIONS, (), ("vllm", "ollama"), (share(400, 400),), (), verdict, counts)


def compared(a: Side, b: Side) -> Comparison:
    return Comparison(a, b, [], judged.judge(a, b, tolerance.parse("")))


A_LIMIT, B_LIMIT = "at most 5 s", "at most 3 s"
RULES = [
    # in A, in B, result, exit code
    (kept(PASS), kept(PASS), Judged.NO_DIFFERENCE, 0),
    (kept(FAIL), kept(FAIL, 135), Judged.NO_DIFFERENCE, 0),
    (kept(PASS), kept(FAIL, 135), Judged.WORSE, 1),
    (kept(FAIL, 135), kept(PASS), Judged.BETTER, 0),
    (kept(PASS), kept(UNKNOWN), Judged.CANNOT_TELL, 5),
    (kept(UNKNOWN), kept(FAIL), Judged.CANNOT_TELL, 5),
    (kept(UNKNOWN), kept(PASS), Judged.CANNOT_TELL, 0),
    (kept(FAIL), kept(UNKNOWN), Judged.CANNOT_TELL, 0),
    (kept(UNKNOWN), kept(UNKNOWN), Judged.CANNOT_TELL, 0),
    (kept(PASS), None, Judged.CANNOT_TELL, 5),
    (None, kept(UNKNOWN), Judged.CANNOT_TELL, 0),
    (None, kept(FAIL), Judged.CANNOT_TELL, 5),
    (None, kept(PASS), Judged.CANNOT_TELL, 0),
    (kept(FAIL), None, Judged.CANNOT_TELL, 0),
    (kept(PASS, target=A_LIMIT), kept(FAIL, target=B_LIMIT), Judged.CANNOT_TELL, 5),
    (kept(PASS, target=A_LIMIT), kept(PASS, target=B_LIMIT), Judged.CANNOT_TELL, 0),
    (kept(FAIL, target=A_LIMIT), kept(PASS, target=B_LIMIT), Judged.CANNOT_TELL, 0),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "result", "code"), RULES)
def test_the_result_of_one_expectation_in_two_runs(a, b, result, code):
    c = compared(*(judged_side(name, *([k] if k else [])) for name, k in (("a", a), ("b", b))))
    assert [e.judged for e in c.expected] == [result]
    assert c.exit_code == code
    assert bool(c.expected[0].why) == (result is Judged.CANNOT_TELL)


def test_no_tolerance_hides_a_flip_and_it_is_listed_first():
    a = judged_side("a", kept(PASS, name="failover"), kept(PASS, name="recovery"), kept(PASS))
    b = judged_side("b", kept(PASS, name="failover"), kept(UNKNOWN, name="recovery"), kept(FAIL, 135))
    c = Comparison(a, b, [], judged.judge(a, b, tolerance.parse("1000%")))
    assert c.exit_code == 1
    assert [e.name for e in c.expected] == ["leaks", "failover", "recovery"]
    first, second, *_ = summary.text(c).splitlines()
    assert first == "B fails what A passed: leaks, 0 answers → 135 answers"
    assert second == "B may have got worse: recovery, unknown in B"
    assert summary.conclusion(c).startswith(first)


@pytest.mark.parametrize(("b", "code"), [(PASS, 0), (UNKNOWN, 0), (FAIL, 5)])
def test_a_run_whose_verdict_could_not_be_made_is_not_taken_for_a_pass(b, code):
    c = compared(side("a", share(400, 400)), judged_side("b", kept(b, 135)))
    assert [(e.judged, e.why) for e in c.expected] == [(Judged.CANNOT_TELL, "A has no verdict")]
    assert c.exit_code == code
    assert "A: a: verdict unknown, gateway 1.106.0" in summary.text(c).splitlines()
    assert json.loads(export.as_json(c))["a"]["verdict"] is None


def test_a_baseline_file_keeps_verdict_and_counts(tmp_path):
    given = judged_side(
        "a",
        kept(FAIL, 135.0),
        counts=(
            Count("sent late, p99", "load", None, "ms"),
            Count("n", "o", 1234567.0, "requests"),  # not rounded: beside its own run nothing differs
            Count("unavailable", "probe", 12.3456789, "s"),
        ),
    )
    (tmp_path / "a.json").write_text(baseline.text(given))
    found = baseline.read(tmp_path / "a.json")
    assert (found.verdict, found.counts) == (given.verdict, given.counts)


BROKEN = [
    ({"status": "pass"}, "KeyError"),
    ({"status": "pass", "exit_code": 0, "findings": [{
        "name": "n", "id": None, "target": "t", "measured": "m", "status": "splendid", "value": None, "unit": None, "n": None,
    }]}, "splendid"),
]  # fmt: skip


@pytest.mark.parametrize(("verdict", "words"), BROKEN)
def test_a_baseline_whose_verdict_is_broken_is_refused(tmp_path, capsys, verdict, words):
    data = json.loads(baseline.text(judged_side("a", kept(PASS)))) | {"verdict": verdict}
    (tmp_path / "a.json").write_text(json.dumps(data))
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 64
    err = capsys.readouterr().err
    assert "a.json: invalid baseline" in err
    assert words in err


def test_counts_are_shown_where_they_differ_and_never_judged():
    counts = [
        (
            Count("answers spurious", "openai (cloud)", n, "answers"),
            Count("requests ok", "users", 400.0, "requests"),
        )
        for n in (0.0, 135.0)
    ]
    c = compared(*(judged_side(name, kept(PASS), counts=of) for name, of in zip("ab", counts, strict=True)))
    shown = [
        line.split()
        for line in summary.text(c).splitlines()
        if line.startswith(("answers spurious", "requests ok"))
    ]
    assert shown == [["answers", "spurious", "openai", "(cloud)", "0", "135", "+135"]]
    assert c.exit_code == 0
    assert json.loads(export.as_json(c))["counts"][0] == {
        "what": "answers spurious", "of": "openai (cloud)", "unit": "answers", "a": 0.0, "b": 135.0,
    }  # fmt: skip


STEPS = (
    Hole("gaming-mode", "vllm", at=12, length=40, restore_s=2, sticky_s=2),
    Hole("cpu-tier-too", "ollama", at=34, length=8),
)
EXPECT = {"cloud_only_in_need": {"id": "NFR68"}, "continuity": {"min_good": 0.99}}


def _made(results, **more):
    return make(results, **({"steps": STEPS, "duration_s": 64, "pairs": 0, "expect": EXPECT} | more)).path


def _side(run):
    return command.side(str(run))


@pytest.fixture(scope="module")
def upgrade(tmp_path_factory):
    """Three tiers on a gateway that is well, and on one that cools a fallback which serves."""
    results = tmp_path_factory.mktemp("results")
    cools = {"shunned": [("ollama", 17, 32), ("ollama", 46, 50)], "gateway": {"1.108.7": 900}}
    return _made(results, name="well"), _made(results, name="cools", **cools)


@pytest.fixture(scope="module")
def sides(upgrade):
    return tuple(map(_side, upgrade))


def test_a_run_that_failed_by_needless_answers_of_the_cloud_is_worse_than_one_that_passed(
    upgrade, tmp_path, capsys
):
    well, cools = map(str, upgrade)
    assert main(["compare", well, cools, well, "--out", str(tmp_path)]) == 1, "of several one flip is enough"
    folder, same = (next(tmp_path.glob(f"*-well--*-{b}")) for b in ("cools", "well"))
    assert json.loads((same / "comparison.json").read_text())["exit_code"] == 0
    data = json.loads((folder / "comparison.json").read_text())
    assert (data["a"]["verdict"], data["b"]["verdict"], data["exit_code"]) == ("pass", "fail", 1)
    flip = data["expectations"][0]
    assert (flip["name"], flip["judged"]) == ("cloud_only_in_need", "worse")
    assert (flip["a"]["status"], flip["a"]["value"], flip["b"]["status"]) == ("pass", 0.0, "fail")
    leaks = flip["b"]["value"]
    assert leaks > 50
    spurious = {c["of"]: (c["a"], c["b"]) for c in data["counts"] if c["what"] == "answers spurious"}
    assert spurious == {"ollama": (0.0, 0.0), "openai (cloud)": (0.0, leaks)}
    needless = next(r for r in data["rows"] if r["metric"] == "needless_answers")
    # One burst in a run of a minute: the share is known, its interval is wide.
    assert (needless["of"], needless["a"], needless["b"]) == (
        "openai",
        0.0,
        pytest.approx(leaks / needless["n_b"]),
    )
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("B fails what A passed: cloud_only_in_need, 0 leaks (")
    assert out[1].startswith("A: ")
    assert out[1].endswith("-well: pass, gateway litellm 1.106.2")
    assert out[2].endswith("-cools: fail, gateway litellm 1.108.7")
    assert "differs: versions: gateway: litellm 1.106.2 and litellm 1.108.7" in out
    page = (folder / "comparison.md").read_text()
    assert (
        page.index("## Expectations")
        < page.index("## Counts that differ")
        < page.index("## no difference found")
    )
    row = (folder / "comparison.csv").read_text().splitlines()[1]
    assert row.startswith("cloud_only_in_need,verdict,run,,answers,worse,0.0,")
    assert row.endswith("pass → fail")


def test_the_other_way_round_it_is_better(sides):
    c = compared(sides[1], sides[0])
    assert (c.exit_code, c.expected[0].judged) == (0, Judged.BETTER)
    assert summary.text(c).startswith("B passes what A failed: cloud_only_in_need, ")


def test_a_baseline_in_git_finds_the_flip_as_its_run_does(sides, tmp_path):
    (tmp_path / "well.json").write_text(baseline.text(sides[0]))
    by_file, by_run = (compared(a, sides[1]) for a in (baseline.read(tmp_path / "well.json"), sides[0]))
    assert by_file.exit_code == by_run.exit_code == 1
    assert [(e.name, e.judged) for e in by_file.expected] == [(e.name, e.judged) for e in by_run.expected]
    assert len(comparison.differing(by_file)) == len(comparison.differing(by_run)) > 0


ENDINGS = [
    # how B ended, the finding that shows it, result, exit code
    ({"drop": [("restore", "effective")]}, "restored", Judged.WORSE, 1),
    ({"status": None}, "run", Judged.CANNOT_TELL, 5),
    ({"status": ABORTED, "reason": "guard: too many"}, "run", Judged.WORSE, 1),
]  # fmt: skip


@pytest.mark.parametrize(("ending", "finding", "result", "code"), ENDINGS)
def test_a_fault_that_was_not_restored_and_a_run_that_did_not_end_are_compared_too(
    sides, tmp_path, ending, finding, result, code
):
    c = compared(sides[0], _side(_made(tmp_path, **ending)))
    assert next(e for e in c.expected if e.name == finding).judged is result
    assert c.exit_code == code


KINDS = ("refused", "rejected", "broken", "cut", "stalled", "timeout", "filtered")


MORE = {
    kind: 150 if kind == "cut" else 50 for kind in KINDS
}  # the faults of both runs cut some already, in clusters


@pytest.fixture(scope="module")
def failing(sides, tmp_path_factory):
    """A run that is well, and one in which requests of users failed in each way, MORE of them, spread over 50 s."""
    lost = [
        RequestRecord(f"req-{kind}-{i}", "chat", Lane.LOAD, GATEWAY, True, at, at, kind, latency_ms=9.0)
        for kind, more in MORE.items()
        for i in range(more)
        for at in [START + 3 + 50 * i / more]
    ]
    return compared(sides[0], _side(_made(tmp_path_factory.mktemp("failing"), extra=lost)))


@pytest.mark.parametrize("outcome", KINDS)
def test_every_kind_of_failure_is_compared_by_itself(failing, outcome):
    row = next(r for r in failing.rows if (r.metric, r.of) == (outcome, "all tiers"))
    assert row.judged is Judged.WORSE
    assert MORE[outcome] <= row.b.hits < MORE[outcome] + 50
    assert failing.exit_code == 1


def test_a_failure_that_neither_run_had_does_not_count_in_holms_correction():
    nothing = share_of_failures(0)
    rows = judged.judge(
        side("a", share(400, 400), *nothing), side("b", share(400, 400), *nothing), tolerance.parse("")
    )
    assert [r.metric for r in rows] == ["continuity"]


def share_of_failures(hits: int):
    return [Sample(m, "share", "all tiers", "gateway", "share", Proportion(hits, 400)) for m in tolerance.BAD]


def test_the_worst_code_of_several_comparisons_is_the_answer():
    assert [comparison.worst(codes) for codes in ([0, 5, 1], [5, 0], [0], [])] == [1, 5, 0, 0]
    assert expected.exit_code([]) == 0
