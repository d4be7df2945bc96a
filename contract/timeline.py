"""The experiment: what is taken away when, and what is expected of it.

The shape alone: which faults there are is known to chaos, which expectations to the analysis, which scenarios to the
load generator.
"""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from contract.duration import Duration, text
from contract.fields import Name
from contract.strict import Strict, load

# An engine that loads its model for ten minutes is restored, and not given up.
RESTORE_WITHIN_S = 900.0


class Objectives(Strict):
    """What goodput and brown-outs are judged by."""

    ttft_ms: float | None = Field(default=None, gt=0)


class Step(Strict):
    """One fault on one target, from `at` (after the start of the round) for `for`."""

    name: Name
    at: Duration
    for_: Duration = Field(alias="for", gt=0)
    fault: str
    target: str
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")  # the fault's own options

    @model_validator(mode="before")
    @classmethod
    def _of_the_timeline(cls, data: Any) -> Any:
        for key in ("trials", "phase", "restore_within"):
            if isinstance(data, dict) and key in data:
                raise ValueError(f"{key} belongs beside steps:, not in a step: it applies to the whole timeline")
        return data


class AbortWhen(Strict):
    """A guard: when it holds over the window, everything is restored and the run is aborted.

    `failures`: this share of the answers of users and probe were no good ones. `ttft_ms`: the median time to the
    first token of the probe's answers; one that has not come yet counts with the time it has waited so far.
    """

    over: Duration = Field(gt=0)
    failures: float | None = Field(default=None, gt=0, le=1)
    ttft_ms: float | None = Field(default=None, gt=0)
    at_least: int = Field(default=10, ge=1)  # answers in the window; fewer decide nothing

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.failures is None and self.ttft_ms is None:
            raise ValueError("give failures, ttft_ms or both")
        return self


def _phase(given: object) -> object:
    if given == "random":
        raise ValueError(
            "write up to how long, like 10s: each round begins after a random delay of at most this"
        )
    return given


class Timeline(Strict):
    """A whole timeline file. Read it with `read`."""

    hypothesis: str
    baseline: Duration
    settle: Duration
    max: Duration  # of one round, with what its restores take
    # How long a restore may take until a real answer verifies it; --restore-within on the command line wins.
    restore_within: Duration = Field(default=RESTORE_WITHIN_S, gt=0)
    trials: int | None = Field(default=None, ge=1, strict=True)  # so many rounds; None: the command line says
    # Each round begins a random while of up to this later, so that faults meet what the gateway and the probe do in
    # periods (a cooldown, a health check, a slot) at no fixed place.
    phase: Annotated[Duration, BeforeValidator(_phase)] = 0.0
    max_cloud_answers: int | None = Field(default=None, ge=0)  # of each round begun, all together
    abort_when: AbortWhen | None = None
    objectives: Objectives = Objectives()
    scenarios: list[str] | None = Field(default=None, min_length=1)  # who plays; None: the command line says
    steps: list[Step] = Field(min_length=1)
    expect: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        names = [s.name for s in self.steps]
        problems += [f"two steps are named {n!r}" for n in sorted({n for n in names if names.count(n) > 1})]
        played = self.scenarios or []
        problems += [
            f"scenarios: {n!r} is given twice" for n in sorted({n for n in played if played.count(n) > 1})
        ]
        for step in self.steps:
            if step.at < self.baseline:
                problems.append(
                    f"step {step.name!r}: at {text(step.at)} is in the baseline, which ends at {text(self.baseline)}"
                )
        by_target: dict[str, list[Step]] = {}
        for step in sorted(self.steps, key=lambda s: s.at):
            earlier = by_target.setdefault(step.target, [])
            if earlier and earlier[-1].at + earlier[-1].for_ >= step.at:
                problems.append(
                    f"step {step.name!r}: overlaps {earlier[-1].name!r} on {step.target!r}; "
                    f"begin after {text(earlier[-1].at + earlier[-1].for_)}"
                )
            earlier.append(step)
        if self.max < self.round_s:
            problems.append(f"max {text(self.max)} is shorter than a round, which takes {text(self.round_s)}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def round_s(self) -> float:
        """Seconds from the start of a round to the end of the settling after the last planned restore."""
        return max(s.at + s.for_ for s in self.steps) + self.settle


def read(path: Path) -> Timeline:
    """A timeline from its file. Raises Refusal."""
    return load(path, Timeline)
