"""How every engine handles a request: parse it, record it, answer or refuse it. A personality, one per file in
personalities/, defines the format.
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
from embedded.engine.engine import Behaviour, CoreDied, Engine
from embedded.engine.fault import AnswerEnded, Hit
from embedded.engine.ledger import Entry, read
from embedded.engine.openai import JSON, to_json
from embedded.engine.options import Defaults
from embedded.engine.refusal import Refusal
from embedded.engine.shape import Shape
from embedded.engine.slots import Full
from embedded.engine.wire import Reply, Request

# llama.cpp's body, on every path.
LOADING = b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'

Page = Callable[[], tuple[str, bytes]]
Action = Callable[[Request], dict[str, Any]]
ShapeMaker = Callable[[Reply, CompletionRequest, Entry], Shape]


class Personality(ABC):
    defaults: ClassVar[Defaults]
    behaviour: ClassVar[Behaviour]
    health: ClassVar[tuple[str, ...]]
    """The pages that report health."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.requests: dict[str, tuple[Reader, ShapeMaker]] = {}
        self.pages: dict[str, Page] = {}
        self.actions: dict[str, Action] = {}
        """What a POST does; returns the JSON answer; may raise a Refusal."""
        self._control = control.Control(engine.faults, faults.load())

    @abstractmethod
    def problem(self, status: int, message: str, param: str | None = None) -> Refusal:
        """An error in this engine's format."""

    def unknown_path(self, request: Request) -> Refusal:
        """404: the path does not exist."""
        return self.problem(404, "Not Found")

    @abstractmethod
    def overloaded(self) -> Refusal:
        """The queue is full."""

    @abstractmethod
    def limited(self) -> Refusal:
        """The client exceeds its rate limit."""

    @abstractmethod
    def failed(self) -> Refusal:
        """Internal error."""

    @abstractmethod
    def unavailable(self) -> Refusal:
        """The engine does not serve now."""

    @abstractmethod
    def too_long(self, completion: CompletionRequest, longest: int) -> Refusal:
        """The request does not fit into a context of `longest` tokens."""

    def admit(self, request: Request) -> None:  # noqa: B027  most require no key
        """Raises a Refusal if the client is not authorized."""

    def check(self, request: Request, completion: CompletionRequest) -> None:  # noqa: B027
        """Raises a Refusal for a well-formed request that this engine cannot serve."""

    def in_api_format(self, request: Request, refusal: Refusal) -> Refusal:
        """The same refusal, in the format of the requested API."""
        return refusal

    def is_authorized(self, request: Request) -> bool:
        """Whether the request has the engine's API key. Every page requires it, the health page too, as behind an
        authenticating proxy (KServe's, with auth enabled). vLLM's own --api-key protects /v1 only."""
        key = self.engine.options.api_key
        return key is None or request.headers.get("authorization", "") == f"Bearer {key}"

    async def __call__(self, request: Request, reply: Reply) -> None:
        ours = request.path in ("/ledger", control.PATH)
        if not ours and not self.is_authorized(request):
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
            status, answer = self._control.answer(request)
            reply.whole(status, JSON, to_json(answer))
        else:
            refusal = self.unknown_path(request)
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
                    await hit.on_request(completion)
                self.admit(request)
                if completion is None:
                    raise self.problem(400, bad.message, bad.param)
                self.check(request, completion)
                shape = shape_for(reply, completion, entry)
                try:
                    await self.engine.answer(completion, entry, shape, self.behaviour, hit)
                except Full:
                    raise self.overloaded() from None
            except Refusal as refusal:
                entry.how, entry.status = "refused", refusal.status
                if reply.opened and shape is not None:
                    shape.refuse(self._encoded(request, refusal))
                else:
                    reply.whole(refusal.status, JSON, self._encoded(request, refusal), refusal.headers)
            except AnswerEnded as ended:
                entry.how = ended.how
            except CoreDied:
                self._end_with_error(reply, shape, entry, self._encoded(request, self.failed()))
            finally:
                if reply.opened and entry.status is None:
                    entry.status = 200

    def _end_with_error(self, reply: Reply, shape: Shape | None, entry: Entry, body: bytes) -> None:
        """Ends an answer as the core's death does."""
        entry.how = "abort"
        if reply.opened and shape is not None:
            shape.refuse(body)
        else:
            entry.status = 500
            reply.whole(500, JSON, body)

    def _encoded(self, request: Request, refusal: Refusal) -> bytes:
        return to_json(self.in_api_format(request, refusal).body)

    def _hit(
        self, request: Request, completion: CompletionRequest | None, entry: Entry, reply: Reply
    ) -> Hit | None:
        """The active fault, if it hits this request."""
        key = entry.nonce or (completion.prompt if completion else request.body.decode(errors="replace"))
        active = self.engine.faults.hits(key)
        return Hit(active, entry, reply, self, partial(self._encoded, request)) if active else None

    def _is_healthy(self) -> bool:
        if self.engine.core_dead:
            return False
        active = self.engine.faults.active
        return active is None or active.fault.is_healthy(active.age_s)

    async def _show_ledger(self, reply: Reply) -> None:
        path = self.engine.ledger.path
        if path is None:
            reply.whole(
                404, JSON, to_json({"error": "this engine has no ledger; start it with --ledger PATH"})
            )
            return
        # In a thread: reading the ledger of a long run must not delay tokens that become due meanwhile.
        entries = await asyncio.to_thread(lambda: to_json([asdict(entry) for entry in read(path)]))
        reply.whole(200, JSON, entries)


def _read(reader: Reader, raw: bytes) -> tuple[CompletionRequest | None, BadRequest]:
    """(the request, empty error), or (None, the error)."""
    try:
        body = json.loads(raw)
        if not isinstance(body, dict):
            raise BadRequest("the body must be a JSON object.")
        return reader(body), BadRequest("")
    except ValueError as error:
        return None, BadRequest(f"the body is not JSON: {error}")
    except BadRequest as bad:
        return None, bad
