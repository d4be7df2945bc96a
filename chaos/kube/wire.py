"""Sends every request to the Kubernetes API: validates the answers strictly, and reloads the credentials after a 401.

The connections come from the kubernetes package's client and its configuration; the requests are plain JSON. The package's
classes for each API would take two seconds of CPU to load, and would drop unknown members when an object is written back.
After a 401 the credentials are reloaded (kubeconfig, tokenFile, plugin, certificate, a Pod's own token) and the request is
sent once more. A kubeconfig that then points to another cluster is not used.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.client.api_client import ApiClient

from chaos.kube.answers import (
    API_ERRORS,
    NotTheApi,
    RequestInfo,
    TooLarge,
    event,
    found,
    line,
    refusal,
    request_info,
    rest_of,
)
from chaos.kube.bounded import bound
from chaos.kube.credentials import Credentials
from contract.refusal import Refusal

MOST_BYTES = 32 * 1024 * 1024  # of an answer
PAGE = 100  # objects of a list that are requested at once
PAGE_MOST_BYTES = 12 * 1024 * 1024  # of a page with several objects; then a smaller one is requested
LIST_WITHIN_S = 120.0  # for all pages of a list
MOST_LINE = 4 * 1024 * 1024  # of an event of a watch
MOST_PARTS = 50_000  # chunks of an event of a watch
CONNECT_S, READ_S = 3, 10  # without them a hung API server blocks forever
LOAD_WITHIN_S = 30.0  # a plugin may wait for a person
# Between two loads; doubles while the API server keeps refusing the loaded credentials: a plugin may need a login each time.
PAUSE_S = 1.0
PAUSE_MOST_S = 10.0
WATCH_BEYOND_S = 5.0  # a watch that its server does not end is ended so much later
KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
_PIECE = 64 * 1024
JSON, MERGE = "application/json", "application/strategic-merge-patch+json"
AGENT = "brownout"  # in the API server's audit log

Load = Callable[[str | None], Credentials]
"""Loads the credentials of a context. Raises Refusal."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A success."""

    headers: Any
    found: dict[str, Any]


def path(*steps: str) -> str:
    """From the server's root; each step is quoted."""
    return "".join(f"/{quote(step, safe='')}" for step in steps)


class _Held:
    """Credentials, and the connections that use them. Immutable: new credentials get a new object."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.pool = bound(ApiClient(credentials.settings).rest_client.pool_manager)

    def send(self, request: "_Request") -> urllib3.BaseHTTPResponse:
        shown = {"Authorization": self.credentials.authorization} if self.credentials.authorization else {}
        response: urllib3.BaseHTTPResponse = self.pool.request(
            request.method, self.credentials.server.host + request.url, headers=request.headers | shown,
            body=request.body, timeout=urllib3.Timeout(connect=CONNECT_S, read=request.read_s), redirect=False,
            preload_content=False,
        )  # fmt: skip
        return response


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str  # from the server's root
    body: bytes | None
    headers: dict[str, str]
    read_s: float
    of: RequestInfo


def _request(
    method: str, path: str, query: dict[str, str], body: dict[str, Any] | None = None, content_type: str = JSON,
    read_s: float | None = None,
) -> _Request:  # fmt: skip
    headers = {"Accept": JSON, "User-Agent": AGENT} | ({} if body is None else {"Content-Type": content_type})
    url = path + (f"?{urlencode(query, safe='/', quote_via=quote)}" if query else "")
    data = None if body is None else json.dumps(body).encode()
    read_s = READ_S if read_s is None else read_s
    return _Request(method, url, data, headers, read_s, request_info(method, path, body))


class Wire:
    """Thread-safe."""

    def __init__(self, load: Load, clock: Callable[[], float] = time.monotonic) -> None:
        self._load, self._clock = load, clock
        self._held = _Held(load(None))
        self._lock = threading.Lock()
        self._loading: _Loading | None = None
        self._pause_s, self._not_before, self._why = 0.0, 0.0, ""
        self.cluster: str | None = None  # its identity, once known

    @property
    def credentials(self) -> Credentials:
        return self._held.credentials

    def get(self, path: str, **query: str) -> Answer:
        """Raises API_ERRORS, as do all requests."""
        return self._answer(_request("GET", path, query))

    def pages(self, path: str, **query: str) -> Iterator[list[dict[str, Any]]]:
        """The items of a list, page by page: others may make it as long as they like, and only a page is in memory."""
        token, limit, over = "", PAGE, self._clock() + LIST_WITHIN_S
        while True:
            more = {"limit": str(limit)} | ({"continue": token} if token else {})
            request = _request("GET", path, query | more)
            try:
                _, data = self._success(
                    request, whole=True, most=min(PAGE_MOST_BYTES, MOST_BYTES) if limit > 1 else MOST_BYTES
                )
            except TooLarge:
                if limit == 1:
                    raise
                limit = max(1, limit // 4)
                continue
            listed = found(request.of, data)
            yield listed["items"]
            before, token = token, rest_of(listed)
            if not token:
                return
            if token == before:
                raise NotTheApi(f"{request.of}: the same page of a list twice")
            if self._clock() > over:
                raise NotTheApi(f"{request.of}: a list that is incomplete after {LIST_WITHIN_S:.0f} s")

    def post(self, path: str, body: dict[str, Any], **query: str) -> Answer:
        return self._answer(_request("POST", path, query, body))

    def put(self, path: str, body: dict[str, Any]) -> Answer:
        return self._answer(_request("PUT", path, {}, body))

    def patch(self, path: str, body: dict[str, Any], **query: str) -> Answer:
        """A strategic merge patch: a member of None is removed."""
        return self._answer(_request("PATCH", path, query, body, MERGE))

    def delete(self, path: str, body: dict[str, Any]) -> Answer:
        return self._answer(_request("DELETE", path, {}, body))

    def watch(self, path: str, seconds: int, **query: str) -> urllib3.BaseHTTPResponse:
        """Watch a list for at most `seconds`. The caller reads the events from the response and closes it."""
        query |= {"timeoutSeconds": str(seconds), "watch": "true"}
        response, _ = self._success(_request("GET", path, query, read_s=seconds + WATCH_BEYOND_S))
        return response

    def _answer(self, request: _Request) -> Answer:
        response, data = self._success(request, whole=True)
        return Answer(response.headers, found(request.of, data))

    def _success(
        self, request: _Request, whole: bool = False, most: int = MOST_BYTES
    ) -> tuple[urllib3.BaseHTTPResponse, bytes]:
        """The response to a granted request, and its body of at most `most` bytes if `whole`."""
        of, held = request.of, self._held
        response, refused = _sent(held, request)
        why = ""
        if response is None or response.status == 401:
            fresh, why = self._renewed(held)
            if fresh is not None:
                if response is not None:
                    _drop(response)
                response, refused = _sent(fresh, request)
        if response is None:
            raise NotTheApi(f"{of}: TLS: {refused}{f' ({why})' if why else ''}")
        if response.status != 401:
            self._pause_s = 0.0
        granted = 200 <= response.status <= 299
        data = _read(response, of, most) if whole or not granted else b""
        if not granted:
            raise refusal(of, response.status, response.headers, data, f" ({why})" if why else "")
        return response, data

    def renew(self) -> None:
        """Reload the credentials before they are refused."""
        self._renewed(self._held)

    def _renewed(self, used: _Held) -> tuple[_Held | None, str]:
        """Replacement for refused credentials, and an empty text; or None, and why there are no better ones."""
        with self._lock:
            if self._held is not used:
                return self._held, ""  # another thread has reloaded them
            if self._clock() < self._not_before:
                return None, self._why
            try:
                fresh = _Held(self._loaded(used.credentials.context))
                self._why = self._wrong(used.credentials, fresh)
            except (Refusal, *API_ERRORS) as e:
                self._why = f"no fresh credential: {line(str(e))}"
            self._pause_s = min(2 * self._pause_s or PAUSE_S, PAUSE_MOST_S)
            self._not_before = self._clock() + self._pause_s
            if self._why:
                return None, self._why
            self._held = fresh
            return fresh, ""

    def _wrong(self, used: Credentials, fresh: _Held) -> str:
        """Why fresh credentials are not used, in words; empty: they are used. Raises what a request raises."""
        same_server = fresh.credentials.server == used.server
        if same_server and fresh.credentials.same_as(used):
            return "reloaded, the credentials are the same"
        if same_server and (used.server.proven or self.cluster is None):
            return ""
        if self.cluster is None:
            return "reloaded, the kubeconfig points to another server"
        # An address and its certificates may change, and an address alone proves nothing: compare the cluster's uid.
        request = _request("GET", KUBE_SYSTEM, {})
        response = fresh.send(request)
        data = _read(response, request.of)
        if response.status != 200:
            raise refusal(request.of, response.status, response.headers, data)
        if found(request.of, data)["metadata"]["uid"] != self.cluster:
            return "reloaded, the kubeconfig points to another cluster"
        return ""

    def _loaded(self, context: str | None) -> Credentials:
        """In its own thread: a plugin that waits for a person must not block a restore forever."""
        if self._loading is None or not self._loading.is_alive():
            self._loading = _Loading(self._load, context)
            self._loading.start()
        self._loading.join(LOAD_WITHIN_S)
        if self._loading.is_alive():
            raise Refusal(f"no response within {LOAD_WITHIN_S:.0f} s")
        return self._loading.result()


class _Loading(threading.Thread):
    def __init__(self, load: Load, context: str | None) -> None:
        super().__init__(name="load credentials", daemon=True)
        self._load, self._context = load, context
        self._made: Credentials | None = None
        self._why = "it was not loaded"

    def run(self) -> None:
        try:
            self._made = self._load(self._context)
        except Refusal as e:
            self._why = str(e)

    def result(self) -> Credentials:
        if self._made is None:
            raise Refusal(self._why)
        return self._made


def events(response: Any, name: str, namespace: str, plural: str) -> Iterator[dict[str, Any]]:
    """The events of a watch. Raises NotTheApi."""
    of = RequestInfo("WATCH", f"{plural} {namespace}/{name}", plural, "", "", namespace)
    parts: list[bytes] = []  # of the event that has no end yet; joined once
    size = 0
    for piece in response.stream(8192, decode_content=False):
        first, *rest = piece.split(b"\n")
        parts.append(first)
        size += len(first)
        for begin in rest:
            if text := b"".join(parts):
                yield event(of, name, text)
            parts, size = [begin], len(begin)
        if size > MOST_LINE or len(parts) > MOST_PARTS:
            raise NotTheApi(f"{of}: an unterminated event")
    if text := b"".join(parts):
        raise NotTheApi(f"{of}: the watch ended inside an event: {text[:80]!r}")


def _sent(held: _Held, request: _Request) -> tuple[urllib3.BaseHTTPResponse | None, str]:
    """None, and why: TLS refuses a certificate, ours or the server's."""
    try:
        return held.send(request), ""
    except urllib3.exceptions.SSLError as e:
        return None, line(str(e))


def _read(response: urllib3.BaseHTTPResponse, of: RequestInfo, most: int = MOST_BYTES) -> bytes:
    """The whole body, up to a size and a time."""
    pieces, size = [], 0
    try:
        while piece := response.read1(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise TooLarge(f"{of}: an answer of more than {most // 1024**2} MiB")
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return b"".join(pieces)


def _drop(response: urllib3.BaseHTTPResponse) -> None:
    """Close a refused response without reading its body, which could be long."""
    response.close()
    response.release_conn()
