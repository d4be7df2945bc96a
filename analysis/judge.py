"""A run's verdict: binds its timeline's `expect:` section to the checkers and evaluates them."""

from analysis import checkers
from analysis.columnar import columns
from analysis.evidence import Evidence
from analysis.judging import expectation, verdict
from analysis.judging.verdict import Verdict
from analysis.progress import OnProgress, no_progress


def judge(run: Evidence, on_progress: OnProgress = no_progress) -> Verdict:
    """The run's verdict. Raises Refusal if its timeline's `expect:` section is invalid."""
    frames, expectations = run.frames, []
    if frames.timeline is not None:
        expectations = expectation.bind(
            frames.timeline, frames.topology, str(frames.path / "timeline.yaml"), checkers.catalogue()
        )
    found = verdict.judge(run, expectations, on_progress)
    columns.release_memory()
    return found
