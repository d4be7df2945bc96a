"""The options of a run on Locust's command line and in the form of its web UI."""

from typing import TYPE_CHECKING

from contract.command_line import refuse_with_64
from scenarios.gateway.user_context import MAX_IN_FLIGHT
from scenarios.gateway.web_access import LOOPBACK, web_origin

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
"""The options that are recorded in the manifest, besides those of the scenarios."""


def declare(parser: "LocustArgumentParser", scenarios: "Scenarios") -> None:
    """Declare the options of a run and of the scenarios."""
    refuse_with_64(parser)
    # Locust's own default is all addresses. The web UI has no login, its protocol neither encryption nor authentication.
    parser.set_defaults(web_host=LOOPBACK, master_bind_host=LOOPBACK)
    add = parser.add_argument
    default = [name for name, user in scenarios.items() if user.by_default]
    add(
        "--topology",
        default="topologies/embedded.yaml",
        help="the stack under test",
        include_in_web_ui=False,  # chosen when Locust starts: the stack is up already
    )
    add(
        "--timeline",
        default="chaos/timelines/three_tier.yaml",
        help="path of the timeline: which faults are injected when, and what is expected",
    )
    add(
        "--duration",
        default="",
        help="repeat the timeline for this long, for example 24h; at least once; empty: the timeline's trials",
    )
    add(
        "--restore-within",
        default="",
        help="maximum time until a real answer verifies a restore, for example 20m; empty: the timeline's restore_within",
    )
    add(
        "--results",
        default="results",
        help="folder in which the run's folder is created",
        include_in_web_ui=False,
    )
    add(
        "--scenarios",
        default="",
        help=f"scenarios to run, for example chat,direct; empty: the timeline's, or {', '.join(default)}; available: {', '.join(scenarios)}",
    )
    add(
        "--without-reaper",
        action="store_true",
        help="inject without a live reaper: no fault is restored if all processes here are killed",
        include_in_web_ui=False,
    )
    add(
        "--arrivals",
        default="",
        help="open loop: constant:8/s, poisson:90/m or replay:trace.csv (replay:trace.csv@ms if the unit of its times is "
        "unknown); empty: a closed loop",
    )
    add(
        "--max-in-flight",
        type=int,
        default=MAX_IN_FLIGHT,
        help="open loop: arrivals above this number of unanswered requests are dropped and counted",
        include_in_web_ui=False,
    )
    add(
        "--seed",
        type=int,
        default=1,
        help="random seed of prompts, think times, arrivals, pairs, and pauses before rounds",
    )
    add(
        "--web-origin",
        type=web_origin,
        action="append",
        default=[],
        metavar="https://HOST",
        help="accept the web UI's pages under this origin too, that of a reverse proxy or an ingress; may be given several times",
        include_in_web_ui=False,
    )
    add("--leash", action="store_true", help="stop when the parent process ends", include_in_web_ui=False)
    for user in scenarios.values():
        _declare_own(parser, user)


def _declare_own(parser: "LocustArgumentParser", user: type["GatewayUser"]) -> None:
    """Declare a scenario's own options. Exits with 64 on an invalid one: Locust would ignore an exception here."""
    where = f"scenarios/{user.scenario}.py: arguments"
    for name, given in user.arguments.items():
        option = f"--{name.replace('_', '-')}"
        if not name.isidentifier():
            parser.error(f"{where}: {name!r} is not a valid option name; write it with _ between words")
        if option in parser._option_string_actions:
            parser.error(f"{where}: option {option} exists already; use another name")
        parser.add_argument(option, include_in_web_ui=False, **given)
