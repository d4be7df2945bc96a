"""Binds a timeline's `expect:` section to the checkers and reports every mistake before a run starts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pydantic import model_validator

from analysis.judging.finding import Finding
from contract.records import GATEWAY
from contract.refusal import Refusal, no_such
from contract.strict import Strict, validate
from contract.timeline import Timeline
from contract.topology import Topology


class Params(Strict):
    """The parameters of every expectation; a checker's `Params` derives from this."""

    id: str | None = None  # the operator's ID of the requirement; reports print it

    @model_validator(mode="before")
    @classmethod
    def _no_bool_numbers(cls, data: Any) -> Any:
        # Python accepts true as 1; `max_s: true` is a mistake.
        if isinstance(data, dict):
            for key, value in data.items():
                if isinstance(value, bool):
                    raise ValueError(f"{key}: {str(value).lower()} is not a number")
        return data

    def mentions(self) -> Iterator[tuple[str, str, str]]:
        """(where, `step` or `tier`, name) of everything that must exist in the timeline or the topology."""
        for key, kind in (("step", "step"), ("to", "tier")):
            name = getattr(self, key, None)
            if name is not None:
                yield f"{key}: ", kind, name

    def problems(self, topology: Topology) -> Iterator[str]:
        """Other mistakes with this topology, in words."""
        yield from ()


@dataclass(frozen=True, slots=True)
class Expectation:
    """One entry under `expect:`, bound to its checker."""

    name: str
    params: Any
    check: Callable[[Any, Any], Finding]


def bind(
    timeline: Timeline, topology: Topology | None, where: str, checkers: "Catalogue"
) -> list[Expectation]:
    """Every expectation with its checker. Raises Refusal with all mistakes; without a topology the tiers are not checked."""
    bound: list[Expectation] = []
    problems: list[str] = []
    for name, given in timeline.expect.items():
        place = f"{where}: expect: "
        module = checkers.get(name)
        if module is None:
            problems.append(place + no_such("expectation", name, checkers))
            continue
        try:
            params = validate(given, module.Params, f"{place}{name}")
        except Refusal as e:
            problems.append(str(e))
            continue
        problems += [f"{place}{name}: {p}" for p in _unknown_names(params, timeline, topology)]
        if topology is not None:
            problems += [f"{place}{name}: {p}" for p in params.problems(topology)]
        bound.append(Expectation(name, params, module.check))
    if problems:
        raise Refusal("\n".join(problems))
    return bound


Catalogue = dict[str, ModuleType]


def _unknown_names(params: Params, timeline: Timeline, topology: Topology | None) -> Iterator[str]:
    targets = {s.name: s.target for s in timeline.steps}
    tiers = None if topology is None else [t.name for t in topology.tiers]
    for place, kind, name in params.mentions():
        known = list(targets) if kind == "step" else tiers
        if known is not None and name not in known:
            yield place + no_such(kind, name, known)
    step, to = getattr(params, "step", None), getattr(params, "to", None)
    if step is not None and to is not None and targets.get(step) == to:
        yield f"to: {to!r} is the target of step {step!r}; name the tier that must take over"
    if step is not None and to is not None and targets.get(step) == GATEWAY:
        yield (
            f"the target of step {step!r} is the gateway, and no tier takes over from it; use failover_gap, recovery "
            "or retried instead"
        )
