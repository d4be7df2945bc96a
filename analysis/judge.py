"""A run's verdict: its timeline's `expect:` half, bound to the checkers, over its evidence."""

from analysis import checkers
from analysis.columnar import columns
from analysis.evidence import Evidence
from analysis.judging import expectation, verdict
from analysis.judging.verdict import Verdict
from analysis.progress import Told, silent


def judge(run: Evidence, told: Told = silent) -> Verdict:
    """The run's verdict. Raises Refusal where its timeline's `expect:` half is wrong."""
    frames, expectations = run.frames, []
    if frames.timeline is not None:
        expectations = expectation.bind(
            frames.timeline, frames.topology, str(frames.path / "timeline.yaml"), checkers.catalogue()
        )
    found = verdict.judge(run, expectations, told)
    columns.give_back()
    return found
