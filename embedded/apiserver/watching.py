"""One watch: the events of the selected objects as JSON lines, until its timeout."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from embedded.apiserver.errors import ApiError, expired, not_a_number
from embedded.apiserver.resources import Resource
from embedded.apiserver.selectors import Predicate
from embedded.apiserver.store import Event, Object, Store

# If the client sets no timeout; the real server draws one between 30 and 60 minutes.
TIMEOUT_S = 1800.0
# As observed: the first bookmark shortly before the end, further ones about once a second.
BOOKMARK_BEFORE_END_S = 2.5
BOOKMARK_EVERY_S = 1.05


@dataclass(frozen=True)
class Watch:
    """A client's watch request; `version` None or 0: begins with the existing objects, as synthetic ADDED events."""

    resource: Resource
    namespace: str | None
    selected: Predicate
    version: int | None
    timeout_s: float
    bookmarks: bool

    def sees(self, event: Event) -> tuple[str, Object] | None:
        """The event that this watch sends: ADDED if the object enters the selector, DELETED if it leaves; None: none."""
        if event.resource is not self.resource:
            return None
        now = event.type != "DELETED" and self._selects(event.after)
        before = event.before is not None and self._selects(event.before)
        if now:
            return ("MODIFIED" if before else "ADDED"), event.after
        return ("DELETED", event.after) if before else None

    def _selects(self, obj: Object) -> bool:
        return (self.namespace is None or obj["metadata"]["namespace"] == self.namespace) and self.selected(
            obj
        )

    async def events(self, store: Store, closing: asyncio.Event) -> AsyncGenerator[tuple[str, Object], None]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        unlisten = store.listen(queue.put_nowait)
        try:
            if self.version and self.version < store.forgotten:
                yield "ERROR", expired(self.version, store.forgotten).status
                return
            for event in self._begin(store):
                yield event
            async with aclosing(self._until_timeout(queue, store, closing)) as heard:
                async for event in heard:
                    yield event
        finally:
            unlisten()

    def _begin(self, store: Store) -> list[tuple[str, Object]]:
        if not self.version:
            return [("ADDED", obj) for obj in store.list(self.resource, self.namespace) if self.selected(obj)]
        seen = (self.sees(event) for event in store.since(self.version, self.resource))
        return [event for event in seen if event]

    async def _until_timeout(
        self, queue: asyncio.Queue[Event], store: Store, closing: asyncio.Event
    ) -> AsyncGenerator[tuple[str, Object], None]:
        clock = asyncio.get_running_loop().time
        end = clock() + self.timeout_s
        bookmark_at = (
            max(clock() + self.timeout_s / 2, end - BOOKMARK_BEFORE_END_S) if self.bookmarks else end
        )
        shut = asyncio.create_task(closing.wait())
        getting = asyncio.create_task(queue.get())
        try:
            while clock() < end and not shut.done():
                left_s = max(0.0, min(end, bookmark_at) - clock())
                await asyncio.wait({getting, shut}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    event, getting = getting.result(), asyncio.create_task(queue.get())
                    if seen := self._after_start(event):
                        yield seen
                elif self.bookmarks and bookmark_at <= clock() < end:
                    bookmark_at += BOOKMARK_EVERY_S
                    yield "BOOKMARK", self._bookmark(store.version)
        finally:
            shut.cancel()
            getting.cancel()

    def _after_start(self, event: Event) -> tuple[str, Object] | None:
        # A watch from a future version sends nothing until then.
        return None if self.version and event.version <= self.version else self.sees(event)

    def _bookmark(self, version: int) -> Object:
        return {
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version,
            "metadata": {"resourceVersion": str(version)},
        }


def version_of(text: str) -> int | None:
    """The resourceVersion of a watch; for one that is not a number, the server answers 500."""
    if not text:
        return None
    if not text.isdecimal():
        raise ApiError(500, not_a_number(text))
    return int(text)
