"""Compares the expectations of two runs: which went from pass to fail, and which cannot be compared. Pure.

A flip is not a statistical result: both runs were judged, each by its own evidence. So it has no interval and no tolerance.
"""

from dataclasses import dataclass

from analysis.compare.estimate import Kept, Side
from analysis.compare.judged import Judged
from analysis.judging.finding import Status
from contract.refusal import EXIT_FAIL, EXIT_PASS, EXIT_UNKNOWN

NEVER = "nothing"  # the status if a run has no such expectation
_FIRST = tuple(Judged)


@dataclass(frozen=True, slots=True)
class Expected:
    """One expectation, or a check of every run (`restored`, `run`, `reconciled`), in two runs. None: not in that run."""

    name: str
    a: Kept | None
    b: Kept | None
    judged: Judged
    why: str  # the reason of a `cannot tell`

    @property
    def may_be_worse(self) -> bool:
        """`cannot tell`, and A passed what B is not known to pass, or B failed what A is not known to have failed."""
        a, b = (None if kept is None else kept.status for kept in (self.a, self.b))
        if self.judged is not Judged.CANNOT_TELL or b is Status.PASS or a is Status.FAIL:
            return False
        return a is Status.PASS or b is Status.FAIL


def judge(a: Side, b: Side) -> list[Expected]:
    """Every expectation of either side; flips first, worse ones before better ones.

    pass → fail is worse, fail → pass better, whatever the tolerance. Two passes or two fails are no difference. The result is
    `cannot tell` if either side is unknown, only one run has the expectation, the targets differ, or a side has no verdict.
    """
    of_a, of_b = ({k.name: k for k in side.verdict.findings} if side.verdict else {} for side in (a, b))
    blind = "".join(f"{name} has no verdict" for name, side in (("A", a), ("B", b)) if side.verdict is None)
    found = [_judged(name, of_a.get(name), of_b.get(name), blind) for name in dict.fromkeys([*of_a, *of_b])]
    return sorted(found, key=lambda e: (_FIRST.index(e.judged), not e.may_be_worse))


def exit_code(found: list[Expected]) -> int:
    """1 if one went from pass to fail; else 5 if one may have; else 0."""
    if any(e.judged is Judged.WORSE for e in found):
        return EXIT_FAIL
    return EXIT_UNKNOWN if any(e.may_be_worse for e in found) else EXIT_PASS


def _judged(name: str, a: Kept | None, b: Kept | None, blind: str) -> Expected:
    if a is None or b is None:
        why = blind or f"only {'B' if a is None else 'A'} has this expectation"
        return Expected(name, a, b, Judged.CANNOT_TELL, why)
    if a.target != b.target:
        why = f"the targets differ: {a.target}, and {b.target}"
        return Expected(name, a, b, Judged.CANNOT_TELL, why)
    if Status.UNKNOWN in (a.status, b.status):
        blind = " and ".join(side for side, kept in (("A", a), ("B", b)) if kept.status is Status.UNKNOWN)
        return Expected(name, a, b, Judged.CANNOT_TELL, f"unknown in {blind}")
    if a.status is b.status:
        return Expected(name, a, b, Judged.NO_DIFFERENCE, "")
    return Expected(name, a, b, Judged.WORSE if b.status is Status.FAIL else Judged.BETTER, "")
