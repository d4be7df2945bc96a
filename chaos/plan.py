"""A timeline laid out as moves in order, bound to the topology's targets. Pure."""

from dataclasses import dataclass
from random import Random

from chaos import faults
from chaos.target import Handle, Target, target_of
from contract import printable
from contract.duration import text
from contract.refusal import Refusal, no_such
from contract.strict import validate
from contract.timeline import Step, Timeline
from contract.topology import Topology

LISTED = 12  # random delays that a plan lists


@dataclass(frozen=True, slots=True)
class Bound:
    """A step with the target it changes: a tier, or the gateway."""

    step: Step
    on: Target
    unprotected: bool = False

    @property
    def target(self) -> str:
        return self.step.target

    @property
    def handle(self) -> Handle:
        return self.on.handle


@dataclass(frozen=True, slots=True)
class Move:
    """One line of the plan: `at_s` seconds after the start of a round."""

    at_s: float
    move: str  # inject | restore
    bound: Bound


def bind(timeline: Timeline, topology: Topology, where: str) -> list[Bound]:
    """Every step with its target and handle. Raises Refusal with all mistakes; each line begins with `where`."""
    bound, problems = [], []
    targets = topology.targets()
    for step in timeline.steps:
        place = f"{where}: step {step.name!r}: "
        handles = targets.get(step.target)
        if step.fault not in faults.names():
            problems.append(place + no_such("fault", step.fault, faults.names()))
            continue
        if handles is None:
            problems.append(place + no_such("tier", step.target, targets))
            continue
        driver = faults.driver(step.fault)
        try:
            validate(step.with_, driver.options, f"{place}with")
        except Refusal as e:
            problems.append(str(e))
            continue
        on = target_of(topology, step.target, driver.kinds)
        if on is None:
            problems.append(
                f"{place}{step.fault} needs a {' or '.join(driver.kinds)}, and the topology lists none among "
                f"the handles of {step.target!r}; chaos touches nothing that is not listed there"
            )
            continue
        no_url = f"and the topology gives {step.target!r} no url"
        filled_in = topology.embedded is not None
        if driver.by_sending and not filled_in and topology.server(step.target).url is None:
            problems.append(f"{place}{step.fault} is verified by a request to the tier, {no_url}")
            continue
        if driver.by_http and not filled_in and on.url is None:
            problems.append(f"{place}{step.fault} sends requests to the tier, {no_url}")
            continue
        bound.append(Bound(step, on, handles.unprotected))
    if problems:
        raise Refusal("\n".join(problems))
    return bound


def moves(bound: list[Bound]) -> list[Move]:
    """One round's moves in the order of their times; at the same instant restores come first."""
    found = [Move(b.step.at, "inject", b) for b in bound]
    found += [Move(b.step.at + b.step.for_, "restore", b) for b in bound]
    return sorted(found, key=lambda m: (m.at_s, m.move != "restore"))


def rounds(timeline: Timeline, duration_s: float | None) -> int:
    """How many times the timeline is run: as often as it fits into the duration, at least once.

    Without a duration: the timeline's trials. A duration on the command line takes precedence.
    """
    if duration_s is None:
        return timeline.trials or 1
    return max(1, int(duration_s // (timeline.round_s + timeline.phase)))


def pauses(timeline: Timeline, count: int, seed: int) -> list[float]:
    """The delay in seconds before each round: random, up to the timeline's phase, the same for the same seed."""
    random = Random(seed)
    return [random.uniform(0.0, timeline.phase) for _ in range(count)]


def total_s(timeline: Timeline, later_s: list[float]) -> float:
    """The duration of all rounds, without the time that restores take."""
    return timeline.round_s * len(later_s) + sum(later_s)


def describe(timeline: Timeline, bound: list[Bound], later_s: list[float], restore_within_s: float) -> str:
    """The plan as text for an operator."""
    count = len(later_s)
    lines = [
        f"{count} round{'s' if count > 1 else ''} of {text(timeline.round_s)}: baseline {text(timeline.baseline)}, "
        f"{len(bound)} step{'s' if len(bound) > 1 else ''}, settle {text(timeline.settle)}",
    ]
    if timeline.phase:
        lines.append(
            f"  a random delay of up to {text(timeline.phase)} before each round: "
            + ", ".join(text(round(s, 1)) for s in later_s[:LISTED])
            + (", …" if count > LISTED else "")
        )
    if count > 1:
        lines.append(f"  {text(round(total_s(timeline, later_s)))} in total, plus the time for restores")
    room_s = timeline.max - (timeline.round_s - timeline.settle)
    early = f"; the run is aborted after {text(round(room_s))} (max)" if room_s < restore_within_s else ""
    lines.append(f"  a restore may take up to {text(restore_within_s)}{early}")
    for m in moves(bound):
        b = m.bound
        options = "".join(f" {k}={v}" for k, v in b.step.with_.items())
        what = f"{b.step.fault} {b.handle}{options}" if m.move == "inject" else f"restore {b.handle}"
        lines.append(f"  {text(m.at_s):>8}  {m.move:<7}  {b.step.name:<16}  {b.target:<10}  {what}")
    return "\n".join(map(printable.line, lines))
