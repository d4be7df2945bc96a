"""The options of a run on Locust's command line and in the form of its web UI."""

from typing import TYPE_CHECKING

from contract.command_line import refuse_with_64
from scenarios.gateway.user_context import MAX_IN_FLIGHT

if TYPE_CHECKING:
    from locust.argument_parser import LocustArgumentParser

    from scenarios.gateway.user import GatewayUser
    from scenarios.run.inputs import Scenarios

RECORDED = (
    "topology",
    "timeline",
    "duration",
    "scenarios",
    "arrivals",
    "max_in_flight",
    "num_users",
    "spawn_rate",
    "run_time",
    "headless",
    "stop_timeout",
    "without_reaper",
    "restore_within",
)
"""The options that the manifest of a run keeps, besides those of its scenarios."""


def declare(parser: "LocustArgumentParser", scenarios: "Scenarios") -> None:
    """Those of a run, and those of the scenarios' own."""
    refuse_with_64(parser)
    add = parser.add_argument
    default = [name for name, user in scenarios.items() if user.by_default]
    add(
        "--topology",
        default="topologies/embedded.yaml",
        help="the stack under test",
        include_in_web_ui=False,  # chosen by who started Locust: the stack is up already
    )
    add(
        "--timeline",
        default="chaos/timelines/three_tier.yaml",
        help="path: which faults are injected when, and what is expected",
    )
    add(
        "--duration",
        default="",
        help="repeat the timeline as often as fits, for example 24h; at least once; empty: its trials",
    )
    add(
        "--restore-within",
        default="",
        help="how long a restore may take until a real answer verifies it, for example 20m; empty: the timeline's restore_within",
    )
    add("--results", default="results", help="where the run's folder is made", include_in_web_ui=False)
    add(
        "--scenarios",
        default="",
        help=f"only these, for example chat,direct; empty: the timeline's, or {', '.join(default)}; there are: {', '.join(scenarios)}",
    )
    add(
        "--without-reaper",
        action="store_true",
        help="inject although nothing in the cluster would restore if every process here were killed",
        include_in_web_ui=False,
    )
    add(
        "--arrivals",
        default="",
        help="an open loop: constant:8/s, poisson:90/m or replay:trace.csv (replay:trace.csv@ms where the unit of its times is "
        "not known by itself); empty: a closed loop",
    )
    add(
        "--max-in-flight",
        type=int,
        default=MAX_IN_FLIGHT,
        help="of an open loop: arrivals beyond so many unanswered requests are refused, and counted",
        include_in_web_ui=False,
    )
    add(
        "--seed",
        type=int,
        default=1,
        help="of prompts, think times, arrivals, pairs, and random pauses before rounds",
    )
    add("--leash", action="store_true", help="stop when the parent process ends", include_in_web_ui=False)
    for user in scenarios.values():
        _declare_own(parser, user)


def _declare_own(parser: "LocustArgumentParser", user: type["GatewayUser"]) -> None:
    """A scenario's own options. Exits with 64 where one cannot be: Locust would swallow what is raised here."""
    where = f"scenarios/{user.scenario}.py: arguments"
    for name, given in user.arguments.items():
        option = f"--{name.replace('_', '-')}"
        if not name.isidentifier():
            parser.error(f"{where}: {name!r} is no name of an option; write it with _ between its words")
        if option in parser._option_string_actions:
            parser.error(f"{where}: there is an option {option} already; give it another name")
        parser.add_argument(option, include_in_web_ui=False, **given)
