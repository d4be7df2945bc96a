"""Compares an answer with a recorded one: everything must be equal except the fields in MASKS.

A renamed value may be another one, but must be the same one wherever the recorded one is the same.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

RENAMED, TIME, RELATIVE, FREE, SORTED, ENDS = (
    "renamed",
    "a time",
    "relative",
    "free",
    "sorted",
    "head and tail",
)

# field (a key, or a path pattern), how it is compared, why it is not compared as is
MASKS: list[tuple[str, str, str]] = [
    (r"(^|\.)metadata\.resourceVersion$", RENAMED, "a counter; of a list only that it is there"),
    (r"^items$", SORTED, "in the order of names, whose ends are random"),
    (r"(^|\.)uid$", RENAMED, "random"),
    (
        r"creationTimestamp$|deletionTimestamp$|startTime$|startedAt$|finishedAt$",
        TIME,
        "when it was recorded",
    ),
    (r"last(Update|Transition)Time$|last-change-trigger-time$", TIME, "when it was recorded"),
    (r"(^|\.)(generation|observedGeneration)$", RELATIVE, "counts from the first one seen in the file"),
    (r"hostIP$|podIP$|podIPs\.\d+\.ip$|addresses\.\d+$", FREE, "Pods are processes on 127.0.0.1"),
    (r"nodeName$", FREE, "the name of the machine"),
    (r"pod-template-hash$", RENAMED, "another hash of another template"),
    (r"controller-revision-hash$|(current|update)Revision$", RENAMED, "another hash of another template"),
    (r"serverAddress$", FREE, "host and port"),
    (r"status\.conditions$", SORTED, "their order depends on what was scaled before the recording began"),
    (r"columnDefinitions\.\d+\.description$", FREE, "left out of the recordings"),
    (r"rows\.\d+\.cells\.4$", FREE, "the age"),
    (r"(^|\.)message$", ENDS, "the middle of long ones was left out of the recordings"),
]

# Fields that only our answers have, and why.
ONLY_OURS = {
    "command": "a Pod is a process",
    "managedFields": "left out of the recordings",
    "readinessProbe": "the recordings' Pods were made ready by a simulated kubelet",
    "brownout.dev/pid": "the process of the Pod, for tests and faults",
    "brownout.dev/embedded": "how the harness knows the embedded cluster",
}
# Fields that only the real server's answers have, and why.
ONLY_THEIRS = {"storageVersionHash": "nothing is stored here"}

HASHED = re.compile(
    r"\b(vllm-server|ollama|tgi)-[a-z0-9]{8,10}(-[a-z0-9]{5})?\b|\b(vllm-server|ollama)-[a-z0-9]{5}\b"
)
TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
LEFT_OUT = re.compile(r" \[\.\.\. \d+ characters left out \.\.\.\] ")
VERSION_IN_TEXT = re.compile(r'(resourceVersion\\*":\\*")(\d+)')
UIDS = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def load(name: str) -> list[dict[str, Any]]:
    """The exchanges of a recording; `same_body_as` is resolved."""
    exchanges: list[dict[str, Any]] = json.loads((HERE / f"{name}.json").read_text())["exchanges"]
    for exchange in exchanges:
        response = exchange["response"]
        if "same_body_as" in response:
            response["body"] = exchanges[response["same_body_as"]]["response"]["body"]
    return exchanges


@functools.cache
def _how(path: str) -> str | None:
    return next((how for pattern, how, _ in MASKS if re.search(pattern, path)), None)


def _order(entry: dict[str, Any]) -> str:
    """Sort key: conditions by type, Pods by phase; everything else keeps its order."""
    return str(entry["type"] if "type" in entry else (entry.get("status") or {}).get("phase", ""))


def _without_version(listed: dict[str, Any]) -> dict[str, Any]:
    """A list's version is that of the whole store, which other writers change: only its presence counts."""
    meta = dict(listed["metadata"])
    if meta.get("resourceVersion", "").isdecimal():
        meta["resourceVersion"] = None
    return {**listed, "metadata": meta}


class Comparison:
    """Maps recorded values to ours across the exchanges of one file."""

    def __init__(self) -> None:
        self.ours: dict[str, str] = {}
        self.first: dict[str, tuple[int, int]] = {}
        self.lists: dict[str, str] = {}
        self.racing = False

    def translate(self, text: str, unknown_version: str = "1") -> str:
        """A recorded request with our values; an unknown version counts as an old one."""
        text = UIDS.sub(lambda m: self.ours.get(m[0], m[0]), text)
        text = re.sub(
            r'("resourceVersion": ?"|resourceVersion=)(\d+)',
            lambda m: (
                m[1]
                + (
                    m[2]
                    if m[2] == "99999999"
                    else self.ours.get(f"rv {m[2]}", self.lists.get(m[2], unknown_version))
                )
            ),
            text,
        )
        # The longest first: a Pod's name begins with its ReplicaSet's.
        for theirs, ours in sorted(self.ours.items(), key=lambda pair: -len(pair[0])):
            if HASHED.fullmatch(theirs):
                text = text.replace(theirs, ours)
        return text

    def matches(self, theirs: Any, ours: Any) -> list[str]:
        """The differences; new mappings are kept only if there are none."""
        kept = dict(self.ours), dict(self.first)
        if (
            isinstance(theirs, dict)
            and theirs.get("kind", "").endswith(("List", "Table"))
            and "metadata" in ours
        ):
            versions = (
                theirs["metadata"].get("resourceVersion", ""),
                ours["metadata"].get("resourceVersion", ""),
            )
            self.lists[versions[0]] = versions[1]
            theirs, ours = _without_version(theirs), _without_version(ours)
        found = list(self._differences(theirs, ours, "", ""))
        if found:
            self.ours, self.first = kept
        return found

    def _differences(self, theirs: Any, ours: Any, path: str, owner: str) -> Iterator[str]:
        how = _how(path)
        if isinstance(theirs, dict) and isinstance(ours, dict):
            yield from self._objects(theirs, ours, path, owner)
        elif isinstance(theirs, list) and isinstance(ours, list):
            if how == SORTED:
                theirs, ours = (sorted(value, key=_order) for value in (theirs, ours))
            if len(theirs) != len(ours):
                yield f"{path}: {len(theirs)} recorded, {len(ours)} of ours"
            for index, (their, our) in enumerate(zip(theirs, ours, strict=False)):
                yield from self._differences(their, our, f"{path}.{index}".lstrip("."), owner)
        elif not self._equal(theirs, ours, how, path, owner):
            yield f"{path}: recorded {theirs!r}, ours {ours!r}"

    def _objects(self, theirs: dict[str, Any], ours: dict[str, Any], path: str, owner: str) -> Iterator[str]:
        owner = (theirs.get("metadata") or {}).get("uid", owner) if "metadata" in theirs else owner
        mine = {key: value for key, value in ours.items() if key not in ONLY_OURS or key in theirs}
        if (
            path.endswith("metadata")
            and mine.get("annotations")
            and not set(mine["annotations"]) - set(ONLY_OURS)
        ):
            del mine["annotations"]  # only our own annotations
        expected = {key: value for key, value in theirs.items() if key not in ONLY_THEIRS or key in ours}
        for key in expected.keys() - mine.keys():
            yield f"{path}.{key}: absent from ours, recorded {expected[key]!r}"
        for key in mine.keys() - expected.keys():
            yield f"{path}.{key}: only in ours: {mine[key]!r}"
        for key in expected.keys() & mine.keys():
            yield from self._differences(expected[key], mine[key], f"{path}.{key}".lstrip("."), owner)

    def _equal(self, theirs: Any, ours: Any, how: str | None, path: str, owner: str) -> bool:
        if how == FREE:
            return type(theirs) is type(ours)
        if theirs is None or ours is None:
            return theirs is ours
        if how == TIME:
            return bool(TIMES.fullmatch(theirs) and TIMES.fullmatch(ours))
        if how == RELATIVE:
            return self._relative(theirs, ours, path, owner)
        if how == RENAMED:
            if path.endswith("resourceVersion"):
                return self._renamed(f"rv {theirs}", ours)
            return self._renamed(theirs, ours)
        if isinstance(theirs, str) and isinstance(ours, str):
            return self._texts(theirs, ours, how)
        return type(theirs) is type(ours) and theirs == ours

    def _texts(self, theirs: str, ours: str, how: str | None) -> bool:
        if HASHED.fullmatch(theirs) and HASHED.fullmatch(ours):
            return self._renamed(theirs, ours) and HASHED.sub(r"\1\3", theirs) == HASHED.sub(r"\1\3", ours)
        for their, our in zip(UIDS.findall(theirs), UIDS.findall(ours), strict=False):
            self._renamed(their, our)
        for their, our in zip(VERSION_IN_TEXT.findall(theirs), VERSION_IN_TEXT.findall(ours), strict=False):
            self._renamed(f"rv {their[1]}", our[1])
        theirs = UIDS.sub(lambda m: self.ours.get(m[0], m[0]), theirs)
        theirs = VERSION_IN_TEXT.sub(lambda m: m[1] + self.ours.get(f"rv {m[2]}", m[2]), theirs)
        theirs, ours = (HASHED.sub(r"\1\3-(hash)", TIMES.sub("(time)", text)) for text in (theirs, ours))
        if how == ENDS and (cut := LEFT_OUT.split(theirs))[1:]:
            # Compares the beginning of the printed object, and the whole complaint after it.
            return ours.startswith(cut[0][:90]) and ours.endswith(cut[1][cut[1].rindex('}]}}"') :])
        return theirs == ours

    def _renamed(self, theirs: str, ours: str) -> bool:
        known = self.ours.setdefault(theirs, ours)
        return known == ours and list(self.ours.values()).count(ours) <= 1

    def _relative(self, theirs: int, ours: int, path: str, owner: str) -> bool:
        if self.racing and path.endswith("observedGeneration"):
            return True
        first = self.first.setdefault(owner, (theirs, ours))
        return theirs - first[0] == ours - first[1]
