"""The other figures: what each is called, and what its title says of this run. They lie beside the page and are not in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import figures
from analysis.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Picture:
    name: str
    says: str
    shows: str  # what it is a picture of


def pictures(run: Evidence) -> Sequence[Picture]:
    return [
        Picture(name, _says(module, run), (module.__doc__ or "").strip().partition("\n")[0])
        for name, module in figures.catalogue().items()
    ]


def _says(module: object, run: Evidence) -> str:
    says = getattr(module, "says", None)
    try:
        return str(says(run)) if says else ""
    except Exception as e:  # a title must not cost the page
        return f"its title could not be made: {type(e).__name__}: {e}"
