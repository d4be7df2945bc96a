"""A baseline file of a stranger: it is compared or refused, whatever is in it."""

import json
import os
import random
from pathlib import Path

import pytest

from analysis.compare import baseline, export, judged, likeness, summary, tolerance
from analysis.compare.comparison import Comparison
from analysis.compare.estimate import Count, Curve, Judgement, Kept, Side
from analysis.judging.finding import Status
from contract.refusal import Refusal
from tests.analysis.compare.sides import latencies, share, side, trials
from tests.analysis.mutated import TOKENS, mutate


def whole() -> Side:
    finding = Kept("failover", "NFR1", "at most 5 s", "1.2 s", Status.PASS, 1.2, "s", 9)
    found = side("a", *latencies(1, blocks=12, each=5), trials([1.0, 2.0, 3.0], censored=[1]), share(90, 100))
    return Side(
        found.name, found.conditions, ("cut short",), found.tiers, found.samples, (Curve("latency", "vllm", "gateway", 9, (1.0, 2.0)),),
        Judgement("pass", 0, (finding,)), (Count("failures", "all tiers", 3.0, "answers"), Count("cuts", "vllm", None, "answers")),
    )  # fmt: skip


ODD = (None, True, -1, 0, 1e18, -1e300, 2**62, 0.5, "", "x", "\ud800", "1", [], {}, [None], {"kind": "trials"}, [[[]]], "pass")  # fmt: skip


def changed(data: object, rng: random.Random) -> object:
    """The JSON value with one value inside it replaced, removed or doubled."""
    if isinstance(data, dict | list) and data and rng.random() < 0.9:
        keys = list(data) if isinstance(data, dict) else list(range(len(data)))
        key = rng.choice(keys)
        copy = dict(data) if isinstance(data, dict) else list(data)
        match rng.randrange(12):
            case 0:
                del copy[key]
            case 1 if isinstance(copy, list):
                copy.insert(0, copy[key])
            case 1:
                copy[f"{key}x"] = copy[key]
            case _:
                copy[key] = changed(copy[key], rng)
        return copy
    return rng.choice(ODD)


def end_of(path: Path, other: Side) -> str:
    """How a comparison with this file ends: `refused`, or `compared`."""
    try:
        found = baseline.read(path)
        unlike = likeness.unlike(found.conditions, other.conditions)
        likeness.refuse(found.name, other.name, unlike, likeness.allowed("topology,prompts,load,timeline"))
    except Refusal:
        return "refused"
    made = Comparison(found, other, unlike, judged.judge(found, other, tolerance.parse("")))
    summary.text(made)
    summary.markdown(made).encode()
    json.loads(export.as_json(made))
    export.as_csv(made)
    return "compared"


@pytest.mark.parametrize("seed", range(4))
def test_a_baseline_with_a_changed_value_is_compared_or_refused(tmp_path, seed):
    data, other, ends = json.loads(baseline.text(whole())), whole(), []
    for number in range(60):
        rng = random.Random(f"{seed}-{number}")
        (tmp_path / "b.json").write_text(json.dumps(changed(data, rng)))
        ends.append(end_of(tmp_path / "b.json", other))
    assert min(ends.count("refused"), ends.count("compared")) > 0


def test_a_baseline_with_changed_bytes_is_compared_or_refused(tmp_path):
    text, other = baseline.text(whole()).encode(), whole()
    for number in range(80):
        (tmp_path / "b.json").write_bytes(mutate(text, random.Random(number)))
        end_of(tmp_path / "b.json", other)


@pytest.mark.parametrize(
    "token", [*(t.decode(errors="replace") for t in TOKENS), "1" * 5000, "[" * 100_000, "{" * 9]
)
def test_any_text_in_the_place_of_a_number_is_refused(tmp_path, token):
    text = baseline.text(whole()).replace('"hits":90', f'"hits":{token}')
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(Refusal):
        baseline.read(tmp_path / "b.json")


def test_a_baseline_comes_back_as_it_was(tmp_path):
    (tmp_path / "b.json").write_text(baseline.text(whole()))
    assert baseline.text(baseline.read(tmp_path / "b.json")) == baseline.text(whole())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"hits":90', '"hits":190', "continuity share of all tiers: impossible numbers"),
        ('"hits":90', '"hits":-1', "impossible numbers"),
        ('"hits":90', '"hits":90.5', "invalid baseline: samples.4.number"),
        ('"hits":90', '"hits":"90"', "invalid baseline: samples.4.number"),
        ('"metric":"continuity"', '"metric":"continuit"', "did you mean 'continuity'"),
        ('"design_effect":1.0', '"design_effect":0', "impossible numbers"),
        ('"design_effect":1.0', '"design_effect":1e999', "is not a finite number"),
        ('"kind":"trials"', '"kind":"estimate"', "invalid baseline"),
        ('"kind":"trials"', '"kind":[]', "invalid baseline"),
        ('"unit":"share"', '"unit":5', "valid string"),
        ('"name": "a"', '"name": null', "valid string"),
        ('"unit":"share"', '"unit":"\\ud800"', "surrogate"),
        ('"values":[1.0,2.0,3.0]', '"values":[1.0,2.0]', "impossible numbers"),
        ('"values":[1.0,2.0,3.0]', '"values":[1.0,null,3.0]', "valid number"),
        ('"values":[1.0,2.0,3.0]', '"values":"123"', "invalid baseline"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_place(tmp_path, old, new, words):
    text = baseline.text(whole())
    assert old in text
    (tmp_path / "b.json").write_text(text.replace(old, new))
    with pytest.raises(Refusal, match=words):
        baseline.read(tmp_path / "b.json")


def test_a_huge_or_endless_baseline_is_refused_at_once(tmp_path):
    (tmp_path / "b.json").write_text("{}")
    os.truncate(tmp_path / "b.json", 2**40)
    with pytest.raises(Refusal, match="larger than 16 MiB"):
        baseline.read(tmp_path / "b.json")
