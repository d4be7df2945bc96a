"""The one live line of a run: where it stands, which tiers are up, who served, what went wrong, how long it took. Pure."""

from collections.abc import Mapping
from typing import Any

from scenarios.gateway.tally import Snapshot

_BAR = 20  # characters


def live_line(
    status: Mapping[str, Any], now: Snapshot, before: Snapshot, seconds: float, width: int | None
) -> str:
    """`status` as chaos last told it, empty where there is none; the two snapshots are `seconds` apart; `width`: of the terminal, None: a log."""
    elapsed, total = status.get("elapsed_s", 0.0), status.get("total_s", 0.0)
    parts = [f"{_minutes(elapsed)}/{_minutes(total)}"] if total else []
    if total and width is not None:
        parts[0] = f"{_bar(elapsed / total)} {parts[0]}"
    parts.append(" ".join(f"{tier} {_state(up)}" for tier, up in status.get("up", {}).items()))
    parts.append(f"{_asked(now, before, seconds)}, {now.in_flight} waiting")
    parts.append(" ".join(f"{tier} {count}" for tier, count in sorted(now.by_tier.items())))
    parts.append(_trouble(now.by_outcome))
    if status.get("waiting_s") is not None:
        parts.append(f"no failover for {status['waiting_s']:.1f} s")
    elif status.get("failover_s") is not None:
        parts.append(f"failover {status['failover_s']:.2f} s")
    line = " │ ".join(p for p in parts if p)
    return line if width is None else line[: max(1, width - 1)]


def move_line(said: Mapping[str, Any], status: Mapping[str, Any]) -> str | None:
    """One stage of a move as chaos told it: `01:23 gaming-mode: inject vllm: effective`; None: only its begin."""
    if said["stage"] == "begin" and not said["error"]:
        return None
    stage = f"{said['stage']} ({said['note']})" if said.get("note") else said["stage"]
    what = f"{said['step']}: {said['move']} {said['target']}: {said['error'] or stage}"
    return f"{_minutes(status['elapsed_s'])} {what}" if "elapsed_s" in status else what


def _asked(now: Snapshot, before: Snapshot, seconds: float) -> str:
    """What was delivered of what was wanted, where the two differ; the cap's refusals are of the whole run."""
    seconds = seconds or 1.0
    wanted, sent = (
        f"{(now.wanted - before.wanted) / seconds:.1f}",
        f"{(now.asked - before.asked) / seconds:.1f}",
    )
    said = f"{sent} asks/s" if wanted == sent else f"{wanted} wanted, {sent} asks/s"
    return f"{said}, {now.capped} capped" if now.capped else said


def _trouble(by_outcome: Mapping[str, int]) -> str:
    bad = [f"{count} {outcome}" for outcome, count in sorted(by_outcome.items()) if outcome != "ok" and count]
    return ", ".join(bad) or "no errors"


def _bar(share: float) -> str:
    full = round(_BAR * min(1.0, max(0.0, share)))
    return "█" * full + "░" * (_BAR - full)


def _minutes(seconds: float) -> str:
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60:02d}:{rest % 60:02d}"


def _state(up: bool | None) -> str:
    return {True: "up", False: "DOWN", None: "?"}[up]
