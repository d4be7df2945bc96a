"""The inputs of a run, from its options and files. Each start reads them again."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract import duration, printable, timeline
from contract.refusal import Refusal, no_such
from scenarios.gateway.arrivals import Arrivals, open_or_closed, parse

if TYPE_CHECKING:
    from scenarios.gateway.load_shape import LoadShape
    from scenarios.gateway.user import GatewayUser

Scenarios = Mapping[str, type["GatewayUser"]]
"""Scenario → user class."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All inputs of a run except its stack."""

    timeline_path: Path
    timeline: timeline.Timeline
    opened: Sequence[type["GatewayUser"]]  # the open loop sends their requests; empty in a closed loop
    closed: Sequence[type["GatewayUser"]]
    arrivals: Arrivals | None
    of_scenarios: Mapping[str, Any]  # scenario → its input

    @property
    def users(self) -> list[type["GatewayUser"]]:
        """All user classes of the run, in either loop."""
        return [*self.opened, *self.closed]


def read(options: argparse.Namespace, scenarios: Scenarios, shape: "LoadShape | None") -> Inputs:
    """Read everything. Raises Refusal."""
    path = Path(options.timeline)
    lines = timeline.read(path)
    if shape is not None:
        shape.read(options)
    chosen = choose(options.scenarios, lines.scenarios, path, scenarios)
    of_scenarios = {user.scenario: found for user in chosen if (found := user.read(options)) is not None}
    arrivals = None
    if options.arrivals:
        arrivals = parse(options.arrivals, any_length=bool(options.duration))
        if (length := trace_length(options.arrivals, arrivals, lines)) is not None:
            # Printed before the run changes anything: the length reveals a wrong unit.
            print(printable.line(length), flush=True)
    refuse_limits(options)
    opened: Sequence[Any] = []
    if arrivals is not None:
        opened, chosen = open_or_closed(chosen)
    return Inputs(
        timeline_path=path,
        timeline=lines,
        opened=opened,
        closed=chosen,
        arrivals=arrivals,
        of_scenarios=of_scenarios,
    )


def choose(
    option: str, of_timeline: Sequence[str] | None, path: Path, scenarios: Scenarios
) -> list[type["GatewayUser"]]:
    """From --scenarios, else the timeline, else the default. Raises Refusal if a name is unknown."""
    names, where = [name.strip() for name in option.split(",") if name.strip()], "--scenarios"
    if not names and of_timeline is not None:
        names, where = list(of_timeline), f"{path}: scenarios"
    for name in names:
        if name not in scenarios:
            raise Refusal(f"{where}: {no_such('scenario', name, scenarios)}")
    return [scenarios[name] for name in names] if names else [u for u in scenarios.values() if u.by_default]


def trace_length(name: str, arrivals: Arrivals, lines: timeline.Timeline) -> str | None:
    """The length of a trace and of a round of the timeline; None: the arrivals are not a trace."""
    lasting = arrivals.lasting()
    if lasting is None:
        return None
    return f"{name}: {lasting}; a round of the timeline takes {duration.text(lines.round_s)}"


def refuse_limits(options: argparse.Namespace) -> None:
    """Check the options that limit a run. Raises Refusal."""
    if options.max_in_flight < 1:
        raise Refusal(f"--max-in-flight: {options.max_in_flight} allows no requests; give 1 or more")
    try:
        if options.duration:
            duration.parse(options.duration)
    except ValueError as e:
        raise Refusal(f"--duration: {e}") from None
    try:
        if options.restore_within:
            duration.positive(options.restore_within, "leaves no time to restore; write it like 15m")
    except ValueError as e:
        raise Refusal(f"--restore-within: {e}") from None


def refuse_ineffective(options: argparse.Namespace) -> None:
    """Refuse Locust's own options that have no effect on a run. Raises Refusal."""
    if options.host:
        raise Refusal(f"--host: {options.host!r}: the topology sets the gateway; remove the option")
    if options.class_picker:
        raise Refusal(
            "--class-picker: choose scenarios with --scenarios and a shape with -f; remove the option"
        )
    if options.profile:
        raise Refusal(f"--profile: {options.profile!r}: is not used; remove the option")
