"""Chaos from the command line: run a timeline, show its plan, restore open faults, watch a gateway.

python -m chaos plan --topology topologies/k3s.yaml --timeline chaos/timelines/three_tier.yaml
python -m chaos run --topology .stack/up/topology.yaml --timeline chaos/timelines/three_tier.yaml
python -m chaos restore
python -m chaos watch
python -m chaos faults
"""

import contract.exit_70  # noqa: F401  before any import that may fail

# isort: split
import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chaos import catalogue, output
from chaos.inspection import deadmen, look, serving_now
from chaos.kube.cluster import Cluster
from chaos.plan import bind, describe, pauses, rounds, total_s
from chaos.preflight import ground_of
from chaos.run import ChaosRun, leash
from chaos.state_folder import default_folder
from chaos.stop import Stop
from chaos.undo.guardian import Guardian
from chaos.undo.journal import Journal
from chaos.undo.reaper import Reaper
from chaos.undo.restore import restore
from chaos.watch import command as watch
from contract import duration, messages, proxies, timeline, topology
from contract.clock import Clock, shared
from contract.command_line import Parser
from contract.messages import FaultEvent, Message, Refused
from contract.refusal import EXIT_ABORTED, EXIT_NOT_RESTORED, EXIT_PASS, Refusal
from contract.run import ABORTED, FINISHED, open_run
from contract.timeline import RESTORE_WITHIN_S


def main(argv: Sequence[str] | None = None) -> int:
    """`argv`: by default the process's own."""
    argv = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(argv, argparse.Namespace(argv=list(argv)))
    try:
        return int(args.command(args))
    except Refusal as e:
        if getattr(args, "leash", False):  # the parent shows it, on its terminal or in its web UI
            _to_parent(Refused(str(e)))
        else:
            output.err_lines(str(e))
        return e.exit_code
    finally:
        output.flush()


def _parser() -> Parser:
    parser = Parser(
        prog="python -m chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, help: str, run: Callable[[argparse.Namespace], int]) -> Parser:
        found: Parser = commands.add_parser(name, help=help, description=help)
        found.set_defaults(command=run)
        return found

    plan = command(
        "plan", "show every move of a timeline and the current state of its targets; change nothing", _plan
    )
    checked = command("check", "refuse a timeline that cannot run on a topology; send no request", _check)
    run = command("run", "run a timeline, with the probe and the health checks", _run)
    command(
        "guardian",
        "the second process of a run, started by the run: restores when the first process is gone",
        _guardian,
    )
    back = command("restore", "restore every open fault; safe at any time", _restore)
    for one in (plan, checked, run):
        one.add_argument("--topology", type=Path, required=True, help="the stack under test")
        one.add_argument("--timeline", type=Path, required=True, help="the experiment")
    for one in (plan, run):
        one.add_argument(
            "--duration", type=_seconds,
            help="run the timeline as often as it fits, at least once; by default as many times as it has trials",
        )  # fmt: skip
        one.add_argument(
            "--seed", type=int, default=1, help="random seed of the delays before rounds (phase)"
        )
    seen = command(
        "watch",
        "send one request every few seconds through the gateway; show which tier answers, and a banner at each failover",
        watch.run,
    )
    watch.add_arguments(seen, _seconds)
    listing = command("faults", "list the faults, and how each is restored", _faults)
    listing.add_argument("--name", help="only this fault")
    reap = command("reaper", "the dead-man of a cluster, which runs inside it: deploy/reaper.yaml", _reaper)
    reap.add_argument(
        "--namespace", action="append", required=True, help="a namespace to watch; may be given several times"
    )
    reap.add_argument("--kubeconfig", help="default: the Pod's service account, or kubectl's kubeconfig")
    for one in (plan, run):
        one.add_argument(
            "--without-reaper", action="store_true",
            help="inject without a live reaper: nothing in the cluster restores if every process here is killed",
        )  # fmt: skip
    run.add_argument(
        "--run", type=Path, help="an open run folder to write into; by default a new one in results/"
    )
    run.add_argument("--leash", action="store_true", help="restore and exit at end of file on standard input")
    for one in (plan, run):
        one.add_argument(
            "--restore-within", type=_patience,
            help=f"how long a restore may take; overrides the timeline's restore_within (default {duration.text(RESTORE_WITHIN_S)})",
        )  # fmt: skip
    run.renamed("--mend-within", "--restore-within")
    back.add_argument(
        "--topology",
        type=Path,
        help="also restore what the Leases of this topology's cluster hold; by default only the journal's records",
    )
    back.add_argument(
        "--restore-within", type=_patience, default=RESTORE_WITHIN_S,
        help=f"how long a restore may take (default {duration.text(RESTORE_WITHIN_S)})",
    )  # fmt: skip
    back.renamed("--within", "--restore-within")
    return parser


def _seconds(text: str) -> float:
    try:
        return duration.parse(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(str(e)) from None


def _patience(text: str) -> float:
    try:
        return duration.positive(text, "leaves no time to restore; write it like 15m")
    except ValueError as e:
        raise argparse.ArgumentTypeError(str(e)) from None


def _restore_within(args: argparse.Namespace, lines: timeline.Timeline) -> float:
    """In seconds; the command line takes precedence."""
    return float(lines.restore_within if args.restore_within is None else args.restore_within)


def _plan(args: argparse.Namespace) -> int:
    lines, stack = timeline.read(args.timeline), topology.read(args.topology)
    bound = bind(lines, stack, str(args.timeline))
    later_s = pauses(lines, rounds(lines, args.duration), args.seed)
    within_s = _restore_within(args, lines)
    output.out_lines(describe(lines, bound, later_s, within_s))
    if stack.embedded is not None:
        output.out_lines(deadmen(bound))
        output.out("  the stack is not running: the current state is unknown")
        return EXIT_PASS
    ground, clock = ground_of(stack, args.without_reaper), Clock()
    deadline = clock.now() + total_s(lines, later_s) + within_s
    output.out_lines(look(bound, ground, clock.now, deadline))
    output.out_lines(serving_now(stack))
    return EXIT_PASS


def _check(args: argparse.Namespace) -> int:
    bind(timeline.read(args.timeline), topology.read(args.topology), str(args.timeline))
    return EXIT_PASS


def _run(args: argparse.Namespace) -> int:
    lines, stack = timeline.read(args.timeline), topology.read(args.topology)
    if stack.gateway.url is None:
        raise Refusal(
            f"{args.topology}: has no urls; start the stack with make up and pass .stack/up/topology.yaml"
        )
    proxies.refuse(stack, os.environ)
    journal = Journal(default_folder())
    journal.must_be_own()
    bound = bind(lines, stack, str(args.timeline))
    clock, stop = shared(), Stop()
    own = None
    if args.run is not None and not args.run.is_dir():
        raise Refusal(f"--run: {args.run} is not a folder; create it, or omit --run")
    if args.run is None:
        inputs = {"topology.yaml": topology.dump(stack), "timeline.yaml": args.timeline.read_text()}
        own = open_run(
            Path("results"),
            args.timeline.stem,
            clock.now(),
            inputs,
            {"chaos": args.argv},
            args.seed,
            gateway_kind=stack.gateway.kind,
        )
    folder = own.path if own else args.run
    chaos_run = ChaosRun(
        stack, lines, bound, folder, journal, clock, stop,
        report=_to_parent if args.leash else _to_terminal, duration_s=args.duration, restore_within_s=_restore_within(args, lines),
        without_reaper=args.without_reaper, seed=args.seed,
    )  # fmt: skip
    stop.on_signals()
    if args.leash:
        leash(stop, chaos_run.count)
    code = chaos_run.run()
    if own:
        ended = ABORTED if stop.reason else FINISHED
        own.close(ended, clock.now(), stop.reason, {}, gateway=chaos_run.gateway_versions)
    if code == EXIT_NOT_RESTORED:
        output.err(f"NOT RESTORED; by hand: {_by_hand(args)}")
    elif code != EXIT_PASS and not args.leash:
        why = (
            stop.reason
            or "; ".join(chaos_run.left_alone)
            or "no fault was verified as effective, so nothing was tested"
        )
        output.err(f"{'aborted' if code == EXIT_ABORTED else 'unknown'}: {why}")
    return code


def _by_hand(args: argparse.Namespace) -> str:
    return f"{sys.executable} -m chaos restore --topology {args.topology}"


def _guardian(args: argparse.Namespace) -> int:
    return Guardian(Journal(default_folder()), shared()).run()


def _restore(args: argparse.Namespace) -> int:
    stack = topology.read(args.topology) if args.topology else None
    left = restore(Journal(default_folder()), stack, Clock(), args.restore_within, log=output.out)
    return EXIT_NOT_RESTORED if left else EXIT_PASS


def _faults(args: argparse.Namespace) -> int:
    output.out_lines(catalogue.text(args.name))
    return EXIT_PASS


def _reaper(args: argparse.Namespace) -> int:
    stop = Stop()
    stop.on_signals()
    # It runs for months: the wall clock, which is kept synchronized, not one that was right at its start.
    clock = Clock(time.time, time.time)
    reaper = Reaper(Cluster(args.kubeconfig), args.namespace, clock, stop, output.out)
    reaper.announce()
    reaper.run()
    return EXIT_PASS


def _to_parent(message: Message) -> None:
    output.message(messages.write(message))


def _to_terminal(message: Message) -> None:
    if isinstance(message, FaultEvent):
        what = f"{message.step} {message.move} {message.stage} {message.target}"
        more = message.error or message.note
        output.out(what + (f": {more}" if more else ""))


if __name__ == "__main__":
    sys.exit(main())
