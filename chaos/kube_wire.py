"""The one way of every request to the Kubernetes API: strict about what comes back, and with fresh credentials after a 401.

It stands where the client has its pool of connections. On a 401 the credentials are loaded anew (kubeconfig, tokenFile,
plugin, certificate, a Pod's own token) and the request is made once more. A kubeconfig that leads to another cluster by
then is not followed.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes import client

from chaos.credentials import Credentials
from chaos.kube_answers import TROUBLE, Asked, NotTheApi, asked, event, found, line, refusal
from contract.refusal import Refusal

MOST_BYTES = 32 * 1024 * 1024  # of an answer
MOST_LINE = 4 * 1024 * 1024  # of an event of a watch
WITHIN_S = 20.0  # for the whole of an answer; each part of it has the timeout of the request
LOAD_WITHIN_S = 30.0  # a plugin may wait for a person
# Between two loads, doubled while the API server goes on refusing what is loaded: plugins may cost a login each.
PAUSE_S = 1.0
PAUSE_MOST_S = 10.0
KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
_PIECE = 64 * 1024

Load = Callable[[str | None], Credentials]
"""Loads the credentials of a context. Raises Refusal."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A success, as the client hands it on."""

    status: int
    reason: str | None
    headers: Any
    data: bytes
    found: dict[str, Any]


class _Held:
    """Credentials, and connections that show them. Never changed: the next ones have an object of their own."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.pool = client.ApiClient(credentials.settings).rest_client.pool_manager

    def send(self, method: str, path: str, more: dict[str, Any]) -> urllib3.BaseHTTPResponse:
        headers = {k: v for k, v in (more.get("headers") or {}).items() if k.lower() != "authorization"}
        if self.credentials.authorization:
            headers["authorization"] = self.credentials.authorization
        more = {**more, "headers": headers, "redirect": False, "preload_content": False}
        response: urllib3.BaseHTTPResponse = self.pool.request(
            method, self.credentials.server.host + path, **more
        )
        return response


class Wire:
    """Several threads use one at once."""

    def __init__(self, load: Load, clock: Callable[[], float] = time.monotonic) -> None:
        self._load, self._clock = load, clock
        self._held = _Held(load(None))
        self._host = self._held.credentials.server.host  # that the client's urls begin with
        self._lock = threading.Lock()
        self._loading: _Loading | None = None
        self._pause_s, self._not_before, self._why = 0.0, 0.0, ""
        self.cluster: str | None = None  # its identity, once it was seen

    @property
    def credentials(self) -> Credentials:
        return self._held.credentials

    def client(self) -> client.ApiClient:
        """The client's own, whose every request goes this way."""
        made = client.ApiClient(client.Configuration(host=self._host))
        made.rest_client.pool_manager = self
        return made

    def clear(self) -> None:
        """As the client's pool has it."""
        self._held.pool.clear()

    def request(self, method: str, url: str, **more: Any) -> Any:
        """As the client's pool has it; raises ApiError and NotTheApi besides. An Answer, or, of a watch, the response."""
        path = url.removeprefix(self._host)
        of = asked(method, path.partition("?")[0], _body(more.get("body")))
        held = self._held
        response, refused = _sent(held, method, path, more)
        why = ""
        if response is None or response.status == 401:
            fresh, why = self._renewed(held)
            if fresh is not None:
                if response is not None:
                    _drop(response)
                response, refused = _sent(fresh, method, path, more)
        if response is None:
            raise NotTheApi(f"{of}: TLS: {refused}{f' ({why})' if why else ''}")
        if response.status != 401:
            self._pause_s = 0.0
        if "watch=" in path and 200 <= response.status <= 299:
            return response
        data = _read(response, of)
        if not 200 <= response.status <= 299:
            raise refusal(of, response.status, response.headers, data, f" ({why})" if why else "")
        return Answer(response.status, response.reason, response.headers, data, found(of, data))

    def renew(self) -> None:
        """Load the credentials anew, though those that are held are not refused yet."""
        self._renewed(self._held)

    def _renewed(self, used: _Held) -> tuple[_Held | None, str]:
        """What to use in the place of what was refused; None: there is nothing better, and why."""
        with self._lock:
            if self._held is not used:
                return self._held, ""  # another thread was here
            if self._clock() < self._not_before:
                return None, self._why
            try:
                fresh = _Held(self._loaded(used.credentials.context))
                self._why = self._wrong(used.credentials, fresh)
            except (Refusal, *TROUBLE) as e:
                self._why = f"no fresh credential: {line(str(e))}"
            self._pause_s = min(2 * self._pause_s or PAUSE_S, PAUSE_MOST_S)
            self._not_before = self._clock() + self._pause_s
            if self._why:
                return None, self._why
            self._held = fresh
            return fresh, ""

    def _wrong(self, used: Credentials, fresh: _Held) -> str:
        """Why fresh credentials are not used, in words; empty: they are. Raises what a request raises."""
        same_server = fresh.credentials.server == used.server
        if same_server and fresh.credentials.same_as(used):
            return "loaded anew, the credentials are the same"
        if same_server and (used.server.proven or self.cluster is None):
            return ""
        if self.cluster is None:
            return "loaded anew, the kubeconfig leads to another server"
        # An address and its certificates may change, and an address alone proves nothing: the cluster itself is asked.
        of = asked("GET", KUBE_SYSTEM)
        response = fresh.send("GET", KUBE_SYSTEM, {"timeout": urllib3.Timeout(connect=3, read=10)})
        data = _read(response, of)
        if response.status != 200:
            raise refusal(of, response.status, response.headers, data)
        if found(of, data)["metadata"]["uid"] != self.cluster:
            return "loaded anew, the kubeconfig leads to another cluster"
        return ""

    def _loaded(self, context: str | None) -> Credentials:
        """In a thread of its own: a plugin that waits for a person must not hold up a mend for ever."""
        if self._loading is None or not self._loading.is_alive():
            self._loading = _Loading(self._load, context)
            self._loading.start()
        self._loading.join(LOAD_WITHIN_S)
        if self._loading.is_alive():
            raise Refusal(f"nothing within {LOAD_WITHIN_S:.0f} s")
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
    of = Asked("WATCH", f"{plural} {namespace}/{name}", plural, "", "", namespace)
    rest = b""
    for piece in response.stream(8192, decode_content=False):
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > MOST_LINE:
            raise NotTheApi(f"{of}: an event without an end")
        for text in lines:
            if text:
                yield event(of, name, text)
    if rest:
        raise NotTheApi(f"{of}: it ended in mid-event: {rest[:80]!r}")


def _sent(
    held: _Held, method: str, path: str, more: dict[str, Any]
) -> tuple[urllib3.BaseHTTPResponse | None, str]:
    """None, and why: TLS refuses a certificate, ours or the server's. The client would make several lines of it."""
    try:
        return held.send(method, path, more), ""
    except urllib3.exceptions.SSLError as e:
        return None, line(str(e))


def _body(text: Any) -> dict[str, Any] | None:
    found = json.loads(text) if isinstance(text, str) else None
    return found if isinstance(found, dict) else None


def _read(response: urllib3.BaseHTTPResponse, of: Asked) -> bytes:
    """The whole body, which must not be endless."""
    until = time.monotonic() + WITHIN_S
    pieces, size = [], 0
    try:
        while piece := response.read1(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > MOST_BYTES:
                raise NotTheApi(f"{of}: an answer of more than {MOST_BYTES // 1024**2} MiB")
            if time.monotonic() > until:
                raise NotTheApi(f"{of}: an answer that has not ended after {WITHIN_S:.0f} s")
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return b"".join(pieces)


def _drop(response: urllib3.BaseHTTPResponse) -> None:
    """Of a refusal nothing is read that could be long."""
    response.close()
    response.release_conn()
