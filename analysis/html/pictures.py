"""The other figures: the name of each, and its title for this run. They are files beside the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import figures
from analysis.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Picture:
    name: str
    title: str
    shows: str  # the subject of the figure


def pictures(run: Evidence) -> Sequence[Picture]:
    return [
        Picture(name, _title(module, run), (module.__doc__ or "").strip().partition("\n")[0])
        for name, module in figures.catalogue().items()
    ]


def _title(module: object, run: Evidence) -> str:
    title = getattr(module, "title", None)
    try:
        return str(title(run)) if title else ""
    except Exception as e:  # a title must not cost the page
        return f"its title could not be made: {type(e).__name__}: {e}"
