"""The conditions of a run, and their differences between two runs. Pure.

Runs with another topology, prompts, load or timeline are different experiments: their numbers differ for that reason alone, so
the comparison is refused. Versions and the gateway's configuration are what one usually compares: differences are only shown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard
from urllib.parse import urlsplit

import pandas as pd

from analysis.frames import Frames
from analysis.metrics.shares import PROBES, users_requests
from contract import ranks
from contract.duration import text
from contract.refusal import Refusal, no_such
from contract.strict import parse_yaml
from contract.topology import Topology

REFUSED = ("topology", "prompts", "load", "timeline")
SHOWN = ("versions", "configuration")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ALIKE_WITHIN = {
    "recorded_s": 2.0,
    "prompt_tokens": 1.25,
}  # fields that vary randomly: alike up to this ratio, or between two such intervals
Z_999 = 3.29
MOST_CAPS = 8

Conditions = dict[str, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Unlike:
    """One field in which two runs differ. None: the run has no such field."""

    topic: str
    field: str
    a: object
    b: object

    @property
    def text(self) -> str:
        nothing = "unknown" if self.topic == "versions" else "nothing"
        a, b = (_text(value, nothing) for value in (self.a, self.b))
        return f"{self.topic}: {self.field}: {a} and {b}"


def conditions(run: Frames) -> Conditions:
    """Topic → field → value, of all conditions in which two runs may differ.

    Not included: ports and paths of a stack on this machine, the seed, the number of trials, and the expectations.
    """
    return {
        "topology": _topology(run.topology),
        "prompts": _prompts(users_requests(run.requests)),
        "load": _load(run),
        "timeline": _timeline(run),
        "versions": _versions(run.manifest),
        "configuration": _configuration(run),
    }


def unlike(a: Mapping[str, Mapping[str, object]], b: Mapping[str, Mapping[str, object]]) -> list[Unlike]:
    """Every field in which the two differ, topic by topic."""
    found = []
    for topic in (*REFUSED, *SHOWN):
        of_a, of_b = a.get(topic, {}), b.get(topic, {})
        for field in dict.fromkeys([*of_a, *of_b]):
            if not _alike(field, of_a.get(field), of_b.get(field)):
                found.append(Unlike(topic, field, of_a.get(field), of_b.get(field)))
    return found


def allowed(words: str) -> frozenset[str]:
    """The topics of `--although topology,load`. Raises Refusal."""
    given = [w.strip() for w in words.split(",") if w.strip()]
    for word in given:
        if word not in REFUSED:
            raise Refusal(f"--although: {no_such('topic', word, REFUSED)}")
    return frozenset(given)


def refuse(a: str, b: str, found: Iterable[Unlike], although: frozenset[str]) -> None:
    """Raises Refusal if the two are different experiments, unless `although` names all topics that differ."""
    against = [u for u in found if u.topic in REFUSED and u.topic not in although]
    if not against:
        return
    topics = ",".join(t for t in REFUSED if t in {*although, *(u.topic for u in against)})
    raise Refusal(
        "\n".join(
            [f"{a} and {b} ran under different conditions, so the cause of a difference would be unclear:"]
            + [f"  {u.text}" for u in against]
            + [f"to compare them anyway: --although {topics}"]
        )
    )


def _alike(field: str, a: object, b: object) -> bool:
    if a == b:
        return True
    ratio = next((r for word, r in ALIKE_WITHIN.items() if field.endswith(word)), None)
    ends_a, ends_b = _ends(a), _ends(b)
    if ratio is None or ends_a is None or ends_b is None:
        return False
    return max(ends_a[0], ends_b[0]) <= ratio * min(ends_a[1], ends_b[1])


def _ends(value: object) -> tuple[float, float] | None:
    """The ends of a number or an interval; None for other values."""
    if isinstance(value, int | float):
        return value, value
    return (value[0], value[1]) if _is_interval(value) else None


def _is_interval(value: object) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, int | float) for v in value)


def _text(value: object, nothing: str) -> str:
    if _is_interval(value):
        return " to ".join(f"{v:g}" for v in value)
    return nothing if value in (None, "") else str(value)


def _place(url: str | None) -> str | None:
    """The url; for one on this machine without port and path, since they differ in each run."""
    if url is None:
        return None
    return "this machine" if urlsplit(url).hostname in LOOPBACK else url


def _topology(topology: Topology) -> dict[str, object]:
    gateway = topology.gateway
    found: dict[str, object] = {
        "gateway.url": _place(gateway.url),
        "gateway.model": gateway.model,
        "gateway.cooldown": None if gateway.cooldown is None else text(gateway.cooldown),
        "gateway.witness": gateway.witness,
        "tiers": ranks.describe(topology.ranks),
    }
    for tier in topology.tiers:
        order = None if tier.match.order is None else f"order {tier.match.order}"
        match = ", ".join(m for m in (tier.match.group, _place(tier.match.api_base), order) if m)
        found |= {
            f"tier {tier.name}.{field}": value
            for field, value in (
                ("url", _place(tier.url)), ("model", tier.model), ("engine", tier.engine), ("api", tier.api),
                ("match", match), ("ignore_eos", tier.ignore_eos), ("witness", tier.witness), ("cloud", tier.cloud),
            )
        }  # fmt: skip
    return found


def _prompts(users: pd.DataFrame) -> dict[str, object]:
    """The lengths of prompts and answers of the users' requests through the gateway, by scenario."""
    found: dict[str, object] = {}
    rows = users[["scenario", "max_tokens", "prompt_tokens"]]
    names = sorted(str(s) for s in rows["scenario"].unique())
    found["scenarios"] = ", ".join(names)
    for name in names:
        of = rows[rows["scenario"] == name]
        caps = sorted(int(c) for c in of["max_tokens"].dropna().unique())
        found[f"{name}.max_tokens"] = (
            ", ".join(map(str, caps)) if len(caps) <= MOST_CAPS else f"{caps[0]} to {caps[-1]}"
        )
        found[f"{name}.median_prompt_tokens"] = _median(of["prompt_tokens"].dropna())
    return found


def _median(drawn: pd.Series) -> list[float] | None:
    """The 99.9 % interval of the median by order statistics; None without values.

    A run draws its prompts at random, so with few of them the median varies.
    """
    if drawn.empty:
        return None
    reach = Z_999 / 2 / len(drawn) ** 0.5
    ends = [max(0.0, 0.5 - reach), min(1.0, 0.5 + reach)]
    return [float(v) for v in drawn.astype("float64").quantile(ends, interpolation="nearest")]


def _load(run: Frames) -> dict[str, object]:
    arguments: dict[str, Any] = run.manifest.get("arguments") or {}
    arrivals = arguments.get("arrivals") or None
    by_load = ~run.requests["lane"].isin(PROBES)
    return {
        "arrivals": arrivals,
        "users": None if arrivals else arguments.get("num_users"),
        "max_in_flight": arguments.get("max_in_flight") if arrivals else None,
        "shape": arguments.get("shape"),
        "workers": len(run.manifest.get("workers") or []) or 1,
        "recorded_s": round(run.ended_at - run.started_at, 1),
        "scenarios": ", ".join(sorted(str(s) for s in run.requests.loc[by_load, "scenario"].unique())),
    }


def _timeline(run: Frames) -> dict[str, object]:
    timeline = run.timeline
    if timeline is None:
        return {}
    found: dict[str, object] = {
        "baseline": text(timeline.baseline),
        "settle": text(timeline.settle),
        "phase": text(timeline.phase),
        "objectives.ttft_ms": timeline.objectives.ttft_ms,
    }
    for step in timeline.steps:
        options = "".join(f", {k}: {v}" for k, v in step.with_.items())
        found[f"step {step.name}"] = (
            f"{step.fault} {step.target} at {text(step.at)} for {text(step.for_)}{options}"
        )
    return found


def _versions(manifest: Mapping[str, Any]) -> dict[str, object]:
    return {**(manifest.get("versions") or {}), "brownout": manifest.get("git_commit")}


def _configuration(run: Frames) -> dict[str, object]:
    """gateway.yaml, flat: `router_settings.cooldown_time` → 30."""
    try:
        data = parse_yaml(run.inputs.get("gateway.yaml", "{}"))
    except ValueError as e:
        raise Refusal(f"{run.path}/gateway.yaml: {e}") from None
    return dict(_flat("", data))


def _flat(place: str, value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{place}.{key}" if place else str(key), inner)
    elif isinstance(value, list) and value:
        for i, inner in enumerate(value):
            yield from _flat(f"{place}[{i}]", inner)
    elif value is not None and value != {} and value != []:
        url = value if isinstance(value, str) and value.startswith(("http://", "https://")) else None
        yield place, value if url is None else _place(url)
