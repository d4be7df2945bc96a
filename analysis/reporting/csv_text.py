"""A table as CSV."""

import pandas as pd

from contract.spreadsheet import line_cell


def as_csv(table: pd.DataFrame) -> str:
    """The table without its index; a text is never a formula (see `contract.spreadsheet`)."""
    texts = {
        name: table[name].astype(object).map(line_cell, na_action="ignore")
        for name in table.columns
        if not (pd.api.types.is_numeric_dtype(table[name]) or pd.api.types.is_bool_dtype(table[name]))
    }
    made: str = table.assign(**texts).rename(columns=line_cell).to_csv(index=False)
    return made
