"""A run folder of a stranger: it gives a report or a refusal, whatever is in its files."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from analysis import export, frames, judge, report
from analysis.__main__ import main
from analysis.evidence import Evidence
from contract import strict
from contract.counters import Counter, Scrape
from contract.records import GATEWAY, Lane, RequestRecord
from contract.refusal import EXIT_BAD_INPUT, Refusal
from contract.run import ArrowFile, JsonLines
from contract.schemas import REQUESTS, columns
from tests.analysis.reports import pictures
from tests.synthetic import Made, make
from tests.synthetic_world import START, Hole

ROOT = Path(__file__).parents[2]
DOCUMENT = RequestRecord(
    "doc-1", "classify", Lane.LOAD, GATEWAY, False, START + 3, START + 3, outcome="ok", status=200, tier="vllm",
    latency_ms=40.0, ttft_ms=40.0, document="d1", attempt=1, valid=True, wrong=["language"], witness="content",
)  # fmt: skip


def small(folder: Path) -> Made:
    """A short run that has every file."""
    expect = {
        "failover": {"step": "s", "to": "ollama", "max_s": 5},
        "continuity": {"min_good": 0.5},
        "overhead": {"max_ms": 100},
    }
    made = make(
        folder, [Hole("s", "vllm", 8, 6)], duration_s=24, rate=3, probe_rate=2, pairs=3, extra=[DOCUMENT], expect=expect
    )  # fmt: skip
    (made.path / "gateway.yaml").write_text(
        "model_list:\n- model_name: a\n  litellm_params: {model: openai/x}\n"
    )
    counters = JsonLines(made.path / "counters.jsonl")
    counter: Counter = {
        "name": "vllm:request_success_total",
        "labels": {"finished_reason": "length"},
        "value": 4.0,
    }
    counters.append(Scrape(START, "before", "vllm", "http://127.0.0.1:8000/metrics", [counter]))
    counters.append(Scrape(START + 24, "after", "vllm", "http://127.0.0.1:8000/metrics", [counter]))
    counters.close()
    (made.path / "ledger").mkdir()
    lines = [
        {"line": "arrived", "id": "1", "nonce": made.requests[0].request_id, "arrived_at": START + 0.1},
        {"line": "begun", "id": "1", "begun_at": START + 0.2},
        {"line": "ended", "id": "1", "how": "length"},
    ]
    (made.path / "ledger" / "vllm.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return made


def mutated(run: Path, seed: int, count: int) -> list[str]:
    """The lines of `mutated.py`. Fails if the process crashed or raised."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.analysis.mutated", run, str(seed), str(count)],
        cwd=ROOT, capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert child.returncode == 0, f"{child.returncode}: {child.stdout[-300:]}{child.stderr[-2000:]}"
    return child.stdout.splitlines()


@pytest.mark.verify
@pytest.mark.parametrize("seed", range(6))
def test_files_changed_at_random_give_a_report_or_a_refusal(tmp_path, seed):
    found = mutated(small(tmp_path).path, seed, 50)
    assert len(found) == 50
    assert not [line for line in found if "report;" in line]
    assert sum(" refused: " in line for line in found) > 5
    assert sum(line.endswith(" report") for line in found) > 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("whole")).path


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test changes."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def refused(run: Path) -> str:
    """The refusal, which comes before anything is written."""
    before = {p.relative_to(run) for p in run.rglob("*")}
    with pytest.raises(Refusal) as e:
        frames.read(run)
    assert {p.relative_to(run) for p in run.rglob("*")} == before
    assert str(e.value).startswith(str(run))
    return str(e.value)


def reported(run: Path) -> Path:
    evidence = Evidence(frames.read(run))
    with pictures("timeline"):
        folder = report.write(evidence, judge.judge(evidence))
    assert not evidence.thrown.found
    return folder


def test_a_run_with_every_file_gives_a_whole_report(run):
    assert (reported(run) / "report.html").is_file()


SECRET = "from outside the run's folder"
READ = [
    "manifest.json", "topology.yaml", "timeline.yaml", "gateway.yaml", "requests.arrow", "probe.arrow", "health.arrow",
    "client.arrow", "chaos.jsonl", "clocks.jsonl", "counters.jsonl", "ledger/vllm.jsonl", "restore.jsonl",
]  # fmt: skip


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
@pytest.mark.parametrize("name", READ)
def test_a_link_in_a_run_is_not_read(run, tmp_path, name, link):
    outside, file = tmp_path / "outside", run / name
    if file.exists():
        file.rename(outside)  # a valid file: only the link is wrong
    else:
        outside.write_text("")
    link(outside, file)
    words = refused(run)
    assert f"{file}: is a {'symbolic' if link is os.symlink else 'hard'} link" in words
    assert "put a copy of the file in its place" in words


def test_a_link_to_nothing_is_refused_as_one(run, tmp_path):
    (run / "timeline.yaml").unlink()
    (run / "timeline.yaml").symlink_to(tmp_path / "none")
    assert "is a symbolic link" in refused(run)


def test_a_folder_of_ledgers_that_is_a_link_is_not_read(run, tmp_path):
    (run / "ledger").rename(tmp_path / "elsewhere")
    (run / "ledger").symlink_to(tmp_path / "elsewhere")
    assert "is not a folder of its own" in refused(run)


@pytest.mark.parametrize("name", READ)
def test_a_fifo_in_a_run_does_not_block(run, name):
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    assert "is not a regular file" in refused(run)


def everything(folder: Path) -> Path:
    reported(folder)
    export.export(frames.read(folder), report.make_folder(folder), [export.CSV, export.PARQUET])
    return folder / "report"


def test_nothing_is_written_through_a_link_in_the_report(run, tmp_path):
    names = {p.name for p in everything(run).iterdir()}
    assert len(names) > 20
    outside = tmp_path / "outside"
    outside.write_text(SECRET)
    for name in names:
        (run / "report" / name).unlink()
        for link in (name, f".{name}.{os.getpid()}"):  # the second is written first, then renamed
            (run / "report" / link).symlink_to(outside)
    everything(run)
    assert outside.read_text() == SECRET
    assert {p.name for p in (run / "report").iterdir() if not p.is_symlink()} >= names


def test_a_report_folder_that_is_a_link_is_refused(run, tmp_path):
    (tmp_path / "outside").mkdir()
    (run / "report").symlink_to(tmp_path / "outside")
    assert main(["report", str(run)]) == EXIT_BAD_INPUT
    assert main(["export", str(run)]) == EXIT_BAD_INPUT
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_folder_in_the_place_of_a_report_is_refused(run, capsys):
    (run / "report" / "summary.md").mkdir(parents=True)
    assert main(["report", str(run)]) == EXIT_BAD_INPUT
    assert "report: cannot be written" in capsys.readouterr().err


def rewritten(run: Path, change: Callable[[pa.RecordBatch], pa.RecordBatch], **options: object) -> None:
    """requests.arrow with its first batch changed, and more batches after it."""
    file = run / "requests.arrow"
    with pa.ipc.open_stream(file.read_bytes()) as reader:
        batches = list(reader)
    first = change(batches[0])
    with pa.ipc.new_stream(file, first.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_batch(first)
        for _ in range(2):
            writer.write_batch(first)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_compressed_batch_is_refused_before_it_is_unpacked(run, codec):
    record = RequestRecord("r", "chat", Lane.LOAD, GATEWAY, True, START, gaps_ms=[0.0] * 4_000_000)
    rewritten(run, lambda batch: columns([record] * 4, REQUESTS), compression=codec)
    assert (run / "requests.arrow").stat().st_size < 2**20  # of 192 MB
    assert "requests.arrow: has a compressed batch" in refused(run)


def without_nulls(batch: pa.RecordBatch, name: str) -> pa.RecordBatch:
    at = REQUESTS.get_field_index(name)
    none = pa.nulls(batch.num_rows, REQUESTS.field(name).type)
    return pa.RecordBatch.from_arrays([none if i == at else c for i, c in enumerate(batch.columns)], schema=REQUESTS)  # fmt: skip


@pytest.mark.parametrize("name", ["request_id", "scheduled_at", "lane", "gaps_ms", "stream"])
def test_a_column_without_its_values_is_refused(run, name):
    rewritten(run, lambda batch: without_nulls(batch, name))
    assert f"has a record without {name}" in refused(run)


def spoiled_offsets(batch: pa.RecordBatch) -> pa.RecordBatch:
    at = REQUESTS.get_field_index("scenario")
    _, offsets, text = batch.columns[at].buffers()
    far = bytearray(offsets.to_pybytes())
    far[4:8] = (2**30).to_bytes(4, "little")  # Arrow's quick check looks at the first and the last one
    column = pa.Array.from_buffers(pa.string(), batch.num_rows, [None, pa.py_buffer(far), text])
    return pa.RecordBatch.from_arrays([column if i == at else c for i, c in enumerate(batch.columns)], schema=REQUESTS)  # fmt: skip


def not_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    at = REQUESTS.get_field_index("scenario")
    column = pa.array([b"\xff\xfe"] * batch.num_rows, pa.binary()).view(pa.string())
    return pa.RecordBatch.from_arrays([column if i == at else c for i, c in enumerate(batch.columns)], schema=REQUESTS)  # fmt: skip


@pytest.mark.parametrize("spoil", [spoiled_offsets, not_text])
def test_an_invalid_batch_is_refused_with_the_way_out(run, spoil):
    rewritten(run, spoil)
    words = refused(run)
    assert "requests.arrow: has an invalid batch" in words
    subprocess.run(words.split("cut it there: ")[1].split(), check=True)
    frames.read(run)


def test_an_invalid_batch_at_the_end_is_a_torn_tail(run):
    file = run / "requests.arrow"
    whole, found = file.read_bytes(), len(frames.read(run).requests)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, REQUESTS) as writer:
        writer.write_batch(spoiled_offsets(columns([DOCUMENT] * 3, REQUESTS)))
        ends = sink.tell()
    made = sink.getvalue().to_pybytes()
    first = made.index(b"\xff\xff\xff\xff", 8)  # after the schema
    file.write_bytes(
        whole[:-8] + made[first:ends] + bytes(512)
    )  # the end marker, and what a power loss leaves
    read = frames.read(run)
    assert (len(read.requests), read.torn) == (found, ("requests.arrow",))


@pytest.mark.parametrize(
    "change",
    [
        lambda batch: batch.drop_columns(["worker"]),
        lambda batch: batch.rename_columns([*batch.schema.names[:-1], "right"]),
        lambda batch: batch.set_column(0, "request_id", batch.column(0).dictionary_encode()),
        lambda batch: batch.set_column(5, "scheduled_at", batch.column(5).cast(pa.float32())),
        lambda batch: batch.append_column("more", batch.column(0)),
    ],
    ids=["fewer", "renamed", "a dictionary", "another type", "more"],
)
def test_other_columns_than_ours_are_refused(run, change):
    rewritten(run, change)
    assert "its columns are not those of format 5" in refused(run)


def record(**changed: object) -> RequestRecord:
    found = RequestRecord("r", "chat", Lane.LOAD, GATEWAY, True, START)
    for name, value in changed.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    "changed",
    [
        {"scheduled_at": 1e300}, {"scheduled_at": -5.0}, {"sent_at": float("inf")}, {"sent_at": 1e15},
        {"sent_at": START, "latency_ms": 1e14}, {"ttft_ms": float("-inf")}, {"gaps_ms": [float("nan")]},
        {"gaps_ms": [1.0, float("inf")]}, {"route_overhead_ms": 1e300},
    ],
)  # fmt: skip
def test_an_instant_or_a_length_that_no_run_has_is_refused(run, changed):
    (run / "requests.arrow").unlink()
    file = ArrowFile(run / "requests.arrow", REQUESTS)
    file.append([record(), record(**changed)])
    file.close()
    assert "requests.arrow: " in refused(run)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize("name", ["topology.yaml", "timeline.yaml"])
@pytest.mark.parametrize(
    "text", [BOMB, "a: &a [*a]\n", "[" * 5000, "a: " + "1:" * 300_000 + "1\n", "# " + "x" * 2**20 + "\na: 1\n"],
    ids=["aliases", "an alias in itself", "a nest", "base 60", "a long comment"],
)  # fmt: skip
def test_yaml_that_grows_is_refused(run, name, text):
    (run / name).write_text(text)
    assert name in refused(run)


def test_a_gateways_configuration_that_grows_is_refused_in_a_comparison(run, whole, capsys):
    (run / "gateway.yaml").write_text(BOMB)
    assert main(["compare", str(whole), str(run), "--out", str(run / "out")]) == EXIT_BAD_INPUT
    assert "gateway.yaml: " in capsys.readouterr().err


def test_an_alias_that_saves_a_few_lines_is_read(tmp_path):
    assert strict.parse_yaml("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n")["c"] == {"x": 1, "y": 2}


EVENT = '{"at": 1795000008.0, "run": "r", "move": "inject", "stage": "begin", "by": "timeline", "step": "s", "trial": 1, "fault": "f", "target": "vllm"}'


@pytest.mark.parametrize(
    "line",
    [
        "[]", "1", "null", '"x"', "{}", EVENT.replace("1795000008.0", '"now"'), EVENT.replace("1795000008.0", "true"),
        EVENT.replace('"trial": 1', '"trial": 1.5'), EVENT.replace('"inject"', "null"), EVENT.replace('"vllm"', '["vllm"]'),
        EVENT.replace("1795000008.0", "1e17"), EVENT[:-1] + ', "detail": [1]}', EVENT[:-1] + ', "late_ms": "1"}',
        EVENT[:-1] + ', "detail": {"a": ' + "[" * 20_000 + "]" * 20_000 + "}}", EVENT[:-1] + f', "error": "{"x" * 2**20}"}}',
    ],
    ids=lambda line: line[:20],
)  # fmt: skip
def test_a_line_that_is_no_event_is_refused(run, line):
    (run / "takeover.jsonl").write_text(f"{EVENT}\n{line}\n{EVENT}\n")
    assert ".jsonl" in refused(run)


@pytest.mark.parametrize("line", ["{", EVENT.replace("1795000008.0", "NaN"), EVENT.replace("1795000008.0", "1e999"), "\0" * 100])  # fmt: skip
def test_a_line_that_is_not_json_is_torn_as_after_a_power_loss(run, line):
    (run / "takeover.jsonl").write_text(f"{EVENT}\n{line}\n")
    assert frames.read(run).torn == ("takeover.jsonl",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("started_at", "now"), ("started_at", None), ("started_at", -1), ("started_at", 1e18), ("unattended", None),
        ("unattended", [1]), ("unattended", "classify"), ("workers", {}), ("workers", [{"worker": "w1"}]), ("workers", [None]),
        ("run", 5), ("status", "good"), ("gateway_versions", {"1": "x"}), ("versions", []), ("arguments", "x"), ("hosts", [1]),
        ("run", "\ud800"), ("seed", 2**70), ("counts", {"ok": None}),
    ],
)  # fmt: skip
def test_a_manifest_of_other_types_is_refused(run, name, value):
    file = run / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    assert "manifest.json: " in refused(run)


@pytest.mark.parametrize(
    "text", ["", "[]", "5", "{" * 9, "[" * 100_000, '{"format": 5}', '{"format": true}', "NaN"], ids=lambda text: text[:15]
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused(run, text):
    (run / "manifest.json").write_text(text)
    refused(run)


@pytest.mark.parametrize(
    "name", ["manifest.json", "chaos.jsonl", "counters.jsonl", "gateway.yaml", "topology.yaml"]
)
def test_a_file_of_holes_is_refused_at_once(run, name):
    os.truncate(run / name, 2**40)
    assert "the most that is read" in refused(run)
