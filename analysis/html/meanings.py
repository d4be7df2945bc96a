"""The definitions on the page: the docstrings of each expectation and each metric."""

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
    """`texts`: (name of the function, or ""; its docstring)."""

    id: str
    name: str
    texts: Sequence[tuple[str, str]]


def expectations() -> list[Meaning]:
    """The expectations that `expect:` may list, then those that every run is checked for."""
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
