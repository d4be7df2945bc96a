"""YAML and JSON into strict types: all errors of a file in one message, each with its place and the correction."""

import functools
import itertools
import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from contract import textfile
from contract.refusal import Refusal, no_such


class Strict(BaseModel):
    """A model of input: unknown keys are errors, numbers are finite, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)
    renamed: ClassVar[dict[str, str]] = {}
    """Renamed keys and values, old → new: an old one is refused, and the error gives the new one."""

    @classmethod
    def known_keys(cls) -> dict[str, Any]:
        """The allowed keys, by their YAML names, and the type of each value."""
        return {field.alias or name: field.annotation for name, field in cls.model_fields.items()}


M = TypeVar("M", bound=Strict)


MOST_YAML_BYTES = 2**20
"""Of one file. The reader takes about a second for them."""
MOST_YAML_NODES = 100_000  # keys and values, with each alias counted as all that it stands for
_LONGEST_NUMBER = 100  # characters; Python takes quadratic time for a number in base 60


class _UniqueKeys(yaml.SafeLoader):
    """Refuses duplicate keys, of which YAML would keep the last one, and what grows beyond the size of the file."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _nodes(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, dict | list):
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    "a key must be a word, not a list or mapping; quote a value that begins with a brace",
                    key_node.start_mark,
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_whole(self, node: yaml.ScalarNode) -> int:
        _refuse_long(node)
        return int(self.construct_yaml_int(node))

    def construct_finite(self, node: yaml.ScalarNode) -> float:
        _refuse_long(node)
        value = float(self.construct_yaml_float(node))
        if not math.isfinite(value):
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"{node.value} is not a finite number; write one, or leave the key out",
                node.start_mark,
            )
        return value

    def construct_text(self, node: yaml.ScalarNode) -> str:
        value = str(self.construct_scalar(node))
        if not _encodable(value):
            raise yaml.constructor.ConstructorError(
                None, None, "half of a surrogate pair is no character; leave it out", node.start_mark
            )
        return value


_UniqueKeys.add_constructor("tag:yaml.org,2002:int", _UniqueKeys.construct_whole)
_UniqueKeys.add_constructor("tag:yaml.org,2002:float", _UniqueKeys.construct_finite)
_UniqueKeys.add_constructor("tag:yaml.org,2002:str", _UniqueKeys.construct_text)


def _refuse_long(node: yaml.ScalarNode) -> None:
    if len(node.value) > _LONGEST_NUMBER:
        raise yaml.constructor.ConstructorError(None, None, "a number is too long", node.start_mark)


def _nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of nodes, in which each alias counts as what it stands for. An alias inside its own anchor is refused."""
    if id(node) in known:
        if not (count := known[id(node)]):
            raise yaml.composer.ComposerError(
                None, None, "an alias is inside its own anchor", node.start_mark
            )
        return count
    known[id(node)] = 0
    inside: Iterable[yaml.Node] = ()
    if isinstance(node, yaml.MappingNode):
        inside = itertools.chain.from_iterable(node.value)
    elif isinstance(node, yaml.SequenceNode):
        inside = node.value
    count = 1 + sum(_nodes(one, known) for one in inside)
    if count > MOST_YAML_NODES:
        raise yaml.composer.ComposerError(
            None, None, f"has more than {MOST_YAML_NODES:,} keys and values, its aliases replaced; make it smaller",
            node.start_mark,
        )  # fmt: skip
    known[id(node)] = count
    return count


def _encodable(text: str) -> bool:
    """Whether the text can be written: JSON and YAML can spell half of a surrogate pair, which UTF-8 cannot."""
    return text.isascii() or not re.search("[\ud800-\udfff]", text)


def parse_yaml(text: str) -> Any:
    """The content of a YAML text, bounded in size. Raises ValueError with the reason."""
    if len(text) > MOST_YAML_BYTES:
        raise ValueError(f"is larger than {MOST_YAML_BYTES // 2**20} MiB, the most that is read as YAML")
    try:
        return yaml.load(text, Loader=_UniqueKeys)
    except (yaml.YAMLError, ValueError, RecursionError) as e:  # an invalid date, endless nesting
        raise ValueError(str(e).strip()) from None
    except (AttributeError, LookupError, TypeError, ArithmeticError):  # of PyYAML: `!!bool maybe`
        raise ValueError("has a value that its tag (!!…) does not allow; leave the tag out") from None


def read_yaml(path: Path, links: bool = True) -> dict[str, Any]:
    """The mapping of the file, with unique keys. `links`: see `textfile`. Raises Refusal."""
    text = textfile.read(path, links=links)
    try:
        data = parse_yaml(text)
    except ValueError as e:
        raise Refusal(f"{path}: {e}") from None
    if not isinstance(data, dict):
        raise Refusal(f"{path}: has no keys; expected a mapping")
    return data


def parse_json(text: str) -> Any:
    """The content of a JSON text: finite numbers, and text that can be written again. Raises ValueError with the reason."""
    try:
        found = json.loads(text, parse_constant=_no_json, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if "\\u" in text and not _encodable(json.dumps(found, ensure_ascii=False)):
        raise ValueError("half of a surrogate pair is no character")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


def _whole(text: str) -> int:
    if len(text) > 19:  # more than 64 bits, with which neither Arrow nor pandas can compute
        raise ValueError(f"{text[:20]}… is too large a number")
    return int(text)


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def typed(text: str, kind: type, where: str) -> dict[str, Any]:
    """The fields of a dataclass from JSON text that `parse_json` has accepted: exactly its types, with its defaults.

    Unknown fields are left out. Raises Refusal with each wrong field.
    """
    try:
        return asdict(_adapter(kind).validate_json(text, strict=True))
    except ValidationError as e:
        wrong = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'it'}: {error['msg']}" for error in e.errors()[:5]
        )
        raise Refusal(f"{where}: {wrong}; copy the file again from where it was recorded") from None


@functools.cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def load(path: Path, model: type[M], links: bool = True) -> M:
    """The file as a model. `links`: see `textfile`. Raises Refusal with one line for each error."""
    return validate(read_yaml(path, links), model, str(path))


def validate(data: object, model: type[M], where: str) -> M:
    """`data` as a model; `where` begins each line of a refusal."""
    try:
        return model.model_validate(data)
    except ValidationError as e:
        lines = [f"{where}: {_place(data, error['loc'])}{_what(model, error)}" for error in e.errors()]
        raise Refusal("\n".join(lines)) from None


def _place(data: object, loc: Iterable[int | str]) -> str:
    """`steps.0.for` as `step 'gaming-mode': for: `: a list entry is shown by its name if it has one."""
    out: list[str] = []
    here: Any = data
    for part in loc:
        parent, here = here, None
        if isinstance(parent, list) and isinstance(part, int) and part < len(parent):
            here = parent[part]
            singular = out.pop().removesuffix("s") if out else "entry"
            name = here.get("name") if isinstance(here, dict) else None
            out.append(f"{singular} {name!r}" if name else f"{singular} {part + 1}")
        elif isinstance(parent, dict) and part in parent:
            here = parent[part]
            out.append(str(part))
        elif isinstance(parent, dict):
            out.append(str(part))  # a key that is missing
    return "".join(f"{p}: " for p in out)


def _what(model: type[Strict], error: Any) -> str:
    kind, loc = error["type"], error["loc"]
    if kind in ("extra_forbidden", "literal_error"):
        at = _model_at(model, loc[:-1])
        old = loc[-1] if kind == "extra_forbidden" else error["input"]
        if at is not None and isinstance(old, str) and old in at.renamed:
            return f"{old!r} is {at.renamed[old]!r} now"
    if kind == "extra_forbidden":
        return no_such("key", loc[-1], [] if at is None else at.known_keys())
    if kind == "missing":
        return "is missing"
    message = error["msg"]
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _model_at(model: type[Strict], loc: Iterable[int | str]) -> type[Strict] | None:
    """The model at this place; None: there is none."""
    here: Any = model
    for part in loc:
        if isinstance(part, int):  # an entry of a list: `here` is its model already
            continue
        if _is_model(here):
            here = _model_in(here.known_keys().get(str(part)))
    return here if _is_model(here) else None


def _is_model(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Strict)


def _model_in(annotation: Any) -> Any:
    """The model inside `list[Tier]`, `dict[str, Tier]`, `Tier | None` or `Annotated[Tier, …]`."""
    if _is_model(annotation):
        return annotation
    if get_origin(annotation) in (list, tuple, dict, Union, UnionType, Annotated):
        for arg in get_args(annotation):
            found = _model_in(arg)
            if found is not None:
                return found
    return None
