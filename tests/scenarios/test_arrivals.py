"""When asks arrive: what the words mean, and that the same words and seed mean the same again."""

import itertools
import statistics

import pytest

from contract.refusal import Refusal
from scenarios.gateway.arrivals import Arrival, Arrivals, Share, parse


def _taken(arrivals, until_s, seed="1", step_s=0.1, **given):
    """All arrivals before `until_s`, asked for in steps as the open loop does."""
    schedule, found = arrivals.schedule(seed, **given), []
    steps = round(until_s / step_s)
    for step in range(1, steps + 1):
        while (arrival := schedule.before(step * step_s)) is not None:
            found.append(arrival)
    return found


def _at(arrivals, until_s, **given):
    return [a.at_s for a in _taken(arrivals, until_s, **given)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("constant:8/s", Arrivals("constant", 8.0)),
        ("poisson:90/m", Arrivals("poisson", 1.5)),
        ("poisson:0.5/s", Arrivals("poisson", 0.5)),
        ("constant:36/h", Arrivals("constant", 0.01)),
    ],
)
def test_a_kind_and_its_rate(text, found):
    assert parse(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("poison:8/s", "--arrivals: 'poison:8/s': no kind of arrivals 'poison'; did you mean 'poisson'?"),
        ("8/s", "--arrivals: '8/s': no kind of arrivals '8/s'; there is constant, poisson, replay"),
        ("poisson:8", "--arrivals: 'poisson:8': '8' is no rate above 0; write it like poisson:8/s or poisson:90/m"),
        ("constant:0/s", "'0/s' is no rate above 0; write it like constant:8/s"),
        ("constant:-1/s", "'-1/s' is no rate"),
        ("constant:8/d", "'8/d' is no rate"),
        ("poisson", "'' is no rate"),
        ("replay:nowhere.csv", "--arrivals: nowhere.csv: cannot be read: No such file or directory"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_would_be_right(text, words):
    with pytest.raises(Refusal) as refusal:
        parse(text)
    assert words in str(refusal.value)


def test_constant_arrivals_are_even_from_the_first_gap_on():
    assert _at(parse("constant:8/s"), 1.0) == pytest.approx([n / 8 for n in range(1, 8)])


def test_poisson_arrivals_have_their_rate_and_exponential_gaps():
    at = _at(parse("poisson:20/s"), 500.0)
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert len(at) == pytest.approx(10_000, rel=0.03)
    assert statistics.fmean(gaps) == pytest.approx(0.05, rel=0.03)
    assert statistics.pstdev(gaps) == pytest.approx(0.05, rel=0.05)  # of an exponential gap: its mean


def test_a_seed_repeats_its_arrivals_and_another_draws_others():
    spec = parse("poisson:8/s")
    assert _at(spec, 20.0) == _at(spec, 20.0)
    assert _at(spec, 20.0) != _at(spec, 20.0, seed="2")


@pytest.mark.parametrize("text", ["constant:8/s", "poisson:8/s"])
def test_in_which_steps_they_are_asked_for_changes_nothing(text):
    spec = parse(text)
    assert _at(spec, 20.0) == pytest.approx(_at(spec, 20.0, step_s=2.5))


def test_several_load_generators_make_even_arrivals_together():
    spec = parse("constant:8/s")
    parts = [_at(spec, 3.0, share=Share(i, 3)) for i in range(3)]
    assert sorted(at for part in parts for at in part) == pytest.approx(_at(spec, 3.0))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_share_of_poisson_arrivals_is_that_part_of_the_rate():
    assert len(_at(parse("poisson:40/s"), 250.0, share=Share(1, 4))) == pytest.approx(2500, rel=0.06)


@pytest.mark.parametrize(("text", "tolerance"), [("constant:10/s", 0.001), ("poisson:10/s", 0.1)])
def test_the_rate_may_change_under_way_and_rest(text, tolerance):
    factors = [1.0, 0.0, 5.0]  # for 100 s each

    at = _at(parse(text), 300.0, factor=lambda at_s: factors[int(at_s // 100)])
    counts = [sum(100 * i <= x < 100 * (i + 1) for x in at) for i in range(3)]
    assert counts[1] == 0
    assert [counts[0], counts[2]] == pytest.approx([1000, 5000], rel=tolerance, abs=2)


def _trace(tmp_path, text):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    return f"replay:{path}"


def test_a_trace_is_replayed_with_its_lengths_from_its_first_row_on(tmp_path):
    text = _trace(tmp_path, "time,prompt,output\n100,20,5\n100.5,300, 40\n\n102.0,7,1\n")
    whole = (Arrival(0.0, 20, 5), Arrival(0.5, 300, 40), Arrival(2.0, 7, 1))
    assert parse(text).trace == whole
    assert _taken(parse(text), 10.0) == list(whole)
    assert _taken(parse(text), 10.0, share=Share(1, 2)) == [whole[1]]


def test_times_may_be_instants(tmp_path):
    """As in a public trace of a cloud's language models."""
    text = _trace(
        tmp_path,
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n",
    )
    assert [a.at_s for a in parse(text).trace] == pytest.approx([0.0, 0.052], abs=1e-5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no arrivals; its columns are time, prompt tokens, output tokens"),
        ("time,prompt,output\n", "holds no arrivals"),
        ("0,20\n", "line 1: holds 2 columns; there are three: time, prompt tokens, output tokens"),
        ("a,b,c\n0,20,5\nsoon,20,5\n", "line 3: 'soon' is no time; write seconds, or like"),
        ("0,20,5\n2,20,5\n1,20,5\n", "line 3: its time 1 is before that of the line above; sort the trace"),
        ("0,20,5\n1,few,5\n", "line 2: 'few' is no number of prompt tokens; write a whole number from 1 on"),
        ("0,20,0\n", "line 1: '0' is no number of output tokens"),
    ],
)
def test_a_trace_that_cannot_be_replayed_is_refused_by_its_line(tmp_path, text, words):
    with pytest.raises(Refusal) as refusal:
        parse(_trace(tmp_path, text))
    assert f"--arrivals: {tmp_path}/trace.csv" in str(refusal.value)
    assert words in str(refusal.value)
