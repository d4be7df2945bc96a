"""The experiment: which faults are injected when, and what is expected.

Only the structure: chaos knows the faults, the analysis the expectations, the load generator the scenarios.
"""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from contract.duration import Duration, text
from contract.fields import Name, refuse_literal_secrets
from contract.strict import Strict, load

# Long enough for an engine that loads its model for ten minutes.
RESTORE_WITHIN_S = 900.0


class Objectives(Strict):
    """The limits for goodput and brown-outs."""

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
                raise ValueError(
                    f"{key} belongs beside steps:, not in a step: it applies to the whole timeline"
                )
        return data


class AbortWhen(Strict):
    """A guard: if it holds over the window, everything is restored and the run is aborted.

    `failures`: share of the answers of users and probe that were not good. `ttft_ms`: the median time to the first token of
    the probe's answers; a token that has not come yet counts with the time waited so far.
    """

    over: Duration = Field(gt=0)
    failures: float | None = Field(default=None, gt=0, le=1)
    ttft_ms: float | None = Field(default=None, gt=0)
    at_least: int = Field(default=10, ge=1)  # answers in the window; with fewer the guard does not hold

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
    max: Duration  # of one round, restores included
    # Limit of a restore until a real answer verifies it; --restore-within on the command line takes precedence.
    restore_within: Duration = Field(default=RESTORE_WITHIN_S, gt=0)
    trials: int | None = Field(
        default=None, ge=1, strict=True
    )  # number of rounds; None: set on the command line
    # Each round begins after a random delay of up to this, so that faults fall at random points of the periods of gateway
    # and probe (a cooldown, a health check, a slot).
    phase: Annotated[Duration, BeforeValidator(_phase)] = 0.0
    max_cloud_answers: int | None = Field(default=None, ge=0)  # per round begun, in total
    abort_when: AbortWhen | None = None
    objectives: Objectives = Objectives()
    scenarios: list[str] | None = Field(
        default=None, min_length=1
    )  # scenarios of the users; None: set on the command line
    steps: list[Step] = Field(min_length=1)
    expect: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse_literal_secrets(self.model_dump())
        problems = []
        names = [s.name for s in self.steps]
        problems += [f"two steps are named {n!r}" for n in sorted({n for n in names if names.count(n) > 1})]
        scenarios = self.scenarios or []
        problems += [
            f"scenarios: {n!r} is given twice"
            for n in sorted({n for n in scenarios if scenarios.count(n) > 1})
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


def read(path: Path, links: bool = True) -> Timeline:
    """A timeline from its file. `links`: False for a file of a run folder. Raises Refusal."""
    return load(path, Timeline, links)
