"""Why a run was cut short. Pure."""

from contract.refusal import EXIT_ABORTED, EXIT_NOT_RESTORED, EXIT_PASS, EXIT_UNKNOWN, how_ended


def died(exit_code: int) -> bool:
    """Whether chaos ended otherwise than it ends a run: by a signal or by an error of its own."""
    return exit_code not in (EXIT_PASS, EXIT_ABORTED, EXIT_NOT_RESTORED, EXIT_UNKNOWN)


def why_cut_short(
    broken: str | None, stopped_early: bool, exit_code: int, end_reason: str | None
) -> str | None:
    """The first reason that applies; None: the run was not cut short.

    `broken`: why the load generator cannot continue. `stopped_early`: stopped before the end of the experiment. `exit_code`
    and `end_reason`: of the experiment; a negative exit code is the signal that killed chaos.
    """
    if broken:
        return broken
    if stopped_early:
        return "signal: stopped before the end of the timeline"
    if died(exit_code):
        return f"error: {how_ended('chaos', exit_code)}"
    if exit_code == EXIT_NOT_RESTORED:
        return end_reason or "error: a fault could not be restored"
    return end_reason if exit_code else None
