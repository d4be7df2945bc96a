"""`python -m analysis compare` and `baseline`: reads the sides, refuses runs under different conditions, writes the comparison."""

import re
from collections.abc import Sequence
from pathlib import Path

from analysis import frames, progress
from analysis.compare import baseline, export, judged, likeness, samples, summary, tolerance
from analysis.compare.comparison import Comparison, worst
from analysis.compare.estimate import Side
from analysis.evidence import Evidence
from contract.refusal import Refusal
from contract.run import write_whole

FOLDER = "compare"  # in results/


def side(text: str, on_progress: progress.OnProgress = progress.no_progress) -> Side:
    """The side for a baseline file, a run's folder, its name in results/, or `latest`. Raises Refusal."""
    path = Path(text)
    if path.is_file():
        return baseline.read(path)
    if path.suffix == ".json" and not path.exists():
        raise Refusal(f"{text}: no such baseline; make one with: python -m analysis baseline RUN > {text}")
    folder = frames.find_run(text)
    on_progress(f"reading {folder.name}", None)
    return samples.side(Evidence(frames.read(folder)))


def compare(
    names: Sequence[str],
    although: str,
    tolerances: str,
    out: Path | None,
    on_progress: progress.OnProgress = progress.no_progress,
) -> tuple[list[tuple[Comparison, Path]], int]:
    """Compare the first side with each of the others and write each comparison to its folder. Raises Refusal.

    Returns the comparisons with their folders, and the exit code.
    """
    allowed, tolerated = likeness.allowed(although), tolerance.parse(tolerances)
    first, *others = (side(n, on_progress) for n in names)
    found, refused = [], []
    for other in others:
        unlike = likeness.unlike(first.conditions, other.conditions)
        try:
            likeness.refuse(first.name, other.name, unlike, allowed)
        except Refusal as e:
            refused.append(str(e))
            continue
        found.append(Comparison(first, other, unlike, judged.judge(first, other, tolerated)))
    if refused:
        raise Refusal("\n".join(refused))
    written = []
    for one in found:
        folder = _folder(one, out, several=len(found) > 1)
        on_progress(f"writing {folder.name}", None)
        write(one, folder)
        written.append((one, folder))
    return written, worst(c.exit_code for c in found)


def write(comparison: Comparison, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise Refusal(f"{folder}: cannot create it: {e.strerror}; name another folder with --out") from None
    from analysis.compare import (
        figures,  # imported here: matplotlib takes a second, and a refusal does not need it
    )
    from analysis.figures import style

    write_whole(folder / "comparison.md", summary.markdown(comparison))
    write_whole(folder / "comparison.csv", export.as_csv(comparison))
    write_whole(folder / "comparison.json", export.as_json(comparison))
    for name in figures.FIGURES:
        style.save(figures.draw(name, comparison), folder / f"{name}.png")


def _folder(comparison: Comparison, out: Path | None, several: bool) -> Path:
    name = "--".join(re.sub(r"[^\w.-]+", "_", s.name) for s in (comparison.a, comparison.b))
    if out is None:
        return frames.RESULTS / FOLDER / name
    return out / name if several else out
