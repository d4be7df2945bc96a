"""The catalogue of faults as an operator reads it, made of the drivers' own docstrings: `docs/faults.md` is this text."""

import inspect

from chaos import faults
from contract.refusal import Refusal, no_such

HEAD = """# Faults

What a timeline may take away, by the word that it is named with. This page is what `python -m chaos faults` prints.
`handle` is what the topology must give chaos to take hold of; `dead-man` is what restores when every process of ours is
gone; what stands under `with` are the options of a step.
"""


def text(name: str | None) -> str:
    """One fault, or all of them. Raises Refusal."""
    if name is not None and name not in faults.names():
        raise Refusal(no_such("fault", name, faults.names()))
    if name is not None:
        return _one(name)
    return "\n".join([HEAD, *(_one(n) for n in faults.names())])


def deadman_of(name: str) -> str:
    """What restores when every process of ours is gone; where it hangs on the handle, the words for that."""
    deadman = faults.driver(name).deadman
    return inspect.getdoc(deadman) or "" if isinstance(deadman, property) else str(deadman)


def _one(name: str) -> str:
    driver = faults.driver(name)
    said = inspect.getdoc(faults.find(name)) or ""
    lines = [
        f"## {name}",
        "",
        said,
        "",
        f"- handle: {' or '.join(driver.kinds)}",
        f"- dead-man: {deadman_of(name)}",
    ]
    if driver.by_sending:
        lines.append("- it is effective only when a question to the tier goes unanswered")
    if driver.by_http:
        lines.append("- it sends requests to its target, with the target's key, headers and authority")
    for key, field in driver.options.model_fields.items():
        default = "required" if field.is_required() else f"default {field.get_default()}"
        lines.append(
            f"- with `{field.alias or key}`: {field.description or ''} ({default})".replace(":  (", " (")
        )
    return "\n".join([*lines, ""])
