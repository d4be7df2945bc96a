"""A baseline: a run's samples in one small file for git, to compare later runs with after the run itself is deleted."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.compare import tolerance
from analysis.compare.estimate import (
    Count,
    Curve,
    Estimate,
    Judgement,
    Kept,
    Number,
    Proportion,
    Sample,
    Side,
    Trials,
)
from analysis.judging.finding import Status
from contract import strict, textfile
from contract.refusal import Refusal, no_such

FORMAT = 3
"""The version of the file format and of the definitions. Files of other versions are refused."""
KIND = "brownout baseline"
DIGITS = 5
_KINDS: dict[str, type] = {"estimate": Estimate, "trials": Trials, "proportion": Proportion}


def text(side: Side) -> str:
    """The file's text, one sample a line.

    `format` · `kind` · `name` of the run · `conditions` of the run, topic by topic · `notes` on problems of the run · `tiers` ·
    `verdict` with `status`, `exit_code` and `findings` (null: it cannot be determined) · `counts` · `samples`, each with `metric`,
    `statistic`, `of`, `via`, `unit` and a `number`: an estimate (value, n, parts, standard error, quantiles of its bootstrap),
    trials (their values) or a proportion (hits, total, design effect) · `curves` for figures.
    """
    head = {
        "format": FORMAT, "kind": KIND, "name": side.name, "conditions": side.conditions,
        "notes": list(side.notes), "tiers": list(side.tiers),
        "verdict": _rounded(asdict(side.verdict)) if side.verdict else None,
        "counts": [asdict(c) for c in side.counts],
    }  # fmt: skip
    samples = [_line(_sample(s)) for s in side.samples]
    curves = [_line(asdict(c)) for c in side.curves]
    return (
        json.dumps(head, indent=1).rstrip("}\n")
        + ',\n "samples": [\n' + ",\n".join(samples) + '\n ],\n "curves": [\n' + ",\n".join(curves) + "\n ]\n}\n"
    )  # fmt: skip


def read(path: Path) -> Side:
    """The baseline in this file. Raises Refusal if it is not a baseline, or has another format."""
    try:
        data = strict.parse_json(textfile.read(path))
    except ValueError as e:
        raise Refusal(f"{path}: cannot be read as a baseline: {e}") from None
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise Refusal(f"{path}: not a baseline; make one with: python -m analysis baseline RUN > {path}")
    if data.get("format") != FORMAT:
        raise Refusal(
            f"{path}: is a baseline of format {str(data.get('format'))[:20]}; this version reads format {FORMAT}. Create it again from a run "
            f"that this version recorded: python -m analysis baseline RUN > {path}"
        )
    try:
        made = Side(
            data["name"], data["conditions"], tuple(data["notes"]), tuple(data["tiers"]),
            tuple(Sample(**{**s, "number": _number(s["number"])}) for s in data["samples"]),
            tuple(Curve(**_tuples(c)) for c in data["curves"]),
            None if data["verdict"] is None else _judgement(data["verdict"]),
            tuple(Count(**c) for c in data["counts"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        words = str(e)[:200]
        raise Refusal(f"{path}: invalid baseline: {type(e).__name__}: {words}; {_AGAIN}") from None
    strict.typed(json.dumps(asdict(made)), Side, f"{path}: invalid baseline")
    for sample in made.samples:
        if sample.metric not in tolerance.METRICS:
            raise Refusal(f"{path}: invalid baseline: {no_such('metric', sample.metric, tolerance.METRICS)}")
        if not _possible(sample.number):
            name = f"{sample.metric} {sample.statistic} of {sample.of}"
            raise Refusal(f"{path}: invalid baseline: {name}: impossible numbers; {_AGAIN}")
    return made


_AGAIN = "create it again: python -m analysis baseline RUN"


def _possible(number: Number) -> bool:
    """Whether the numbers of a sample can belong together. Their types have been checked."""
    match number:
        case Estimate():
            return min(number.n, number.parts, number.se, number.needs) >= 0
        case Trials():
            return len(number.values) == len(number.censored) and number.unseen >= 0
        case Proportion():
            return 0 <= number.hits <= number.total > 0 and 0 <= number.doubtful <= number.total and number.design_effect > 0  # fmt: skip


def _judgement(data: dict[str, Any]) -> Judgement:
    findings = tuple(Kept(**{**f, "status": Status(f["status"])}) for f in data["findings"])
    return Judgement(data["status"], data["exit_code"], findings)


def _sample(sample: Sample) -> dict[str, Any]:
    kind = next(k for k, t in _KINDS.items() if isinstance(sample.number, t))
    return asdict(sample) | {"number": {"kind": kind} | asdict(sample.number)}


def _number(data: dict[str, Any]) -> Number:
    made: Number = _KINDS[data["kind"]](**_tuples({k: v for k, v in data.items() if k != "kind"}))
    return made


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}


def _line(data: dict[str, Any]) -> str:
    return "  " + json.dumps(_rounded(data), separators=(",", ":"))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value
