"""The one live line of a run: where it stands, which tiers are up, who served, what went wrong, how long it took. Pure."""

from collections.abc import Mapping

from contract.duration import text
from contract.messages import FaultEvent, ProbeWait, Status
from scenarios.gateway.tally import Snapshot

_BAR = 20  # characters


def live_line(
    status: Status | None,
    now: Snapshot,
    before: Snapshot,
    seconds: float,
    width: int | None,
    started_at: float,
    restoring: str = "",
) -> str:
    """`status`: the latest of chaos, None where there is none; the two snapshots are `seconds` apart; `width`: of the terminal, None: a log;
    `restoring`: what `Restoring` says.

    What bears a word of the report is counted as the report counts it: times since the run's start (`started_at`), `scheduled`,
    `dropped` and `in flight` of all requests but the probe's, `users` (lane load, through the gateway) by outcome and by
    who answered them well. What was asked otherwise (straight to a tier, pairs for the overhead) stands apart.
    """
    parts = []
    if status is not None and status.total_s:
        elapsed = status.at - started_at
        total = elapsed - status.elapsed_s + status.total_s
        bar = "" if width is None else f"{_bar(elapsed / total)} "
        parts.append(f"{bar}{_minutes(elapsed)}/{_minutes(total)}")
    parts.append(" ".join(f"{tier} {_state(up)}" for tier, up in (status.up if status else {}).items()))
    parts.append(restoring)
    parts.append(f"{_asked(now, before, seconds)}, {now.in_flight} in flight")
    served = " ".join(f"{tier} {count}" for tier, count in sorted(now.served.items()))
    parts.append(f"users: {', '.join(filter(None, [served, _failed(now.users) or 'no errors']))}")
    others = _failed(now.others)
    parts.append(f"direct and overhead: {others}" if others else "")
    parts.append(_probe(status.probe if status else None))
    line = " │ ".join(p for p in parts if p)
    return line if width is None else line[: max(1, width - 1)]


class Restoring:
    """The restores that take long, as chaos reports them: from the first event of stage `waiting` to what ends the move."""

    def __init__(self) -> None:
        self._waiting: dict[
            tuple[str, str], tuple[float, str]
        ] = {}  # (step, target) → since when, what is missing

    def heard(self, said: FaultEvent) -> None:
        """One event of chaos."""
        key = said.step, said.target
        if _is_waiting_restore(said):
            detail = said.detail or {}
            self._waiting[key] = (
                said.at - (detail.get("waited_s") or 0.0),
                str(detail.get("missing") or ""),
            )
        elif said.stage in ("effective", "fail") or said.move != "restore":
            self._waiting.pop(key, None)

    def told(self, now: float) -> str:
        """`vllm: restoring, 4m: its process runs, does not answer`; nothing where no restore takes long."""
        return ", ".join(
            _restoring(target, now - since, why) for (_, target), (since, why) in self._waiting.items()
        )


def _is_waiting_restore(said: FaultEvent) -> bool:
    return said.move == "restore" and said.stage == "waiting"


def _restoring(target: str, waited_s: float, missing: str) -> str:
    """In whole minutes, from the first on: a live line is not read to the second."""
    whole = int(waited_s) // 60 * 60 or int(waited_s)
    return f"{target}: restoring, {text(max(1, whole))}" + (f": {missing}" if missing else "")


def _probe(found: ProbeWait | None) -> str:
    """How long after an inject the probe had an answer again; no number of the report, so none of its words."""
    if found is None:
        return ""
    by = "" if found.of_gateway else " by another tier"
    if found.answered:
        return f"probe answered{by} {found.s:.2f} s after inject {found.target}"
    return f"probe not answered{by} for {found.s:.1f} s since inject {found.target}"


def move_line(said: FaultEvent, started_at: float) -> str | None:
    """One stage of a move as chaos told it: `01:23 gaming-mode: inject vllm: effective`, at its time since the run's start; None: only its begin."""
    if said.stage == "begin" and not said.error:
        return None
    detail = said.detail or {}
    if _is_waiting_restore(said) and not said.error:
        waited = _restoring(said.target, detail.get("waited_s") or 0.0, str(detail.get("missing") or ""))
        return f"{_minutes(said.at - started_at)} {said.step}: {waited}"
    note = said.note
    if said.move == "restore" and detail.get("answered") == "unknown":
        note = f"not verified by an answer: {detail.get('unanswered') or 'no request was sent'}"
    stage = f"{said.stage} ({note})" if note else said.stage
    what = f"{said.step}: {said.move} {said.target}: {said.error or stage}"
    return f"{_minutes(said.at - started_at)} {what}"


def _asked(now: Snapshot, before: Snapshot, seconds: float) -> str:
    """What was delivered of what was wanted, where the two differ; the cap's refusals are of the whole run."""
    seconds = seconds or 1.0
    scheduled, sent = (
        f"{(now.scheduled - before.scheduled) / seconds:.1f}",
        f"{(now.sent - before.sent) / seconds:.1f}",
    )
    said = f"{sent} requests/s" if scheduled == sent else f"{scheduled} wanted, {sent} requests/s"
    return f"{said}, {now.dropped} capped" if now.dropped else said


def _failed(by_outcome: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {outcome}" for outcome, n in sorted(by_outcome.items()) if outcome != "ok" and n)


def _bar(share: float) -> str:
    full = round(_BAR * min(1.0, max(0.0, share)))
    return "█" * full + "░" * (_BAR - full)


def _minutes(seconds: float) -> str:
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60:02d}:{rest % 60:02d}"


def _state(up: bool | None) -> str:
    return {True: "up", False: "DOWN", None: "?"}[up]
