"""Each run is read once for all tests, and figures are drawn only for tests that check them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis import progress
from analysis.compare import command, figures
from analysis.compare.estimate import Side
from analysis.figures import style


@pytest.fixture(scope="module", autouse=True)
def each_run_is_read_once() -> Iterator[None]:
    known: dict[str, Side] = {}
    read_side = command.side

    def side(text: str, on_progress: progress.OnProgress = progress.no_progress) -> Side:
        if not Path(text).is_dir():
            return read_side(text, on_progress)
        if text not in known:
            known[text] = read_side(text, on_progress)
        return known[text]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "side", side)
        yield


@pytest.fixture
def with_pictures() -> None:
    """Requested by tests that check the figures."""


@pytest.fixture(autouse=True)
def pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", 50)  # fewer pixels; the layout is in inches
    if "with_pictures" not in request.fixturenames:
        monkeypatch.setattr(figures, "FIGURES", {})
