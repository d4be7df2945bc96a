"""What each run was judged by, set side by side: which expectation went from pass to fail, or can no longer be told. Pure.

A flip is no question of chance: both runs were judged, each by its own evidence. So it has no interval and no tolerance.
"""

from dataclasses import dataclass

from analysis.compare.estimate import Kept, Side
from analysis.compare.judged import Judged
from analysis.judging.finding import Status
from contract.refusal import EXIT_FAIL, EXIT_PASS, EXIT_UNKNOWN

NEVER = "nothing"  # in words, where a run has no such expectation
_FIRST = tuple(Judged)


@dataclass(frozen=True, slots=True)
class Expected:
    """One expectation, or what every run is asked (`restored`, `run`, `reconciled`), in two runs. None: that run has it not."""

    name: str
    a: Kept | None
    b: Kept | None
    judged: Judged
    why: str  # of a `cannot tell`

    @property
    def may_be_worse(self) -> bool:
        """It cannot be told, and A passed what B is not known to pass, or B failed what A is not known to have failed."""
        a, b = (None if kept is None else kept.status for kept in (self.a, self.b))
        if self.judged is not Judged.CANNOT_TELL or b is Status.PASS or a is Status.FAIL:
            return False
        return a is Status.PASS or b is Status.FAIL


def judge(a: Side, b: Side) -> list[Expected]:
    """Every expectation of either side; flips first, what got worse before all else.

    pass → fail is worse, fail → pass better, whatever the tolerance. Two passes or two fails are no difference in the
    verdict. Unknown on either side, an expectation that only one run has, and two with different targets cannot be told; nor
    can any of them where one side keeps no verdict.
    """
    of_a, of_b = ({k.name: k for k in side.verdict.findings} if side.verdict else {} for side in (a, b))
    blind = "".join(f"{name} keeps no verdict" for name, side in (("A", a), ("B", b)) if side.verdict is None)
    found = [_judged(name, of_a.get(name), of_b.get(name), blind) for name in dict.fromkeys([*of_a, *of_b])]
    return sorted(found, key=lambda e: (_FIRST.index(e.judged), not e.may_be_worse))


def exit_code(found: list[Expected]) -> int:
    """1 where one went from pass to fail; else 5 where one may have and nobody can tell; else 0."""
    if any(e.judged is Judged.WORSE for e in found):
        return EXIT_FAIL
    return EXIT_UNKNOWN if any(e.may_be_worse for e in found) else EXIT_PASS


def _judged(name: str, a: Kept | None, b: Kept | None, blind: str) -> Expected:
    if a is None or b is None:
        why = blind or f"only {'B' if a is None else 'A'} was asked it"
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
