"""How each target was restored, in words: how long it took, what it waited for, and what verified it."""

from analysis.evidence import Evidence
from analysis.metrics.windows import Trial
from analysis.reporting.formatting import length

LONG_S = 60.0  # a shorter restore is only in the tables


def section(run: Evidence) -> list[str]:
    """The part of summary.md: a line for each restore that took long, or that no answer to the controller verified."""
    lines = [f"- {line(run, t)}" for t in run.trials if t.begun_at is not None and _is_worth_a_line(t)]
    return ["", *lines] if lines else []


def line(run: Evidence, trial: Trial) -> str:
    """`gaming-mode #1: vllm was back 10m12s after its restore began; it waited for: its process runs and does not answer`"""
    return f"{trial.name}: {trial.target} {'; '.join([_how(run, trial), *remarks(run, trial)])}"


def remarks(run: Evidence, trial: Trial) -> list[str]:
    """Facts about a restore besides its length."""
    found = [f"it waited for: {', '.join(trial.missing)}"] if trial.missing else []
    if trial.witness is not None:
        found.append(f"verified by {trial.witness} at {run.instant(trial.restored_at)}")
    if trial.ready_at is not None and (trial.restored_at is None or trial.witness is not None):
        found.append(
            f"{trial.ready_by} found it ready at {run.instant(trial.ready_at)}, without an answer: {trial.unanswered}"
        )
    if trial.refused is not None and trial.restored_at is None:
        found.append(f"the controller reports: {trial.refused}")
    return found


def took_s(trial: Trial) -> float | None:
    """Seconds from the begin of the restore to its verification; None: not verified, or the begin was not recorded."""
    begun_at = trial.restore_begun_at if trial.restore_begun_at is not None else trial.restore_commanded_at
    return None if trial.restored_at is None or begun_at is None else trial.restored_at - begun_at


def _is_worth_a_line(trial: Trial) -> bool:
    took = took_s(trial)
    return bool(trial.missing) or trial.ready_at is not None or took is None or took >= LONG_S


def _how(run: Evidence, trial: Trial) -> str:
    took = took_s(trial)
    if trial.restored_at is None:
        began_at = trial.restore_begun_at
        return "is not verified to be back" + (
            "" if began_at is None else f", its restore began at {run.instant(began_at)}"
        )
    if took is None:
        return f"was verified to be back at {run.instant(trial.restored_at)}"
    return f"was back {length(took)} after its restore began"
