"""A text of a CSV file is no formula in a spreadsheet, and is read back as it was."""

import csv
import io

import pandas as pd
import pyarrow as pa
import pytest

from analysis import export
from analysis.reporting.csv_text import as_csv
from contract.spreadsheet import Cells, cell, line_cell, read

FORMULAS = [
    "=1+1",
    '=HYPERLINK("http://a","b")',
    "+cmd|' /C calc'!A0",
    "-2+3+cmd",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\x00=1",
    "＝1+1",
    "'=1",
]
TEXTS = ["a", "", "a=1", "2024-03-12", "[1,2]", "–", "gateway → vllm"]
NUMBERS = ["-1", "+1.5", "-1e-7", "12", "-0.25"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_marked_and_read_back(text):
    assert cell(text) == f"'{text}"
    assert read(cell(text)) == text


@pytest.mark.parametrize("value", [*TEXTS, *NUMBERS, -1, -0.5, None, True])
def test_anything_else_is_left_as_it_is(value):
    assert cell(value) is value


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_a_table_of_a_report_is_marked_in_its_texts_only():
    every = [*FORMULAS, *TEXTS, None]
    table = pd.DataFrame(
        {"text": every, "kind": pd.Categorical(every), "n": range(-3, len(every) - 3), "=head": 1}
    )
    head, *rows = _rows(as_csv(table))
    assert head == ["text", "kind", "n", "'=head"]
    assert [row[0] for row in rows] == [row[1] for row in rows] == [*map(line_cell, every[:-1]), ""]
    assert rows[0][2] == "-3"


def test_an_export_is_marked_as_each_cell_would_be(tmp_path):
    every = [*FORMULAS, *TEXTS, *NUMBERS, None]
    schema = pa.schema([("text", pa.string()), ("n", pa.int64()), ("=head", pa.string())])
    path = tmp_path / "a.csv"
    with export._Csv(path, schema) as write:
        write(pa.table([every, [-1] * len(every), ["=x"] * len(every)], schema=schema))
    head, *rows = _rows(path.read_bytes().decode())
    assert head[2] == "'=head"
    assert [row[0] for row in rows] == [cell(text) or "" for text in every]
    assert {tuple(row[1:]) for row in rows} == {("-1", "'=x")}


def test_a_text_is_one_row_and_has_no_control():
    assert line_cell("\r=1\n\x1b[2K") == "' =1 [2K"
    assert line_cell(-1) == -1


def test_rows_of_another_librarys_writer_are_marked():
    out = io.StringIO()
    rows = Cells(csv.writer(out))
    rows.writerow(["=1", -1])
    rows.writerows([["a\rb", "@b"]])
    assert _rows(out.getvalue()) == [["'=1", "-1"], ["a b", "'@b"]]
