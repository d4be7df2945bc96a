"""Reports without most of their figures, which take four fifths of the time of a small one.

For tests that look at other parts. tests/analysis/figures draws each figure of every kind of run, and test_report.py has a
report with all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from analysis import figures


@contextmanager
def pictures(*names: str) -> Iterator[None]:
    """Limit reports to these figures."""
    every = figures.catalogue()
    few = {name: every[name] for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "catalogue", lambda: few)
        yield
