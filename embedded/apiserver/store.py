"""The objects of the cluster, their versions, and the event log.

Objects in the store and in the log are never changed in place: `put` takes a new one, `get` and `list` return copies.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from embedded.apiserver.resources import Resource

Object = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One change. `before` lets a watch detect that an object left its selector; None for ADDED."""

    version: int
    type: str
    resource: Resource
    after: Object
    before: Object | None


class Store:
    """Synchronous and single-threaded: there are no other writes between two awaits."""

    def __init__(self, event_log: int) -> None:
        self.version = 1
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._log: deque[Event] = deque(maxlen=event_log)
        self._listeners: list[Callable[[Event], None]] = []
        # The newest version whose event is no longer in the log.
        self.forgotten = 0

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return copy.deepcopy(self._of(resource).get((namespace, name)))

    def list(self, resource: Resource, namespace: str | None = None) -> list[Object]:
        """In key order, as in etcd; namespace None: all namespaces."""
        found = sorted(self._of(resource).items())
        return [copy.deepcopy(obj) for key, obj in found if namespace is None or key[0] == namespace]

    def put(self, resource: Resource, obj: Object) -> Object:
        """Writes the object if it differs from the stored one; only then the version changes."""
        key = _key(obj)
        before = self._of(resource).get(key)
        if before is not None and before == {**obj, "metadata": {**obj["metadata"], **_version(before)}}:
            return copy.deepcopy(before)
        after = self._versioned(obj)
        self._of(resource)[key] = after
        self._notify(Event(self.version, "MODIFIED" if before else "ADDED", resource, after, before))
        return copy.deepcopy(after)

    def remove(self, resource: Resource, namespace: str, name: str) -> Object | None:
        before = self._of(resource).pop((namespace, name), None)
        if before is None:
            return None
        after = self._versioned(before)
        self._notify(Event(self.version, "DELETED", resource, after, before))
        return after

    def since(self, version: int, resource: Resource) -> Sequence[Event]:
        """The events of a resource after a version; the caller must check `forgotten` first."""
        newer: deque[Event] = deque()
        for event in reversed(self._log):
            if event.version <= version:
                break
            if event.resource is resource:
                newer.appendleft(event)
        return newer

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Calls the listener with every event from now on; returns a function that removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _of(self, resource: Resource) -> dict[tuple[str, str], Object]:
        return self._objects.setdefault(f"{resource.group}/{resource.plural}", {})

    def _versioned(self, obj: Object) -> Object:
        self.version += 1
        after = copy.deepcopy(obj)
        after["metadata"]["resourceVersion"] = str(self.version)
        return after

    def _notify(self, event: Event) -> None:
        if len(self._log) == self._log.maxlen:
            self.forgotten = self._log[0].version
        self._log.append(event)
        for listener in list(self._listeners):
            listener(event)


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _version(obj: Object) -> dict[str, str]:
    return {"resourceVersion": obj["metadata"]["resourceVersion"]}
