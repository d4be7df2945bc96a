"""One watch: JSON lines of what happens to the objects of a selector, until its time is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from embedded.apiserver.errors import ApiError, expired, not_a_number
from embedded.apiserver.resources import Resource
from embedded.apiserver.selectors import Predicate
from embedded.apiserver.store import Event, Object, Store

# Where the client names no timeout; the real server draws one between 30 and 60 minutes.
TIMEOUT_S = 1800.0
# As seen: the first bookmark a little before the end, further ones about once a second.
BOOKMARK_BEFORE_END_S = 2.5
BOOKMARK_EVERY_S = 1.05


@dataclass(frozen=True)
class Watch:
    """What a client asked for; `version` None or 0 begins with what is there, as synthetic ADDED events."""

    resource: Resource
    namespace: str | None
    selected: Predicate
    version: int | None
    timeout_s: float
    bookmarks: bool

    def sees(self, event: Event) -> tuple[str, Object] | None:
        """The event as this watch tells it: an object that comes into the selector is ADDED, one that leaves is DELETED."""
        if event.resource is not self.resource:
            return None
        now = event.type != "DELETED" and self._wants(event.after)
        before = event.before is not None and self._wants(event.before)
        if now:
            return ("MODIFIED" if before else "ADDED"), event.after
        return ("DELETED", event.after) if before else None

    def _wants(self, obj: Object) -> bool:
        return (self.namespace is None or obj["metadata"]["namespace"] == self.namespace) and self.selected(
            obj
        )

    async def events(self, store: Store, closing: asyncio.Event) -> AsyncGenerator[tuple[str, Object], None]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        deaf = store.listen(queue.put_nowait)
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
            deaf()

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
        # A watch from the future is silent until then.
        return None if self.version and event.version <= self.version else self.sees(event)

    def _bookmark(self, version: int) -> Object:
        return {
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version,
            "metadata": {"resourceVersion": str(version)},
        }


def version_of(text: str) -> int | None:
    """The resourceVersion of a watch; what is no number is the server's own error there, with a 500."""
    if not text:
        return None
    if not text.isdecimal():
        raise ApiError(500, not_a_number(text))
    return int(text)
