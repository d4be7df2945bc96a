"""The live status line of a run: elapsed time, state of the tiers, answers per tier, errors, probe. Pure."""

from collections.abc import Mapping

from contract import printable
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
    """`status`: the latest of chaos, None: there is none; the two snapshots are `seconds` apart; `width`: of the terminal, None: a log;
    `restoring`: text of `Restoring.describe`.

    Words that the report also uses are counted as in the report: times since the run's start (`started_at`); `scheduled`,
    `dropped` and `in flight` of all requests but the probe's; `users` (lane load, through the gateway) by outcome, and good
    answers by tier. Other requests (directly to a tier, and overhead pairs) are listed separately.
    """
    parts = []
    if status is not None and status.total_s:
        elapsed = status.at - started_at
        total = elapsed - status.elapsed_s + status.total_s
        bar = "" if width is None else f"{_bar(elapsed / total)} "
        parts.append(f"{bar}{_minutes(elapsed)}/{_minutes(total)}")
    parts.append(" ".join(f"{tier} {_state(up)}" for tier, up in (status.up if status else {}).items()))
    parts.append(restoring)
    parts.append(f"{_rates(now, before, seconds)}, {now.in_flight} in flight")
    served = " ".join(f"{tier} {count}" for tier, count in sorted(now.served.items()))
    parts.append(f"users: {', '.join(filter(None, [served, _failed(now.users) or 'no errors']))}")
    others = _failed(now.others)
    parts.append(f"direct and overhead: {others}" if others else "")
    parts.append(_probe(status.probe if status else None))
    line = printable.line(" │ ".join(p for p in parts if p))
    return line if width is None else line[: max(1, width - 1)]


class Restoring:
    """Slow restores, as chaos reports them: from the first event of stage `waiting` to the end of the move."""

    def __init__(self) -> None:
        self._waiting: dict[
            tuple[str, str], tuple[float, str]
        ] = {}  # (step, target) → since when, what is missing

    def update(self, event: FaultEvent) -> None:
        """Process one event of chaos."""
        key = event.step, event.target
        if _is_waiting_restore(event):
            detail = event.detail or {}
            self._waiting[key] = (
                event.at - (detail.get("waited_s") or 0.0),
                str(detail.get("missing") or ""),
            )
        elif event.stage in ("effective", "fail") or event.move != "restore":
            self._waiting.pop(key, None)

    def describe(self, now: float) -> str:
        """`vllm: restoring, 4m: its process runs, does not answer`; empty if no restore is slow."""
        return ", ".join(
            _restoring(target, now - since, why) for (_, target), (since, why) in self._waiting.items()
        )


def _is_waiting_restore(event: FaultEvent) -> bool:
    return event.move == "restore" and event.stage == "waiting"


def _restoring(target: str, waited_s: float, missing: str) -> str:
    """In whole minutes once there is one."""
    whole = int(waited_s) // 60 * 60 or int(waited_s)
    return f"{target}: restoring, {text(max(1, whole))}" + (f": {missing}" if missing else "")


def _probe(found: ProbeWait | None) -> str:
    """Time from an inject to the probe's next answer. The report has no such number, so this uses none of its terms."""
    if found is None:
        return ""
    by = "" if found.of_gateway else " by another tier"
    if found.answered:
        return f"probe answered{by} {found.s:.2f} s after inject {found.target}"
    return f"probe not answered{by} for {found.s:.1f} s since inject {found.target}"


def move_line(event: FaultEvent, started_at: float) -> str | None:
    """One stage of a move as chaos reported it: `01:23 gaming-mode: inject vllm: effective`, with the time since the run's start; None: stage begin."""
    if event.stage == "begin" and not event.error:
        return None
    detail = event.detail or {}
    if _is_waiting_restore(event) and not event.error:
        waited = _restoring(event.target, detail.get("waited_s") or 0.0, str(detail.get("missing") or ""))
        return printable.line(f"{_minutes(event.at - started_at)} {event.step}: {waited}")
    note = event.note
    if event.move == "restore" and detail.get("answered") == "unknown":
        note = f"not verified by an answer: {detail.get('unanswered') or 'no request was sent'}"
    stage = f"{event.stage} ({note})" if note else event.stage
    what = f"{event.step}: {event.move} {event.target}: {event.error or stage}"
    return printable.line(f"{_minutes(event.at - started_at)} {what}")


def _rates(now: Snapshot, before: Snapshot, seconds: float) -> str:
    """Sent requests per second, and scheduled ones if the two differ; dropped requests of the whole run."""
    seconds = seconds or 1.0
    scheduled, sent = (
        f"{(now.scheduled - before.scheduled) / seconds:.1f}",
        f"{(now.sent - before.sent) / seconds:.1f}",
    )
    rate = f"{sent} requests/s" if scheduled == sent else f"{scheduled} scheduled, {sent} requests/s"
    return f"{rate}, {now.dropped} dropped" if now.dropped else rate


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
