"""Arrival times: what `--arrivals` accepts, and that the same value and seed give the same times."""

import itertools
import os
import statistics

import pytest

from contract.refusal import Refusal
from scenarios.gateway.arrivals import Arrival, Arrivals, WorkerShare, parse


def _taken(arrivals, until_s, seed="1", step_s=0.1, **given):
    """All arrivals before `until_s`, taken in steps as the open loop does."""
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
        ("poisson:8", "--arrivals: 'poisson:8': '8' is not a rate above 0; write it like poisson:8/s or poisson:90/m"),
        ("constant:0/s", "'0/s' is not a rate above 0; write it like constant:8/s"),
        ("constant:-1/s", "'-1/s' is not a rate"),
        ("constant:8/d", "'8/d' is not a rate"),
        ("poisson", "'' is not a rate"),
        ("replay:nowhere.csv", "--arrivals: nowhere.csv: cannot be read: No such file or directory"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_correct_form(text, words):
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
def test_the_size_of_the_steps_changes_no_arrival(text):
    spec = parse(text)
    assert _at(spec, 20.0) == pytest.approx(_at(spec, 20.0, step_s=2.5))


def test_several_load_generators_make_even_arrivals_together():
    spec = parse("constant:8/s")
    parts = [_at(spec, 3.0, share=WorkerShare(i, 3)) for i in range(3)]
    assert sorted(at for part in parts for at in part) == pytest.approx(_at(spec, 3.0))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_share_of_poisson_arrivals_is_that_part_of_the_rate():
    assert len(_at(parse("poisson:40/s"), 250.0, share=WorkerShare(1, 4))) == pytest.approx(2500, rel=0.06)


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
    assert _taken(parse(text), 10.0, share=WorkerShare(1, 2)) == [whole[1]]


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
        ("", "has no arrivals; the columns are time, prompt tokens, output tokens"),
        ("time,prompt,output\n", "has no arrivals"),
        ("0,20\n", "line 1: has 2 columns; expected three: time, prompt tokens, output tokens"),
        ("a,b,c\n0,20,5\nsoon,20,5\n", "line 3: 'soon' is not a time; write seconds, or like"),
        (
            "0,20,5\n2,20,5\n1,20,5\n",
            "line 3: its time 1 is before the time in the line above; sort the trace",
        ),
        (
            "0,20,5\n1,few,5\n",
            "line 2: 'few' is not a number of prompt tokens; write a whole number from 1 on",
        ),
        ("0,20,0\n", "line 1: '0' is not a number of output tokens"),
    ],
)
def test_a_trace_that_cannot_be_replayed_is_refused_by_its_line(tmp_path, text, words):
    with pytest.raises(Refusal) as refusal:
        parse(_trace(tmp_path, text))
    assert f"--arrivals: {tmp_path}/trace.csv" in str(refusal.value)
    assert words in str(refusal.value)


MOONCAKE = '{"timestamp": 0, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}\n{"timestamp": 3000, "input_length": 12, "output_length": 5, "hash_ids": [46]}\n'


@pytest.mark.parametrize(
    ("text", "at", "lasts_s", "read_as"),
    [
        pytest.param(MOONCAKE, "", 3.0, "milliseconds (a Mooncake trace)", id="Mooncake"),
        pytest.param(
            '{"chat_id": 1, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 521, "output_length": 132, "type": "text", "turn": 1, "hash_ids": [1]}\n'
            '{"chat_id": 2, "parent_chat_id": 1, "timestamp": 63.114, "input_length": 5, "output_length": 1, "type": "text", "turn": 2, "hash_ids": [1]}\n',
            "", 2.0, "seconds (a Bailian trace)", id="Bailian"),
        pytest.param(
            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,230,1317,API log\n",
            "", 40.0, "seconds (a BurstGPT trace)", id="BurstGPT"),
        pytest.param(
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,20,5\n2.5,20,5\n", "", 2.0, "seconds (a Vidur trace)", id="Vidur"),
        pytest.param(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:01.009930+00:00,2399,6\n",
            "", 1.0, "dates", id="Azure"),
        pytest.param("timestamp,input_length,output_length\n1000,20,5\n4000,20,5\n", "@ms", 3.0, "milliseconds (as given)", id="the operator's unit"),
        pytest.param("timestamp_ms,input,output\n1000,20,5\n4000,20,5\n", "", 3.0, "milliseconds (its column is timestamp_ms)", id="the column's name"),
        pytest.param("output,input,time (ns)\n5,20,1700000000000000000\n5,20,1700000003000000000\n", "", 3.0, "nanoseconds (its column is time_ns)", id="an epoch, and columns in another order"),
        pytest.param("0,20,5\n3,20,5\n", "", 3.0, "seconds (the default)", id="no heading"),
        pytest.param("1700000000,20,5\n1700000003,20,5\n", "", 3.0, "seconds (the default)", id="seconds of an epoch"),
    ],
)  # fmt: skip
def test_a_trace_is_read_in_its_known_unit_with_the_source_of_that_unit(tmp_path, text, at, lasts_s, read_as):
    found = parse(_trace(tmp_path, text) + at)
    assert found.trace[0].at_s == 0.0
    assert found.trace[-1].at_s == pytest.approx(lasts_s)
    assert found.read_as == read_as
    assert found.lasting().startswith(f"2 arrivals over {lasts_s:g}s")
    assert found.lasting().endswith(f"times read as {read_as}")


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf0,20,5\n3,30,5\n",
        b"\xef\xbb\xbftime,prompt,output\r\n0,20,5\r\n3,30,5\r\n",
        b"0,20,5\r3,30,5\r",
        b'"0","20","5"\n"3","30","5"\n\n',
        b" 0 , 20,5 \n3,30,5",
    ],
    ids=["a BOM and no heading", "a BOM, a heading, CRLF", "bare CR", "quotes", "spaces"],
)
def test_no_row_is_lost_to_how_a_file_was_saved(tmp_path, data):
    path = tmp_path / "trace.csv"
    path.write_bytes(data)
    assert parse(f"replay:{path}").trace == (Arrival(0.0, 20, 5), Arrival(3.0, 30, 5))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nan,20,5\n1,20,5\n", "line 1: 'nan' is not a finite time; write seconds"),
        ("0,20,5\ninf,20,5\n", "line 2: 'inf' is not a finite time"),
        ("0,20,5\n-inf,20,5\n", "line 2: '-inf' is not a finite time"),
        ("0,20,5\n1e999,20,5\n", "line 2: '1e999' is not a finite time"),
        ("-1,20,5\n0,20,5\n", "line 1: its time -1 is before 0"),
        ("1_000,20,5\n", "line 1: '1_000' is not a time"),
        ("soon,20,5\n0,20,5\n", "line 1: 'soon' is not a time"),
        ("0,20,5\n2023-11-16 18:17:03,20,5\n", "line 2: its time 2023-11-16 18:17:03 is of the kind dates, but those above are numbers"),
        ("timestamp,input_length,output_length\n0,20,5\n3000,20,5\n", "line 2: the unit of its time 0 is unknown"),
        ('{"timestamp": 0, "input_length": 20, "output_length": 5}\n', "line 1: the unit of its time 0 is unknown"),
        ("1700000000000,20,5\n1700000003000,20,5\n", "line 1: its time 1700000000000 is not a Unix time in seconds; write its unit: replay:"),
        ("0;20;5\n1;20;5\n", "line 1: its columns are separated by ';'; separate them by commas"),
        ("0\t20\t5\n", "line 1: its columns are separated by tabs"),
        ('0,"20,5\n1,20,5\n', "line 1: is not valid CSV"),
        ("0,20,5\n1,20\n", "line 2: has 2 columns; expected three"),
        ("when,model,in,out\n0,x,20,5\n", "line 1: has 4 columns; expected three: time, prompt tokens, output tokens; no column is named like"),
        ("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,GPT-4,472,0,472,API log\n", "line 2: '0' is not a number of output tokens; write a whole number from 1 on; remove the rows of failed requests"),
        ("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,GPT-4,472\n", "line 2: has 3 columns; the heading has 6"),
        ("0,99999999999,5\n", "line 1: 99999999999 prompt tokens are more than any model takes"),
        ("0,²,5\n", "is not a number of prompt tokens"),
        ('[{"timestamp": 0}]\n', "is one JSON array; write one object per line"),
        ('{"timestamp": 0\n', "line 1: is not valid JSON"),
        (MOONCAKE + "[1]\n", "line 3: is not a JSON object"),
        (MOONCAKE + '{"timestamp": NaN, "input_length": 1, "output_length": 1}\n', "line 3: 'NaN' is not a finite time"),
        (MOONCAKE + '{"delay": 5, "input_length": 1, "output_length": 1}\n', "line 3: timestamp is missing"),
        (MOONCAKE + '{"timestamp": true, "input_length": 1, "output_length": 1}\n', "line 3: timestamp is not a number"),
        ('{"messages": []}\n', "line 1: no key is named like time nor prompt tokens nor output tokens"),
        ("0,20,5\n86401,20,5\n", "lasts 1d1s, its times were read as seconds (the default); a trace of more than a day needs --duration"),
    ],
)  # fmt: skip
def test_an_invalid_or_unordered_time_is_refused_with_its_line(tmp_path, text, words):
    with pytest.raises(Refusal) as refusal:
        parse(_trace(tmp_path, text))
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_bytes("0,20,5\n".encode("utf-16")), "is UTF-16; save it as UTF-8"),
        (lambda path: path.write_bytes(b"0,20,5\n\x00\n"), "has a NUL at byte 7"),
        (lambda path: path.write_bytes(b"0,20,5\n\xff\n"), "is not UTF-8 at byte 7"),
        (lambda path: path.write_bytes(b"\x1f\x8b\x08\x00"), "is compressed by gzip; unpack it first"),
        (lambda path: path.write_bytes(b"PAR1"), "is Parquet; write it as text first"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: os.mkfifo(path), "cannot be read: it is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "cannot be read: it is not a regular file"),
    ],
    ids=["UTF-16", "NUL", "not UTF-8", "gzip", "Parquet", "folder", "FIFO", "device"],
)
def test_anything_but_a_text_file_is_refused_without_waiting(tmp_path, write, words):
    write(tmp_path / "trace.csv")
    with pytest.raises(Refusal) as refusal:
        parse(f"replay:{tmp_path}/trace.csv")
    assert words in str(refusal.value)


def test_a_trace_that_is_too_large_is_refused_before_it_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("scenarios.gateway.trace.MOST_BYTES", 8)
    with pytest.raises(Refusal, match="is larger than"):
        parse(_trace(tmp_path, "0,20,5\n1,20,5\n"))
    monkeypatch.undo()
    monkeypatch.setattr("scenarios.gateway.trace.MOST_ARRIVALS", 1)
    with pytest.raises(Refusal, match="line 2: more than 1 arrivals; cut the trace"):
        parse(_trace(tmp_path, "0,20,5\n1,20,5\n"))


def test_a_trace_of_more_than_a_day_is_taken_by_a_run_that_has_a_length_of_its_own(tmp_path):
    assert (
        parse(_trace(tmp_path, "0,20,5\n86401,20,5\n"), any_length=True)
        .lasting()
        .startswith("2 arrivals over 1d1s")
    )


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("0,,", "line 1: '' is not a number of prompt tokens"),
        ("0,many,few", "line 1: 'many' is not a number of prompt tokens"),
        ("0,1e3,2e3", "line 1: '1e3' is not a number of prompt tokens"),
        ("0,nan,nan", "line 1: 'nan' is not a number of prompt tokens"),
        ("2023-11-16 18:17:03.979,,", "line 1: '' is not a number of prompt tokens"),
    ],
)
def test_a_first_row_that_is_wrong_is_refused_and_not_taken_for_a_heading(tmp_path, first, words):
    with pytest.raises(Refusal) as refusal:
        parse(_trace(tmp_path, f"{first}\n1,10,10\n"))
    assert words in str(refusal.value)


def test_a_name_that_no_file_can_have_is_refused():
    with pytest.raises(Refusal, match="cannot be read: File name too long"):
        parse(f"replay:{'a' * 5000}@ms")


@pytest.mark.parametrize(
    ("heading", "at", "words"),
    [
        ("timestamp_ms,a,b", "@s", "its times are named 'timestamp_ms', which is ms, not s; leave @s out"),
        ("time,a,b", "@min", "no unit 'min'"),
        ("time,a,b\n2023-11-16 18:17:03,2,2", "@ms", "is a date, which has no unit; leave @ms out"),
    ],
)
def test_a_unit_that_cannot_be_is_refused(tmp_path, heading, at, words):
    with pytest.raises(Refusal) as refusal:
        parse(_trace(tmp_path, f"{heading}\n1,2,2\n") + at)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["poisson:nan/s", "constant:inf/s", "poisson:1e400/s", f"constant:{'9' * 400}/s", "constant:٣/s"]
)
def test_a_rate_is_a_finite_number(text):
    with pytest.raises(Refusal, match="--arrivals"):
        parse(text)


def test_a_rate_lasts_as_long_as_the_run():
    assert parse("constant:8/s").lasting() is None
