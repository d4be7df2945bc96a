"""Analysis of runs: `python -m analysis report | compare | baseline | check | export | notebooks | lab | definitions | schema`.

Exit codes: 0 pass, 1 an expectation failed, 3 aborted by a guard, 4 not restored, 5 unknown, 64 bad input. Of compare: 1 an
expectation went from pass to fail or a metric got worse beyond its tolerance, 5 one may have, or no metric could be judged,
0 neither.
"""

import contract.exit_70  # noqa: F401  before any import that may fail

# isort: split
import argparse
import sys
from pathlib import Path

from analysis import judge
from contract import printable, timeline, topology
from contract.command_line import Parser
from contract.refusal import EXIT_PASS, InternalError, Refusal

EXAMPLES = """examples:
  python -m analysis report                       the latest run
  python -m analysis report results/2026-11-20T154326Z-three_tier
  python -m analysis check chaos/timelines/three_tier.yaml --topology topologies/embedded.yaml
  python -m analysis export latest --parquet --out tables/
  python -m analysis baseline latest > baselines/litellm-1.106.json
  python -m analysis compare baselines/litellm-1.106.json latest --tolerance 10%,failover=0.5s
"""


def main(arguments: list[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        return int(given.do(given))
    except Refusal as e:
        print(printable.lines(e), file=sys.stderr)
        return e.exit_code


def parser() -> argparse.ArgumentParser:
    top = Parser(
        prog="python -m analysis", description="Analyze a recorded run.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = top.add_subparsers(
        required=True,
        metavar="report | compare | baseline | check | export | notebooks | lab | definitions | schema",
    )
    a_run = {
        "nargs": "?",
        "metavar": "RUN",
        "help": "a run's folder, or its name in results/ (default: the latest run)",
    }
    one = commands.add_parser("report", help="write RUN/report/ and print the verdict; exits with its code")
    one.add_argument("run", **a_run)  # type: ignore[arg-type]
    one.add_argument("--quiet", action="store_true", help="print nothing but errors; use the exit code")
    one.set_defaults(do=_report)
    one = commands.add_parser(
        "compare",
        help="show what got better or worse since A; exits with 1 if a pass became a fail or a metric exceeds its tolerance",
    )
    what = "a run's folder, its name in results/, latest, or a baseline file"
    one.add_argument("a", metavar="A", help=f"the reference: {what}")
    one.add_argument("others", metavar="B", nargs="+", help=f"the runs to compare with A: {what}")
    one.add_argument("--although", default="", metavar="topology,load", help="compare although the runs differ in these topics: "
                     "topology, prompts, load, timeline")  # fmt: skip
    one.add_argument("--tolerance", default="", metavar="10%,failover=0.5s", help="how much a metric may get worse: for "
                     "all (10%%), and by metric; proportions in percentage points (continuity=1pp)")  # fmt: skip
    one.add_argument("--out", type=Path, metavar="DIR", help="output folder (default: results/compare/A--B)")
    one.set_defaults(do=_compare)
    one = commands.add_parser(
        "baseline", help="print a run's baseline file: all that a comparison needs, small enough for git"
    )
    one.add_argument("run", **a_run)  # type: ignore[arg-type]
    one.set_defaults(do=_baseline)
    one = commands.add_parser("check", help="validate the expect: section of a timeline")
    one.add_argument("timeline", type=Path, metavar="TIMELINE")
    one.add_argument("--topology", type=Path, help="also check that the named tiers exist in this topology")
    one.set_defaults(do=_check)
    one = commands.add_parser("export", help="write a run's tables for other tools")
    one.add_argument("run", **a_run)  # type: ignore[arg-type]
    one.add_argument("--csv", dest="forms", action="append_const", const="csv", help="as CSV (default)")
    one.add_argument("--parquet", dest="forms", action="append_const", const="parquet", help="as Parquet")
    one.add_argument("--out", type=Path, metavar="DIR", help="output folder (default: RUN/report/)")
    one.set_defaults(do=_export)
    one = commands.add_parser(
        "definitions", help="print what each expectation and each metric means: docs/metrics.md"
    )
    one.set_defaults(do=_definitions)
    one = commands.add_parser("notebooks", help="run the notebooks into RUN/report/notebooks/")
    one.add_argument("run", **a_run)  # type: ignore[arg-type]
    one.add_argument(
        "--against", metavar="RUN", help="also run compare.ipynb, with that run as A and this one as B"
    )
    one.set_defaults(do=_notebooks)
    one = commands.add_parser("lab", help="open the notebooks in Jupyter Lab")
    one.add_argument("run", **a_run)  # type: ignore[arg-type]
    one.set_defaults(do=_lab)
    one = commands.add_parser(
        "schema", help="print the JSON Schema of verdict.json: docs/verdict.schema.json"
    )
    one.set_defaults(do=_schema)
    return top


def _report(given: argparse.Namespace) -> int:
    from analysis import frames, progress, report
    from analysis.evidence import Evidence
    from analysis.judging import verdict
    from analysis.reporting import summary

    path = frames.find_run(given.run)
    with progress.shown(sys.stderr) as on_progress:
        on_progress("reading", None)
        run = Evidence(frames.read(path, on_progress))
        found = judge.judge(run, on_progress)
        folder = report.write(run, found, on_progress)
    if not given.quiet:
        from analysis import html

        load = run.thrown.guarded("load on the terminal", lambda: summary.load(run), lambda error: [])
        print(verdict.as_text(found), *map(printable.line, load), sep="\n")
        print(printable.line(folder / html.NAME))
    if run.thrown.found:
        from analysis import part_errors

        print(
            printable.line(f"threw: {'; '.join(run.thrown.parts())}: {folder / part_errors.NAME}"),
            file=sys.stderr,
        )
    return found.exit_code


def _compare(given: argparse.Namespace) -> int:
    from analysis import progress
    from analysis.compare import command, summary

    with progress.shown(sys.stderr) as on_progress:
        names = [given.a, *given.others]
        found, code = command.compare(names, given.although, given.tolerance, given.out, on_progress)
    for comparison, folder in found:
        print(printable.lines(summary.text(comparison)), printable.line(folder), sep="\n")
    return code


def _baseline(given: argparse.Namespace) -> int:
    from analysis import frames, progress
    from analysis.compare import baseline, command

    with progress.shown(sys.stderr) as on_progress:
        made = baseline.text(command.side(str(frames.find_run(given.run)), on_progress))
    print(made, end="")
    return EXIT_PASS


def _check(given: argparse.Namespace) -> int:
    from analysis import checkers
    from analysis.judging import expectation

    stack = None if given.topology is None else topology.read(given.topology)
    expectation.bind(timeline.read(given.timeline), stack, str(given.timeline), checkers.catalogue())
    return EXIT_PASS


def _export(given: argparse.Namespace) -> int:
    from analysis import export, frames, progress, report

    path = frames.find_run(given.run)
    with progress.shown(sys.stderr) as on_progress:
        on_progress("reading", None)
        found = frames.read(path, on_progress)
        out = report.make_folder(path) if given.out is None else given.out
        files = export.export(found, out, given.forms or [export.CSV], on_progress)
    print(*map(printable.line, files), sep="\n")
    return EXIT_PASS


def _definitions(given: argparse.Namespace) -> int:
    from analysis import definitions

    print(definitions.text(), end="")
    return EXIT_PASS


def _notebooks(given: argparse.Namespace) -> int:
    from analysis import frames, notebook, progress, report

    path = frames.find_run(given.run)
    against = None if given.against is None else frames.find_run(given.against)
    out = report.make_folder(path) / "notebooks"
    try:
        with progress.shown(sys.stderr) as on_progress:
            pages = notebook.write_all(path, against, out, on_progress)
    except notebook.CellFailed as e:
        raise InternalError(str(e)) from None
    print(*map(printable.line, pages), sep="\n")
    return EXIT_PASS


def _lab(given: argparse.Namespace) -> int:
    from analysis import frames, notebook

    return notebook.lab(frames.find_run(given.run))


def _schema(given: argparse.Namespace) -> int:
    from analysis.judging import verdict_json

    print(verdict_json.schema(), end="")
    return EXIT_PASS


if __name__ == "__main__":
    sys.exit(main())
