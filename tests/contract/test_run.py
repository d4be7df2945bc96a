"""The run folder: opened first, closed last, readable whenever the process died."""

import json
import os

import pytest

from contract import samplers
from contract.records import Event, RequestRecord
from contract.refusal import Refusal
from contract.run import (
    ABORTED,
    FINISHED,
    ArrowFile,
    JsonLines,
    open_run,
    read_arrow,
    read_lines,
    read_manifest,
)
from contract.samplers.client import Client
from contract.samplers.gauges import Gauges
from contract.samplers.health import Health
from contract.schemas import REQUESTS


def opened(tmp_path, **changes):
    given = {
        "name": "three_tier",
        "started_at": 0.0,
        "inputs": {"topology.yaml": "x: 1\n"},
        "arguments": {},
        "seed": 1,
    }
    return open_run(tmp_path / "results", **{**given, **changes})


def record(number: int) -> RequestRecord:
    return RequestRecord(
        f"req-1-{number}", "chat", "load", "gateway", True, 1.0 + number, outcome="ok", gaps_ms=[1.5, 2.5]
    )


def classified(wrong: list[str]) -> RequestRecord:
    return RequestRecord(
        "req-1-2",
        "classify",
        "load",
        "gateway",
        False,
        1.0,
        document="invoice_de_01",
        attempt=1,
        valid=True,
        wrong=wrong,
    )


def test_a_run_has_its_manifest_first_and_its_inputs_copied(tmp_path):
    run = opened(tmp_path)
    assert run.path.name == "1970-01-01T000000Z-three_tier"
    assert read_manifest(run.path)["status"] == "running"
    assert (run.path / "topology.yaml").read_text() == "x: 1\n"
    assert os.readlink(tmp_path / "results" / "latest") == run.path.name


def test_a_closed_run_has_its_status_and_reason(tmp_path):
    run = opened(tmp_path)
    run.close(ABORTED, 9.0, "guard: too long", {"ok": 3})
    found = read_manifest(run.path)
    assert (found["status"], found["reason"], found["counts"]) == ("aborted", "guard: too long", {"ok": 3})
    run.reported(3)
    assert read_manifest(run.path) == {**found, "verdict_exit_code": 3}


def test_two_runs_of_one_second_are_two_folders(tmp_path):
    assert opened(tmp_path).path != opened(tmp_path).path


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_results_that_cannot_be_written_are_refused_by_permission(tmp_path):
    (tmp_path / "results").mkdir(mode=0o500)
    with pytest.raises(Refusal, match="make it writable"):
        opened(tmp_path)


def test_results_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(Refusal, match="cannot create a run folder there"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("schema", "row"),
    [
        (REQUESTS, record(1)),
        (REQUESTS, classified(["language"])),
        (REQUESTS, classified([])),
        (samplers.find("health").schema, Health(1.0, "vllm", None)),
        (samplers.find("client").schema, Client(1.0, None, 12.5, 0.3, 4, 3, 2, 1, None, 1)),
        (samplers.find("gauges").schema, Gauges(1.0, "vllm", None, 0.0, 2.0)),
    ],
    ids=["requests", "wrong", "right", "health", "client", "gauges"],
)
def test_records_come_back_as_they_were(tmp_path, schema, row):
    file = ArrowFile(tmp_path / "x.arrow", schema)
    file.append([row, row])
    file.append([row])
    file.close()
    table, torn = read_arrow(tmp_path / "x.arrow", schema)
    assert not torn
    assert table.num_rows == 3
    assert table.to_pylist()[2] == {f.name: getattr(row, f.name) for f in schema}


@pytest.mark.parametrize("number", [1, 4, 6, None])
def test_a_run_of_an_unknown_format_is_refused(tmp_path, number):
    run = opened(tmp_path)
    run.manifest["format"] = number
    run.close(ABORTED, 9.0, "guard: too long", {})
    with pytest.raises(
        Refusal,
        match=rf"has format {number}; this version reads format 5\. Analyse it with the version that recorded it",
    ):
        read_manifest(run.path)


def test_a_file_torn_at_any_byte_gives_its_whole_batches(tmp_path):
    path = tmp_path / "x.arrow"
    file = ArrowFile(path, REQUESTS)
    sizes = [path.stat().st_size]
    for number in range(3):
        file.append([record(number)])
        sizes.append(path.stat().st_size)
    whole = path.read_bytes()
    every = [*range(0, sizes[-2], 7), *range(sizes[-2], len(whole) + 1)]  # of the last batch each
    for length in every:
        path.write_bytes(whole[:length])
        table, torn = read_arrow(path, REQUESTS)
        assert table.num_rows == max(0, sum(size <= length for size in sizes) - 1)
        assert torn == (length not in sizes)


@pytest.mark.parametrize("rest", [bytes(8), bytes(4096), b"\xff" * 8, b"\x10\x00\x00\x00"])
def test_a_tail_that_is_no_batch_is_torn(tmp_path, rest):
    path = tmp_path / "x.arrow"
    file = ArrowFile(path, REQUESTS)
    file.append([record(1)])
    with open(path, "ab") as f:  # as after a power loss
        f.write(rest)
    table, torn = read_arrow(path, REQUESTS)
    assert table["request_id"].to_pylist() == ["req-1-1"]
    assert torn


def test_a_file_that_is_not_there_is_empty(tmp_path):
    assert read_arrow(tmp_path / "none.arrow", REQUESTS)[0].num_rows == 0
    assert read_lines(tmp_path / "none.jsonl") == ([], False)


def test_events_are_lines_and_a_torn_one_is_left_out(tmp_path):
    path = tmp_path / "chaos.jsonl"
    lines = JsonLines(path)
    event = Event(1.0, "r", "inject", "begin", "timeline", "s", 1, "scale_to_zero", "vllm", late_ms=0.2)
    lines.append(event)
    lines.append(event)
    path.write_text(path.read_text()[:-5])
    found, torn = read_lines(path)
    assert torn
    assert [line["move"] for line in found] == ["inject"]
    assert json.loads(path.read_text().splitlines()[0])["late_ms"] == 0.2


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(Refusal, match="is not a run folder"):
        read_manifest(tmp_path)


def test_a_manifest_names_the_gateways_version_from_the_warm_up_on(tmp_path):
    run = opened(tmp_path, gateway={"1.106.2": 4})
    found = read_manifest(run.path)
    assert (found["versions"]["gateway"], found["gateway_versions"]) == ("litellm 1.106.2", {"1.106.2": 4})


def test_a_gateway_that_was_upgraded_under_load_has_every_version_in_the_manifest(tmp_path):
    run = opened(tmp_path, gateway={"1.106.2": 4})
    run.close(FINISHED, 9.0, None, {"ok": 3}, gateway={"1.106.2": 100, "1.108.7": 300})
    found = read_manifest(run.path)
    assert found["versions"]["gateway"] == "litellm 1.106.2, 1.108.7"
    assert found["gateway_versions"] == {"1.106.2": 104, "1.108.7": 300}


def test_a_version_that_no_answer_named_is_null(tmp_path):
    run = opened(tmp_path)
    run.close(ABORTED, 9.0, "guard: too long", {})
    found = read_manifest(run.path)
    assert (found["versions"]["gateway"], found["gateway_versions"]) == (None, {})


@pytest.mark.parametrize("make", [lambda path: path.symlink_to(path.with_name("outside")), os.mkfifo])
def test_lines_are_not_appended_through_a_link_or_to_a_fifo(tmp_path, make):
    make(tmp_path / "restore.jsonl")
    with pytest.raises(OSError, match=r"a symbolic link|a named pipe"):
        JsonLines(tmp_path / "restore.jsonl")
    assert not (tmp_path / "outside").exists()
