"""The current state that a plan shows for every step. It reads, and writes nothing.

For each step: the state now and after the fault, rights held or missing, other controllers of the target, and what restores
after every chaos process was killed. Then: what the gateway and each tier answer, and whether their units would start again.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from chaos import faults, preflight
from chaos.catalogue import deadman_of
from chaos.errors import CannotInject
from chaos.fault import Fault
from chaos.host import unit_needs
from chaos.kube.cluster import API_ERRORS
from chaos.plan import Bound
from chaos.preflight import Ground
from chaos.probe import serving
from chaos.retry import error_text
from chaos.step import EFFECTIVE_WITHIN_S, TAKES_MOST_S
from chaos.target import Handle, handle_of
from contract import health, printable
from contract.duration import text
from contract.records import GATEWAY
from contract.refusal import Refusal
from contract.topology import Topology


def look(bound: list[Bound], ground: Ground, now: Callable[[], float], deadline: float) -> str:
    """A paragraph for each step. `deadline`: when the last restore must have ended, by the clock of `now`."""
    return "\n".join(printable.line(line) for b in bound for line in _step(b, ground, now, deadline))


def serving_now(topology: Topology) -> str:
    """What the gateway and each tier answer, and the state of their units."""
    lines = [*serving.report(serving.look(topology)), *_health(topology)]
    urls = {t.name: t.url for t in topology.tiers} | {GATEWAY: topology.gateway.url}
    for name, handles in topology.targets().items():
        handle = handle_of(handles, topology.place(name), ("unit",))
        if handle is not None:
            lines += [f"  {name}: NOT WELL: {problem}" for problem in _of_unit(handle, urls[name])]
    return "\n".join(map(printable.line, lines))


def _health(topology: Topology) -> Iterator[str]:
    """A line for each health url, a cloud's too: a run requests each of them once a second."""
    for url in health.urls_of(topology):
        try:
            wrong = health.wrong(url, health.check(url, url.headers()))
        except Refusal as e:  # the key is not in the environment
            wrong = str(e)
        yield f"  {url.name}: NOT WELL: {wrong}" if wrong else f"  {url.name}: health url answers"


def _of_unit(handle: Handle, url: str | None) -> list[str]:
    try:
        return unit_needs.missing(handle) + (unit_needs.elsewhere(handle, url) if url else [])
    except OSError as e:
        return [f"cannot check what {handle} needs: {e}"]


def deadmen(bound: list[Bound]) -> str:
    """The dead-man of each step: all that is known while the stack is not running."""
    return "\n".join(f"  {b.step.name}: dead-man: {deadman_of(b.step.fault)}" for b in bound)


def _step(b: Bound, ground: Ground, now: Callable[[], float], deadline: float) -> list[str]:
    fault = faults.make(b.step.fault, ground.cluster, b.on, b.step.with_)
    return [
        f"  {b.step.name}: {b.step.fault} on {b.handle}",
        *_current(fault, b.step.for_),
        *(f"    rights:            {line}" for line in _rights(fault, b, ground)),
        *(f"    record:            {line}" for line in _record(b, ground)),
        *(f"    other controllers: {line}" for line in _others(fault)),
        f"    dead-man:          {fault.deadman}",
        *(f"    REFUSED:           {line}" for line in _against(fault, b, ground, now, deadline)),
    ]


def _current(fault: Fault, for_s: float) -> list[str]:
    try:
        state = fault.snapshot()
        remarks = fault.remarks(state)
    except CannotInject as e:
        return [f"    current state:     cannot be injected: {e}"]
    except (OSError, *API_ERRORS) as e:
        return [f"    current state:     unknown: {error_text(e)}"]
    now = f"{_short(state.get('original'))}; the fault sets {_short(state.get('set'))}"
    notes = [*remarks, *_slowness(fault.takes_s(state), for_s)]
    return [f"    current state:     {now}", *(f"    note:              {line}" for line in notes)]


def _slowness(takes_s: float, for_s: float) -> list[str]:
    if not takes_s:
        return []
    late = (
        f": the fault may not be effective before its step ends, after {text(for_s)}"
        if takes_s >= for_s
        else ""
    )
    most_s = EFFECTIVE_WITHIN_S + TAKES_MOST_S
    more = f" (the deadline allows {text(most_s)})" if takes_s > most_s else ""
    return [f"its Pods may take up to {text(takes_s)} to terminate{more}{late}"]


def _rights(fault: Fault, b: Bound, ground: Ground) -> list[str]:
    if not b.handle.on_cluster or ground.cluster is None:
        return ["no cluster rights needed"]
    try:
        missing = preflight.refused(fault, b.handle, ground.cluster)
    except API_ERRORS as e:
        return [f"unknown: {error_text(e)}"]
    return [f"MISSING: {right}" for right in missing] or ["all granted"]


def _record(b: Bound, ground: Ground) -> list[str]:
    if not b.handle.on_cluster or ground.cluster is None:
        return []
    try:
        missing = preflight.keys_of(b.handle, ground.cluster).missing
    except API_ERRORS as e:
        return [f"unknown whether it is authenticated: {error_text(e)}"]
    return [f"not authenticated: {missing}"] if missing else ["signed"]


def _others(fault: Fault) -> list[str]:
    try:
        return fault.others() or ["none found (a manual change to the same value cannot be detected)"]
    except (CannotInject, OSError, *API_ERRORS) as e:
        return [f"unknown: {error_text(e)}"]


def _against(fault: Fault, b: Bound, ground: Ground, now: Callable[[], float], deadline: float) -> list[str]:
    """Why a run would refuse it."""
    try:
        return preflight.objections(fault, b.handle, b.unprotected, ground, deadline, now())
    except API_ERRORS as e:
        return [f"unknown whether anything would restore: {error_text(e)}"]


def _short(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else json.dumps(value)
