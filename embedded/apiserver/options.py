"""The query options of a write: dryRun, fieldManager and fieldValidation. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from embedded.apiserver.errors import invalid

VALIDATIONS = ("", "Ignore", "Strict", "Warn")


@dataclass
class Options:
    """`warnings` is filled during the write, and sent in the answer's Warning headers."""

    dry_run: bool = False
    validation: str = "Warn"
    manager: str = "unknown"  # the owner of the written fields
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, query: Mapping[str, str], verb: str, agent: str = "") -> Options:
        """`agent`: the User-Agent; its first word is the manager if fieldManager is not given."""
        kind = {"create": "CreateOptions", "update": "UpdateOptions", "delete": "DeleteOptions"}.get(
            verb, "PatchOptions"
        )
        dry_run = query.get("dryRun", "")
        if dry_run not in ("", "All"):
            message = f'Unsupported value: ["{dry_run}"]: supported values: "All"'
            raise invalid(kind, "meta.k8s.io", "", "dryRun", message, "FieldValueNotSupported")
        validation = query.get("fieldValidation", "")
        if validation not in VALIDATIONS:
            named = ", ".join(f'"{value}"' for value in VALIDATIONS)
            message = f'Unsupported value: "{validation}": supported values: {named}'
            raise invalid(kind, "meta.k8s.io", "", "fieldValidation", message, "FieldValueNotSupported")
        manager = query.get("fieldManager") or agent.partition("/")[0] or "unknown"
        return cls(dry_run == "All", validation or "Warn", manager)

    def warn(self, unknown: list[str]) -> None:
        if self.validation == "Warn":
            self.warnings += [f'unknown field "{path}"' for path in unknown]
