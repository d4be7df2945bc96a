"""Exports for other tools: the same numbers, and the same missing values."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from analysis import export, frames
from analysis.__main__ import main
from analysis.columnar.columns import OF_A_DOCUMENT
from contract import samplers
from contract.records import Lane
from contract.schemas import REQUESTS
from tests.synthetic import make
from tests.synthetic_documents import classify
from tests.synthetic_world import Hole

TABLES = {
    "requests", "classified", "covered", "warmup", *samplers.names(), "events", "clocks", "counters", "ledger",
}  # fmt: skip
OF_EVERY = [n for n in REQUESTS.names if n not in OF_A_DOCUMENT]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with a fault and documents, whose engine kept a ledger and whose counters were read."""
    hole = Hole("s", "vllm", 5, 5, hole_s=1)
    of_documents = classify([hole], {"vllm": 0.9, "ollama": 0.8}, 10, invalid={"ollama": 0.1}, duration_s=20)
    found = make(tmp_path_factory.mktemp("export"), [hole], duration_s=20, extra=of_documents)
    (found.path / "ledger").mkdir()
    line = {
        "line": "arrived",
        "id": "1",
        "nonce": found.requests[0].request_id,
        "arrived_at": 1_795_000_000.0625,
    }
    (found.path / "ledger" / "vllm.jsonl").write_text(json.dumps(line) + "\n")
    scrape = {"at": 1.5, "when": "before", "source": "gateway", "url": "http://x",
              "counters": [{"name": "n", "labels": {}, "value": 1.0}], "error": None}  # fmt: skip
    (found.path / "counters.jsonl").write_text(json.dumps(scrape) + "\n")
    return found


@pytest.fixture(scope="module")
def exported(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    slices, export.ROWS = export.ROWS, 37  # several slices
    try:
        assert main(["export", str(made.path), "--csv", "--parquet", "--out", str(out)]) == 0
    finally:
        export.ROWS = slices
    return out


def test_every_table_is_there_in_both_forms_and_nothing_else(exported):
    assert {p.name for p in exported.iterdir()} == {
        f"{t}.{form}" for t in TABLES for form in ("csv", "parquet")
    }


def test_every_table_and_every_derived_column_is_explained(exported):
    text = (Path(__file__).parents[2] / "results" / "README.md").read_text()
    text = text[text.index("## For other tools") :].partition("\n## ")[0]
    derived = set(parquet.read_schema(exported / "requests.parquet").names) - set(REQUESTS.names)
    assert not [name for name in TABLES | derived if f"`{name}`" not in text]


def test_csv_into_the_report_is_the_default(made, capsys):
    assert main(["export", str(made.path)]) == 0
    printed = capsys.readouterr().out.split()
    assert f"{made.path}/report/requests.csv" in printed
    assert not list((made.path / "report").glob("*.parquet"))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_was_recorded_is_found_again_exactly(made, exported, form):
    by_id = {a.request_id: a for a in made.requests}
    requests = read(exported, "requests", form)
    assert len(requests) == len(made.requests)
    for row in requests:
        record = by_id[row["request_id"]]
        assert {n: row[n] for n in OF_EVERY if n != "gaps_ms"} == {
            n: getattr(record, n) for n in OF_EVERY if n != "gaps_ms"
        }
        assert row["gaps_ms"] == pa.array(record.gaps_ms, pa.float32()).to_pylist()


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_was_recorded_of_documents_is_found_again_exactly(made, exported, form):
    by_id = {a.request_id: a for a in made.requests if a.document is not None}
    classified = read(exported, "classified", form)
    assert {row["request_id"] for row in classified} == set(by_id)
    assert {None, (), ("correspondent",)} <= {
        None if a.wrong is None else tuple(a.wrong) for a in by_id.values()
    }
    for row in classified:
        record = by_id[row["request_id"]]
        names = [n for n in REQUESTS.names if n in row]
        assert set(OF_A_DOCUMENT) <= set(names)
        assert {n: row[n] for n in names} == {n: getattr(record, n) for n in names}


def test_parquet_has_the_recorded_types_and_is_compressed(exported):
    sampled = {name: sampler.schema for name, sampler in samplers.every().items()}
    for name, recorded in {"requests": REQUESTS, "covered": REQUESTS, **sampled}.items():
        schema = parquet.read_schema(exported / f"{name}.parquet")
        names = OF_EVERY if recorded is REQUESTS else recorded.names
        assert {n: schema.field(n).type for n in names} == {n: recorded.field(n).type for n in names}
    schema = parquet.read_schema(exported / "classified.parquet")
    assert {n: schema.field(n).type for n in OF_A_DOCUMENT} == {
        n: REQUESTS.field(n).type for n in OF_A_DOCUMENT
    }
    requests = parquet.ParquetFile(exported / "requests.parquet")
    assert requests.metadata.row_group(0).column(0).compression == "ZSTD"
    assert requests.metadata.num_row_groups > 1
    derived = {"good": pa.bool_(), "touched": pa.bool_(), "file": pa.string()}
    derived |= dict.fromkeys(("first_at", "headers_at", "ended_at", "clock_uncertainty_s"), pa.float64())
    assert {n: requests.schema_arrow.field(n).type for n in derived} == derived


def test_the_derived_columns_are_those_of_the_analysis(made, exported):
    ours, theirs = frames.read(made.path).requests, pd.read_parquet(exported / "requests.parquet")
    for name in ("good", "touched", "first_at", "ended_at"):
        assert theirs[name].astype("float64").equals(ours[name].astype("float64"))


def test_an_empty_table_keeps_its_columns(exported):
    assert set(OF_EVERY) <= set(parquet.read_schema(exported / "covered.parquet").names)
    assert parquet.read_metadata(exported / "covered.parquet").num_rows == 0
    assert set(OF_EVERY) <= set(pd.read_csv(exported / "covered.csv").columns)


def test_the_other_tables_are_there_too(exported):
    events = pd.read_csv(exported / "events.csv")
    assert events[["move", "stage"]].to_numpy().tolist()[1] == ["inject", "commanded"]
    assert pd.read_parquet(exported / "ledger.parquet")[["tier", "arrived_at"]].to_numpy().tolist() == [
        ["vllm", 1_795_000_000.0625]
    ]
    assert json.loads(pd.read_parquet(exported / "counters.parquet")["counters"][0])[0]["value"] == 1.0
    assert pd.read_parquet(exported / "clocks.parquet")["worker"].tolist() == ["w1"]
    assert (pd.read_csv(exported / "requests.csv")["lane"] == Lane.LOAD).any()


def test_lists_as_json_keep_what_is_empty_and_what_is_nothing():
    chunk = pa.array([[9.0], [0.1, 20.0, 1e-7], [], None, [3.5]], pa.list_(pa.float32()))
    listed = export.list_as_json(pa.chunked_array([chunk[1:], chunk[:1]])).to_pylist()
    assert listed[1:] == ["[]", None, "[3.5]", "[9]"]
    assert json.loads(listed[0]) == [0.1, 20, 1e-7]
    texts = pa.chunked_array([pa.array([["language", 'a "b"'], [], None], pa.list_(pa.string()))])
    assert export.list_as_json(texts).to_pylist() == ['["language","a \\"b\\""]', "[]", None]


def test_a_run_without_requests_is_exported(tmp_path):
    made = make(tmp_path, rate=0, probe_rate=0, pairs=0, duration_s=5)
    assert main(["export", str(made.path), "--parquet"]) == 0
    assert parquet.read_metadata(made.path / "report" / "requests.parquet").num_rows == 0


def read(folder, name, form):
    if form == "parquet":
        return parquet.read_table(folder / f"{name}.parquet").to_pylist()
    rows = pd.read_csv(folder / f"{name}.csv", keep_default_na=False, dtype=str).to_dict("records")
    return [{k: as_recorded(k, v) for k, v in row.items()} for row in rows]


def as_recorded(name, text):
    """A cell of CSV by its column's type."""
    if name not in REQUESTS.names or text == "":
        return text or None
    kind = REQUESTS.field(name).type
    if pa.types.is_list(kind):
        return pa.array(json.loads(text), kind.value_type).to_pylist()
    if pa.types.is_boolean(kind):
        return {"true": True, "false": False}[text]
    return text if pa.types.is_string(kind) else int(text) if pa.types.is_integer(kind) else float(text)
