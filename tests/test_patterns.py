"""No pattern of the product takes longer than its text is long: a server chooses the text, and a search holds the interpreter."""

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from re import _compiler as compiler  # type: ignore[attr-defined]
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]

import pytest

from tests.parsed import nodes

ROOT = Path(__file__).parent.parent
WINGS = ("contract", "scenarios", "chaos", "analysis")
FILES = [path for wing in WINGS for path in sorted((ROOT / wing).rglob("*.py"))]
FROM_START = {"match", "fullmatch"}
SEARCHES = {"search", "sub", "subn", "split", "findall", "finditer"}
OF_TEXTS = {
    "contract/foreign.py"
}  # one of escaped texts of our own with `|` between them: it repeats nothing
MANY = 1000  # a repeat of so many is as bad as one without end
ALPHABET = [*map(chr, range(256)), "İ", "ſ", "’", "◁", "▷", "\u2028", "\ud800", "\U0001f600"]
ALL = frozenset(ALPHABET)


@dataclass(frozen=True)
class Step:
    """One part of a way through a pattern: the characters it takes, whether it may take none, or without end, or give back.

    One that takes no character is a condition, which may fail.
    """

    takes: frozenset
    may_be_empty: bool = False
    endless: bool = False
    gives_back: bool = False
    may_be_left: bool = False  # the same way exists without it


def _takes(node, state) -> frozenset:
    one = parser.SubPattern(state, [node])
    compiled = compiler.compile(one, state.flags)
    return frozenset(c for c in ALPHABET if compiled.fullmatch(c))


def _union(ways) -> frozenset:
    return frozenset().union(*(step.takes for way in ways for step in way))


class Ways:
    """All ways through a pattern, each a list of steps. `wrong`: what may take longer than the text is long, in words."""

    def __init__(self, pattern: re.Pattern) -> None:
        text = pattern.pattern.decode("latin-1") if isinstance(pattern.pattern, bytes) else pattern.pattern
        self._flags, self.wrong, self.anchored = pattern.flags, [], False
        tree = parser.parse(text, pattern.flags & ~re.DEBUG)
        self._state = tree.state
        self._state.flags = tree.state.flags
        self.anchored = bool(tree.data) and tree.data[0] in (
            (op.AT, op.AT_BEGINNING), (op.AT, op.AT_BEGINNING_STRING),
        ) and not self._state.flags & re.MULTILINE  # fmt: skip
        self.ways = self._of(tree)
        for way in self.ways:
            self._adjacent(way)

    def _of(self, nodes, held: bool = False) -> list[list[Step]]:
        """`held`: inside an atomic group, which gives nothing back."""
        ways: list[list[Step]] = [[]]
        for node in nodes:
            found = self._one(node, held)
            ways = [a + b for a, b in product(ways, found)]
            assert len(ways) < 5000, "too many ways: write it as several patterns"
        return ways

    def _one(self, node, held: bool) -> list[list[Step]]:
        kind, value = node
        if kind in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY, op.CATEGORY, op.RANGE):
            return [[Step(_takes(node, self._state))]]
        if kind is op.AT:
            return [[Step(frozenset())]] if value in (op.AT_END, op.AT_END_STRING) else [[]]
        if kind in (op.ASSERT, op.ASSERT_NOT):
            direction, body = value
            ahead = self._of(body, held=True)
            for way in ahead:
                self._adjacent(way)
            if kind is op.ASSERT and direction < 0:
                return ahead  # as a part of the way: it says what stood before
            if kind is op.ASSERT_NOT and direction < 0:
                # It stops a search from beginning inside a run of these.
                return [[Step(ALL - _union(ahead))]]
            return [[*way, Step(frozenset())] for way in ahead if any(s.endless for s in way)] or [
                [Step(frozenset())]
            ]
        if kind is op.SUBPATTERN:
            return self._of(value[3], held)
        if kind is op.ATOMIC_GROUP:
            return self._of(value, held=True)
        if kind is op.BRANCH:
            return [way for branch in value[1] for way in self._of(branch, held)]
        if kind is op.GROUPREF:
            return [[Step(ALL)]]
        assert kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT), (
            f"{kind} is not known to this test"
        )
        least, most, body = value
        possessive = kind is op.POSSESSIVE_REPEAT
        inside = self._of(body, held or possessive)
        if most < MANY:
            return inside if least else [*([replace(s, may_be_left=True) for s in way] for way in inside), []]
        self._loop(inside, possessive)
        whole = Step(_union(inside), least == 0, True, not (held or possessive))
        nested = [way for way in inside if any(step.endless for step in way)]
        return [[whole], *nested]

    def _loop(self, inside, possessive: bool) -> None:
        """A loop around these ways."""
        if any(all(step.may_be_empty for step in way) for way in inside):
            self.wrong.append("a repeat whose inside may be empty")
        if possessive:
            return
        for a, b in product(inside, inside):
            for at, step in enumerate(a):
                if step.endless and step.gives_back:
                    self._meets(step, [*a[at + 1 :], *b], "a repeat inside a repeat")
        for n, a in enumerate(inside):
            for b in inside[n + 1 :]:
                if a and b and a[0].takes & b[0].takes:
                    self.wrong.append("a repeat of alternatives that begin alike")

    def _adjacent(self, way) -> None:
        for at, step in enumerate(way):
            if step.endless and step.gives_back:
                self._meets(step, way[at + 1 :], "two repeats in a row")

    def _meets(self, first: Step, rest, what: str) -> None:
        """Whether a later repeat can take what the first one gives back."""
        passed: list[Step] = []
        for step in rest:
            if not step.takes:
                continue
            common = first.takes & step.takes
            if step.endless and common and all(p.takes & common for p in passed):
                self.wrong.append(f"{what}, both of {_shown(common)}")
            if not step.may_be_empty:
                passed.append(step)
                if not common:
                    return

    def searched(self) -> None:
        """Every place of the text may be a beginning: a repeat that runs on over other beginnings, and then may fail."""
        if self.anchored:
            return
        for way in self.ways:
            for at, step in enumerate(way):
                may_fail = any(not (later.may_be_empty or later.may_be_left) for later in way[at + 1 :])
                before = [s for s in way[:at] if s.takes and not s.may_be_empty]
                if step.endless and may_fail and step.takes and all(b.takes & step.takes for b in before):
                    self.wrong.append(f"a search that begins inside a repeat of {_shown(step.takes)}")


def _shown(characters) -> str:
    return repr("".join(sorted(characters))[:12])


def wrong(pattern: re.Pattern, searched: bool = True) -> list[str]:
    found = Ways(pattern)
    if searched:
        found.searched()
    return found.wrong


DANGEROUS = [
    r"(a+)+b", r"(a|a)*b", r"(?:a|ab)*c", r"(\s*a*)*b", r"(?:[^<]*\s*)*>", r"^(\d+,?)+$",
    r"^\s*\s*x", r"^\w+\d+x", r"^a*,?a*b", r"^.*=.*;", r"^\s*\n\s*x",
    r"<[^>]*>", r"\s+$", r"\s+x", r"(\w+)=", r"[,.]?\s*Key", r"a\[\]=(.*?) ;", r"(?s)<script\b.*?</script>", r"a{0,5000}b", r",(?![^(]*\))",
]  # fmt: skip
HARMLESS = [
    r"<[^<>]*>", r"\s+", r"[^a-z]+", r"(?<!\w)(\w++)=", r"litellm\.(\w+): ", r"`([^`]+)`", r'^"(?:[^"\\]++|\\.)*+"', r"^(-[0-9a-z]+)*x",
    r"^\w++\d", r"^\s*+[a-z]++\s*+=", r"(?<=://)[^/\s]*@", r"\A\s*x",
]  # fmt: skip


@pytest.mark.parametrize("text", DANGEROUS)
def test_the_rule_finds_what_is_slow(text):
    assert wrong(re.compile(text)), text


@pytest.mark.parametrize("text", HARMLESS)
def test_the_rule_leaves_what_is_quick(text):
    assert not wrong(re.compile(text)), text


# Patterns of the product.


@dataclass(frozen=True)
class Found:
    where: str
    pattern: re.Pattern
    searched: bool


def _methods_of(name: str) -> set[str]:
    """How patterns of this name are used, anywhere."""
    return {
        node.func.attr
        for path in FILES
        for node in nodes(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and node.func.attr in FROM_START | SEARCHES
        and name in (getattr(node.func.value, "id", ""), getattr(node.func.value, "attr", ""))
    }  # fmt: skip


class _Escaped(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        """`re.escape(…)` is a text without a repeat."""
        if ast.unparse(node.func) == "re.escape":
            return ast.Constant("x")
        return self.generic_visit(node)


def _patterns() -> Iterator[Found]:
    for path in FILES:
        names = {
            id(node.value): target
            for node in nodes(path)
            if isinstance(node, ast.Assign | ast.keyword)
            for target in [node.arg if isinstance(node, ast.keyword) else getattr(node.targets[0], "id", "")]
        }
        for node in nodes(path):
            if not (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and getattr(node.func.value, "id", "") == "re"
                and node.func.attr in {"compile", *FROM_START, *SEARCHES}
            ):
                continue
            if str(path.relative_to(ROOT)) in OF_TEXTS and node.func.attr == "compile":
                continue
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            given = [node.args[0], *node.args[1:2]] if node.func.attr == "compile" else [node.args[0]]
            given += [k.value for k in node.keywords if k.arg == "flags"]
            try:
                values = [_value(one, path) for one in given]
            except NameError as e:
                pytest.fail(f"{where}: a pattern that is made at run time cannot be checked: {e}")
            methods = (
                {node.func.attr} if node.func.attr != "compile" else _methods_of(names.get(id(node), ""))
            )
            yield Found(where, re.compile(*values), not methods or bool(methods & SEARCHES))


def _value(node: ast.expr, path: Path) -> object:
    if isinstance(node, ast.Constant):
        return node.value
    names: dict = {"re": re}
    if not ast.unparse(node).startswith("re."):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        names |= vars(importlib.import_module(name))
    expression = ast.fix_missing_locations(ast.Expression(_Escaped().visit(node)))
    return eval(compile(expression, str(path), "eval"), names)


def test_every_pattern_of_the_product_is_as_fast_as_its_text_is_long():
    found = list(_patterns())
    assert len(found) > 50, "they are looked for in the wrong place"
    slow = {
        f"{one.where}: {one.pattern.pattern!r}": w for one in found if (w := wrong(one.pattern, one.searched))
    }
    assert not slow, "\n".join(f"{where}: {', '.join(why)}" for where, why in slow.items())
