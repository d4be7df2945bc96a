"""From run folders to the exit code: findings, refusals, and a baseline file in place of its run."""

import json

import pytest

from analysis.__main__ import main
from analysis.compare import baseline
from tests import synthetic
from tests.synthetic import rounds
from tests.synthetic_world import OLLAMA, OPENAI, VLLM, Engine, Hole

MORE_MS = 50
GONE = Hole("gone", "vllm", at=12, length=8, hole_s=0.4)
SLOWER = Engine("vllm", VLLM.ttft_s + MORE_MS / 1000, VLLM.tpot_s)


def run(results, name, seed=1, **more):
    return synthetic.make(results, name=name, seed=seed, **({"duration_s": 150, "rate": 6.0} | more)).path


def rows_of(folder):
    data = json.loads((folder / "comparison.json").read_text())
    return data, {(r["metric"], r["statistic"], r["of"], r["via"] or ""): r for r in data["rows"]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    calm = run(results, "calm")
    again = run(results, "again", seed=2)
    slower = run(results, "slower", seed=3, engines=(SLOWER, OLLAMA, OPENAI),
                 overhead_ms=14.0 + MORE_MS)  # fmt: skip
    return calm, again, slower


def test_50_ms_more_are_found_and_fail_the_gate(runs, tmp_path, capsys, with_pictures):
    calm, _, slower = runs
    assert main(["compare", str(calm), str(slower), "--out", str(tmp_path)]) == 1
    data, rows = rows_of(tmp_path)
    for key in (("ttft", "p50", "vllm", "gateway"), ("latency", "p50", "vllm", "gateway"),
                ("overhead_ttft", "median", "all tiers", "gateway")):  # fmt: skip
        row = rows[key]
        assert row["judged"] == "worse"
        assert row["difference"] == pytest.approx(MORE_MS, abs=6)  # a slower engine's jitter is larger, too
        assert 0 < row["low"] < row["difference"] < row["high"]
    assert rows["tpot", "p50", "vllm", "gateway"]["judged"] == "no difference found"
    assert data["exit_code"] == 1
    out = capsys.readouterr().out
    assert "worse by more than 10%" in out
    assert "(exit code 1)" in out
    for name in ("comparison.md", "comparison.csv", "differences.png", "latency.png", "trials.png"):
        assert (tmp_path / name).stat().st_size > 500


def test_a_larger_tolerance_passes_the_gate(runs, tmp_path):
    calm, _, slower = runs
    assert (
        main(["compare", str(calm), str(slower), "--tolerance", "100%,overhead=80ms", "--out", str(tmp_path)])
        == 0
    )


def test_a_run_and_itself(runs, tmp_path):
    calm = runs[0]
    assert main(["compare", str(calm), str(calm), "--out", str(tmp_path)]) == 0
    _, rows = rows_of(tmp_path)
    assert {r["judged"] for r in rows.values()} <= {"no difference found", "cannot tell"}
    assert {r["difference"] for r in rows.values()} <= {0.0, None}


def test_the_same_truth_with_another_seed(runs, tmp_path):
    calm, again, _ = runs
    assert main(["compare", str(calm), str(again), "--out", str(tmp_path)]) == 0


def test_a_baseline_file_stands_for_its_run(runs, tmp_path, capsys):
    calm, _, slower = runs
    assert main(["baseline", str(calm)]) == 0
    kept = capsys.readouterr().out
    assert len(kept) < 150_000
    file = tmp_path / "litellm.json"
    file.write_text(kept)
    assert main(["compare", str(file), str(slower), "--out", str(tmp_path / "by_file")]) == 1
    assert main(["compare", str(calm), str(slower), "--out", str(tmp_path / "by_run")]) == 1
    by_file, by_run = (rows_of(tmp_path / x)[1] for x in ("by_file", "by_run"))
    assert by_file.keys() == by_run.keys()
    for key, row in by_file.items():
        assert row["judged"] == by_run[key]["judged"]
        if row["difference"] is not None:
            assert row["difference"] == pytest.approx(by_run[key]["difference"], rel=1e-3, abs=0.1)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"format": 99}, "format 99; this version reads format 3. Create it again from a run that this version recorded"), ({"kind": "else"}, "not a baseline"), ({"samples": [{}]}, "invalid baseline"),
     ({"samples": [float("nan")]}, "NaN is not JSON"), ({"samples": [float("-inf")]}, "-Infinity is not JSON")],
)  # fmt: skip
def test_a_baseline_of_another_format_is_refused(runs, tmp_path, capsys, change, words):
    assert main(["baseline", str(runs[0])]) == 0
    file = tmp_path / "kept.json"
    file.write_text(json.dumps(json.loads(capsys.readouterr().out) | change))
    assert main(["compare", str(file), str(runs[0]), "--out", str(tmp_path)]) == 64
    assert words in capsys.readouterr().err


def test_a_baseline_may_be_saved_with_a_bom_and_holds_no_number_without_end(runs, tmp_path, capsys):
    assert main(["baseline", str(runs[0])]) == 0
    text, file = capsys.readouterr().out, tmp_path / "kept.json"
    file.write_text("\ufeff" + text)
    assert main(["compare", str(file), str(file), "--out", str(tmp_path)]) in (0, 5)
    file.write_text(text.replace(f'"format": {baseline.FORMAT}', '"format": 1e999'))
    assert main(["compare", str(file), str(file), "--out", str(tmp_path)]) == 64
    assert "1e999 is not a finite number" in capsys.readouterr().err


def test_runs_under_other_conditions_are_refused_field_by_field_unless_although_names_the_topics(
    runs, tmp_path, capsys
):
    calm = runs[0]
    other = run(tmp_path, "other", engines=(VLLM, OPENAI), duration_s=60, steps=[GONE])
    assert main(["compare", str(calm), str(other), "--out", str(tmp_path / "c")]) == 64
    err = capsys.readouterr().err
    for words in (
        "topology: tiers: vllm → ollama → openai and vllm → openai",
        "load: recorded_s",
        "timeline: step gone",
    ):
        assert words in err
    assert "--although topology,load,timeline" in err
    assert not (tmp_path / "c").exists()
    assert main(["compare", str(calm), str(other), "--although", "load", "--out", str(tmp_path / "c")]) == 64
    assert "load: recorded_s" not in capsys.readouterr().err
    code = main(
        [
            "compare",
            str(calm),
            str(other),
            "--although",
            "topology,load,timeline",
            "--out",
            str(tmp_path / "c"),
        ]
    )
    assert code in (0, 1)
    assert "differs, and was allowed: topology" in capsys.readouterr().out


@pytest.mark.verify
def test_a_failover_that_got_two_seconds_longer(tmp_path):
    def nine(name, hole_s, seed):
        steps = rounds(Hole("gone", "vllm", at=12, length=8, hole_s=hole_s), 9, 24)
        return run(tmp_path, name, seed, steps=steps, duration_s=230)

    a, b = nine("a", 0.4, 1), nine("b", 2.4, 2)
    assert (
        main(["compare", str(a), str(b), "--tolerance", "failover=0.5s", "--out", str(tmp_path / "c")]) == 1
    )
    _, rows = rows_of(tmp_path / "c")
    row = rows["failover", "median", "gone", ""]
    assert row["judged"] == "worse"
    assert row["n_a"] == row["n_b"] == 9
    assert row["low"] <= 2.0 + 0.25
    assert row["high"] >= 2.0 - 0.25


def test_a_run_that_was_cut_short_is_reported_as_such(runs, tmp_path, capsys):
    killed = run(tmp_path, "killed", seed=4, status=None)
    assert main(["compare", str(runs[0]), str(killed), "--out", str(tmp_path / "c")]) in (0, 5)
    assert "B: cut short: the run was never closed" in capsys.readouterr().out


def test_answers_of_an_overloaded_load_generator_are_cannot_tell(runs, tmp_path):
    late = run(tmp_path, "late", seed=5, overloaded=[(0, 140)])
    main(["compare", str(runs[0]), str(late), "--out", str(tmp_path / "c")])
    _, rows = rows_of(tmp_path / "c")
    assert rows["latency", "p50", "vllm", "gateway"]["judged"] == "cannot tell"
    assert rows["answers_per_s", "rate", "all tiers", "gateway"]["judged"] == "cannot tell"
    assert "overloaded" in rows["answers_per_s", "rate", "all tiers", "gateway"]["why"]


def test_a_run_without_a_request(runs, tmp_path):
    idle = run(tmp_path, "idle", rate=0, pairs=0, probe_rate=0.0001)
    although = ["--although", "prompts,load"]
    assert main(["compare", str(runs[0]), str(idle), *although, "--out", str(tmp_path / "c")]) == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "nowhere"], "no run"), (["gone.json", "x"], "no such baseline"),
        (["{run}", "{run}", "--although", "weather"], "no topic 'weather'"),
        (["{run}", "{run}", "--tolerance", "much"], "not a percentage"),
        (["{run}", "{run}", "--tolerance", "capped=1pp"], "--tolerance capped=1pp: 'capped' is 'dropped' now"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(runs, capsys, arguments, words):
    assert main(["compare", *(a.format(run=runs[0]) for a in arguments)]) == 64
    assert words in capsys.readouterr().err
