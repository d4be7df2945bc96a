"""The catalogue of faults, generated from the drivers' docstrings: `docs/faults.md` is this text."""

import inspect

from chaos import faults
from contract.refusal import Refusal, no_such

HEAD = """# Faults

The faults of a timeline, by name. `python -m chaos faults` prints this page. `handle`: the handle that the topology must
give the target. `dead-man`: what restores after every chaos process was killed. `with`: the options of a step.
"""


def text(name: str | None) -> str:
    """One fault, or all of them. Raises Refusal."""
    if name is not None and name not in faults.names():
        raise Refusal(no_such("fault", name, faults.names()))
    if name is not None:
        return _one(name)
    return "\n".join([HEAD, *(_one(n) for n in faults.names())])


def deadman_of(name: str) -> str:
    """What restores after every chaos process was killed; where it depends on the handle, the text that describes it."""
    deadman = faults.driver(name).deadman
    return inspect.getdoc(deadman) or "" if isinstance(deadman, property) else str(deadman)


def _one(name: str) -> str:
    driver = faults.driver(name)
    described = inspect.getdoc(faults.find(name)) or ""
    lines = [
        f"## {name}",
        "",
        described,
        "",
        f"- handle: {' or '.join(driver.kinds)}",
        f"- dead-man: {deadman_of(name)}",
    ]
    if driver.by_sending:
        lines.append("- it is effective only when a request to the tier gets no answer")
    if driver.by_http:
        lines.append("- it sends requests to its target, with the target's key, headers and authority")
    for key, field in driver.options.model_fields.items():
        default = "required" if field.is_required() else f"default {field.get_default()}"
        lines.append(
            f"- with `{field.alias or key}`: {field.description or ''} ({default})".replace(":  (", " (")
        )
    return "\n".join([*lines, ""])
