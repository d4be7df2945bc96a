"""Tests that chaos always restores: every cell of the matrix, N trials each, and a table of the results.

python -m tests.torture --trials 20

The rows of results/torture/trials.jsonl are kept; a second start continues where the first one ended.
"""

import argparse
import json
import multiprocessing
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from contract.command_line import Parser, count_from
from tests.torture.cells import matrix
from tests.torture.trial import work

FILE = "trials.jsonl"


def main() -> int:
    args = _arguments()
    args.results.mkdir(parents=True, exist_ok=True)
    done = _done(args.results / FILE)
    names = [n for n in matrix() if re.search(args.only, n)]
    todo = [(n, i) for i in range(1, args.trials + 1) for n in names if i not in done[n]]
    print(f"{len(names)} cells, {len(todo)} trials to do, {args.jobs} at a time", flush=True)
    context = multiprocessing.get_context("spawn")
    tasks: Any = context.Queue()
    results: Any = context.Queue()
    for one in [*todo, *[None] * args.jobs]:
        tasks.put(one)
    workers = [context.Process(target=work, args=(tasks, results, args.keep)) for _ in range(args.jobs)]
    for worker in workers:
        worker.start()
    with open(args.results / FILE, "a") as f:
        for n in range(len(todo)):
            row = results.get()
            f.write(json.dumps(row) + "\n")
            f.flush()
            mark = "" if row["restored"] else f"  NOT RESTORED: {row['why']}"
            print(f"{n + 1}/{len(todo)}  {row['cell']} #{row['trial']}{mark}", flush=True)
    for worker in workers:
        worker.join()
    rows = [json.loads(line) for line in (args.results / FILE).read_text().splitlines()]
    table = _table(rows)
    (args.results / "table.md").write_text(table)
    print(table)
    return 1 if any(not r["restored"] for r in rows) else 0


def _arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--trials", type=count_from(1), default=20, help="trials of each cell (default 20)")
    parser.add_argument(
        "--only", default="", help="regular expression: run only the cells whose name it matches"
    )
    parser.add_argument(
        "--jobs",
        type=count_from(1),
        default=6,
        help="trials at a time, each with its own cluster (default 6)",
    )
    parser.add_argument("--results", type=Path, default=Path("results/torture"))
    parser.add_argument("--keep", type=Path, help="folder for the files of failed trials")
    return parser.parse_args()


def _done(path: Path) -> dict[str, set[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    if path.exists():
        for line in path.read_text().splitlines():
            row = json.loads(line)
            found[row["cell"]].add(row["trial"])
    return found


def _table(rows: list[dict[str, Any]]) -> str:
    by_cell: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_cell[row["cell"]].append(row)
    lines = [
        "| cell | trials | restored | restore commanded, median s | ready again, median s | maximum s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in matrix():
        found = by_cell.get(name, [])
        if found:
            lines.append(
                f"| {name} | {len(found)} | {sum(r['restored'] for r in found)} | {_middle(found, 'commanded_s')} | "
                f"{_middle(found, 'ready_s')} | {_most(found)} |"
            )
    total, good = len(rows), sum(r["restored"] for r in rows)
    lines += ["", f"{total} trials, {good} restored, {total - good} not restored."]
    return "\n".join(lines) + "\n"


def _middle(rows: list[dict[str, Any]], key: str) -> str:
    seen = [r[key] for r in rows if r[key] is not None]
    return f"{statistics.median(seen):.3f}" if seen else "–"


def _most(rows: list[dict[str, Any]]) -> str:
    seen = [r["ready_s"] for r in rows if r["ready_s"] is not None]
    return f"{max(seen):.2f}" if seen else "–"


if __name__ == "__main__":
    sys.exit(main())
