"""The page of definitions has the docstrings of the functions."""

import inspect
from pathlib import Path

import pytest

from analysis import definitions
from analysis.__main__ import main
from analysis.metrics import availability, chunks, cuts, latency, outages, overhead, quantiles, rates, shares
from analysis.reporting import tables

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
HELPERS = {"for_within", "quantile",
    "as_length", "first_answer", "first_in_a_row", "first_token_ms", "latency_for_tokens_ms",
    "of_users", "tokens_over_time", "union", "until_first_ms", "users_requests", "was_in_use", "within", "clocks_s",
}  # fmt: skip


def test_the_page_of_definitions_is_what_the_command_prints(capsys):
    assert main(["definitions"]) == 0
    assert capsys.readouterr().out == PAGE.read_text(), (
        "run: python -m analysis definitions > docs/metrics.md"
    )


@pytest.mark.parametrize(
    "module",
    [availability, chunks, cuts, latency, quantiles, rates, shares, outages, overhead],
    ids=lambda m: m.__name__,
)
def test_every_metric_is_on_the_page(module):
    here = {n for n, f in inspect.getmembers(module, inspect.isfunction) if f.__module__ == module.__name__}
    listed = {f.__name__ for functions in definitions.METRICS.values() for f in functions}
    assert {n for n in here if not n.startswith("_")} - listed <= HELPERS


@pytest.mark.parametrize("table", [tables.summary, tables.failovers, tables.phases], ids=lambda t: t.__name__)
def test_every_table_says_what_its_rows_are(table):
    assert "one row" in (table.__doc__ or "") or "in each phase" in (table.__doc__ or "")
