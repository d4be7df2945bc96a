"""YAML into a strict model: all errors of a file in one message, each with its place and the correction."""

import math
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

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


class _UniqueKeys(yaml.SafeLoader):
    """Refuses duplicate keys. YAML would keep the last one, although the other may be the intended one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
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

    def construct_finite(self, node: yaml.ScalarNode) -> float:
        value = float(self.construct_yaml_float(node))
        if not math.isfinite(value):
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"{node.value} is not a finite number; write one, or leave the key out",
                node.start_mark,
            )
        return value


_UniqueKeys.add_constructor("tag:yaml.org,2002:float", _UniqueKeys.construct_finite)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping of the file, with unique keys. Raises Refusal."""
    text = textfile.read(path)
    try:
        data = yaml.load(text, Loader=_UniqueKeys)
    except (yaml.YAMLError, ValueError, RecursionError) as e:  # an invalid date, endless nesting
        raise Refusal(f"{path}: {str(e).strip()}") from None
    if not isinstance(data, dict):
        raise Refusal(f"{path}: has no keys; expected a mapping")
    return data


def load(path: Path, model: type[M]) -> M:
    """The file as a model. Raises Refusal with one line for each error."""
    return validate(read_yaml(path), model, str(path))


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
