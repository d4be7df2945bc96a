"""What all engines do alike with a request: read it, write it down, answer or refuse it. A personality, one file each
in personalities/, says what it looks like.
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, ClassVar

from embedded.engine import control, faults
from embedded.engine.completion_request import BadRequest, CompletionRequest, Reader, find_nonce
from embedded.engine.engine import Died, Engine, Manners
from embedded.engine.fault import Hit, Over
from embedded.engine.ledger import Entry, read
from embedded.engine.openai import JSON, to_json
from embedded.engine.options import Defaults
from embedded.engine.refusal import Refusal
from embedded.engine.shape import Shape
from embedded.engine.slots import Full
from embedded.engine.wire import Reply, Request

# llama.cpp's words, on every path.
LOADING = b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'

Page = Callable[[], tuple[str, bytes]]
Action = Callable[[Request], dict[str, Any]]
ShapeMaker = Callable[[Reply, CompletionRequest, Entry], Shape]


class Personality(ABC):
    defaults: ClassVar[Defaults]
    manners: ClassVar[Manners]
    health: ClassVar[tuple[str, ...]]
    """The pages by which others tell whether it lives."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.requests: dict[str, tuple[Reader, ShapeMaker]] = {}
        self.pages: dict[str, Page] = {}
        self.actions: dict[str, Action] = {}
        """What a POST does, and the JSON that it is answered with; may raise a Refusal."""
        self._control = control.Control(engine.faults, faults.load())

    @abstractmethod
    def problem(self, status: int, message: str, param: str | None = None) -> Refusal:
        """An error as this engine says it."""

    def nowhere(self, request: Request) -> Refusal:
        """No such path."""
        return self.problem(404, "Not Found")

    @abstractmethod
    def overloaded(self) -> Refusal:
        """Too many wait already."""

    @abstractmethod
    def limited(self) -> Refusal:
        """This client asks too often."""

    @abstractmethod
    def failed(self) -> Refusal:
        """Something went wrong inside."""

    @abstractmethod
    def unavailable(self) -> Refusal:
        """It does not serve now."""

    @abstractmethod
    def too_long(self, completion: CompletionRequest, longest: int) -> Refusal:
        """The request does not fit into the model's context."""

    def admit(self, request: Request) -> None:  # noqa: B027  most ask for no key
        """Raises a Refusal for who may not ask at all."""

    def check(self, request: Request, completion: CompletionRequest) -> None:  # noqa: B027
        """Raises a Refusal for a well-formed ask that this engine cannot serve."""

    def reworded(self, request: Request, refusal: Refusal) -> Refusal:
        """The same refusal, as the API that was asked says it."""
        return refusal

    def lets_in(self, request: Request) -> bool:
        """Whether the key fits that the engine was started with: as behind a proxy that authenticates (KServe's, with auth
        enabled), which guards every page, the health page too. vLLM's own --api-key guards /v1 alone."""
        wanted = self.engine.options.api_key
        return wanted is None or request.headers.get("authorization", "") == f"Bearer {wanted}"

    async def __call__(self, request: Request, reply: Reply) -> None:
        ours = request.path in ("/ledger", control.PATH)
        if not ours and not self.lets_in(request):
            reply.whole(401, "text/plain", b"Unauthorized")
        elif not ours and self.engine.starting:
            reply.whole(503, JSON, LOADING)
        elif request.method == "POST" and request.path in self.requests:
            await self._complete(request, reply)
        elif request.method in ("GET", "HEAD") and request.path == "/ledger":
            await self._show_ledger(reply)
        elif request.method in ("GET", "HEAD") and request.path in self.pages:
            if request.path in self.health and not self._is_healthy():
                reply.whole(503, "", b"")
                return
            content_type, body = self.pages[request.path]()
            reply.whole(200, content_type, body)
        elif request.method == "POST" and request.path in self.actions:
            self._act(request, reply)
        elif request.path == control.PATH:
            status, told = self._control.answer(request)
            reply.whole(status, JSON, to_json(told))
        else:
            refusal = self.nowhere(request)
            reply.whole(refusal.status, JSON, to_json(refusal.body))

    def _act(self, request: Request, reply: Reply) -> None:
        try:
            reply.whole(200, JSON, to_json(self.actions[request.path](request)))
        except Refusal as refusal:
            reply.whole(refusal.status, JSON, to_json(refusal.body))

    async def _complete(self, request: Request, reply: Reply) -> None:
        reader, shape_for = self.requests[request.path]
        completion, bad = _read(reader, request.body)
        with self.engine.ledger.completion(
            nonce=completion.nonce if completion else find_nonce(request.body.decode(errors="replace")),
            path=request.path,
            stream=completion.stream if completion else False,
            max_tokens=completion.max_tokens if completion else None,
            arrived_at=request.arrived_at,
        ) as entry:
            shape: Shape | None = None
            hit = self._hit(request, completion, entry, reply)
            try:
                if hit is not None:
                    await hit.at_door(completion)
                self.admit(request)
                if completion is None:
                    raise self.problem(400, bad.message, bad.param)
                self.check(request, completion)
                shape = shape_for(reply, completion, entry)
                try:
                    await self.engine.answer(completion, entry, shape, self.manners, hit)
                except Full:
                    raise self.overloaded() from None
            except Refusal as refusal:
                entry.how, entry.status = "refused", refusal.status
                if reply.opened and shape is not None:
                    shape.refuse(self._said(request, refusal))
                else:
                    reply.whole(refusal.status, JSON, self._said(request, refusal), refusal.headers)
            except Over as over:
                entry.how = over.how
            except Died:
                self._end_with_error(reply, shape, entry, self._said(request, self.failed()))
            finally:
                if reply.opened and entry.status is None:
                    entry.status = 200

    def _end_with_error(self, reply: Reply, shape: Shape | None, entry: Entry, body: bytes) -> None:
        """As the core's death ends an answer."""
        entry.how = "abort"
        if reply.opened and shape is not None:
            shape.refuse(body)
        else:
            entry.status = 500
            reply.whole(500, JSON, body)

    def _said(self, request: Request, refusal: Refusal) -> bytes:
        return to_json(self.reworded(request, refusal).body)

    def _hit(
        self, request: Request, completion: CompletionRequest | None, entry: Entry, reply: Reply
    ) -> Hit | None:
        """The fault that is set, where it hits this request."""
        key = entry.nonce or (completion.prompt if completion else request.body.decode(errors="replace"))
        standing = self.engine.faults.hits(key)
        return Hit(standing, entry, reply, self, partial(self._said, request)) if standing else None

    def _is_healthy(self) -> bool:
        if self.engine.dead:
            return False
        standing = self.engine.faults.standing
        return standing is None or standing.fault.is_healthy(standing.age_s)

    async def _show_ledger(self, reply: Reply) -> None:
        path = self.engine.ledger.path
        if path is None:
            reply.whole(
                404, JSON, to_json({"error": "no ledger is kept; start the engine with --ledger PATH"})
            )
            return
        # In a thread: the ledger of a long run must not hold up the tokens that fall due meanwhile.
        entries = await asyncio.to_thread(lambda: to_json([asdict(entry) for entry in read(path)]))
        reply.whole(200, JSON, entries)


def _read(reader: Reader, raw: bytes) -> tuple[CompletionRequest | None, BadRequest]:
    """The request, or what is wrong with it."""
    try:
        body = json.loads(raw)
        if not isinstance(body, dict):
            raise BadRequest("the body must be a JSON object.")
        return reader(body), BadRequest("")
    except ValueError as error:
        return None, BadRequest(f"the body is not JSON: {error}")
    except BadRequest as bad:
        return None, bad
