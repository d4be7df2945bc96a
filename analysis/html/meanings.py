"""The part of the page that defines: each expectation and each metric, as their own docstrings have it."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import checkers, definitions
from analysis.html import anchors
from analysis.judging import reconciliation, verdict

ALWAYS = {
    "restored": verdict.restored,
    "run": verdict.run_state,
    reconciliation.NAME: reconciliation.reconciled,
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """`texts`: (of which function, or nothing; what it says)."""

    id: str
    name: str
    texts: Sequence[tuple[str, str]]


def expectations() -> list[Meaning]:
    """What may stand under `expect:`, then what every run is asked."""
    found = [
        Meaning(
            anchors.expectation(name),
            name,
            [("", definitions.docstring_of(of)) for of in (module, module.Params, module.check)],
        )
        for name, module in checkers.catalogue().items()
    ]
    return found + [
        Meaning(anchors.expectation(name), name, [("", definitions.docstring_of(check))])
        for name, check in ALWAYS.items()
    ]


def metrics() -> list[Meaning]:
    return [
        Meaning(
            anchors.metric(name),
            name,
            [(definitions.named(f), definitions.docstring_of(f)) for f in functions],
        )
        for name, functions in definitions.METRICS.items()
    ]
