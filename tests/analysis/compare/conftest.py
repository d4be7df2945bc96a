"""A run that several comparisons look at is worked out once, and only a test that looks at pictures has them drawn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis import progress
from analysis.compare import command, figures
from analysis.compare.estimate import Side
from analysis.figures import style


@pytest.fixture(scope="module", autouse=True)
def each_run_is_worked_out_once() -> Iterator[None]:
    known: dict[str, Side] = {}
    work_out = command.side

    def side(text: str, tell: progress.Told = progress.silent) -> Side:
        if not Path(text).is_dir():
            return work_out(text, tell)
        if text not in known:
            known[text] = work_out(text, tell)
        return known[text]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "side", side)
        yield


@pytest.fixture
def with_pictures() -> None:
    """What a test asks for that looks at them."""


@pytest.fixture(autouse=True)
def pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", 50)  # fewer pixels; a picture's layout is in inches
    if "with_pictures" not in request.fixturenames:
        monkeypatch.setattr(figures, "FIGURES", {})
