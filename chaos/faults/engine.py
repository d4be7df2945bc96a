"""Sets a fault in the answers of an embedded engine: headers withheld, a stream cut, an error in the middle, …

The engine's catalogue lists the faults (`GET /faults`). `answer` names one of them; the other keys of `with` are its
parameters. The engine ends the fault at its deadline. A restarted engine has no fault.
"""

import json
import secrets
from typing import Any
from urllib.parse import quote

from pydantic import ConfigDict, model_validator

from chaos.errors import CannotInject
from chaos.fault import Deadman, Fault
from chaos.kube.cluster import Cluster
from chaos.target import Target
from contract.refusal import no_such
from contract.strict import Strict

TIMEOUT_S = 5.0
LOOK_S = 0.5
OURS = ("fault", "for_s", "id")  # set by the driver itself


class Options(Strict):
    """The fault's name, and its parameters as the engine knows them."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    answer: str

    @model_validator(mode="before")
    @classmethod
    def _not_ours(cls, given: Any) -> Any:
        wrong = [key for key in OURS if isinstance(given, dict) and key in given]
        if wrong:
            raise ValueError(
                f"{wrong[0]} is set by the timeline's own keys; `with` takes answer and its parameters"
            )
        return given


class Engine(Fault):
    kinds = ("engine",)
    by_http = True
    options = Options
    deadman = Deadman.ENGINE

    def __init__(self, cluster: Cluster | None, target: Target, options: Options) -> None:
        self._target, self._url = target, target.url
        self._answer, self._parameters = options.answer, dict(options.model_extra or {})
        self._for_s: float | None = None
        self._accepted: dict[str, Any] | None = None

    def snapshot(self) -> dict[str, Any]:
        found = self._look()
        if self._answer not in found["catalogue"]:
            raise CannotInject(f"{self._url}: {no_such('answer', self._answer, found['catalogue'])}")
        if found["fault"] is not None:
            raise CannotInject(f"{self._url} has a fault already: {found['fault']}")
        return {
            "original": {"fault": None},
            "set": {"fault": self._answer, **self._parameters},
            "id": secrets.token_hex(8),
        }

    def arm(self, state: dict[str, Any], seconds: float) -> None:
        # Sent together with the fault: there is no fault without a deadline, even for an instant.
        self._for_s = seconds

    def inject(self, state: dict[str, Any]) -> None:
        assert self._for_s is not None, "the runner arms before it injects"
        requested = {"fault": self._answer, "for_s": self._for_s, "id": state["id"], **self._parameters}
        status, body = self._send("PUT", "/faults", requested)
        if status in (400, 409):
            raise CannotInject(f"{self._url}: {body.get('error', body)}")
        _must_be_ok("PUT", self._url, status, body)
        self._accepted = body

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        if self._is_set(state):
            return {"fault": self._answer}
        # A fault for one answer may be used up already.
        return {"fault": self._answer, "used_up": True} if self._accepted is not None else None

    def restore(self, state: dict[str, Any]) -> None:
        status, body = self._send("DELETE", f"/faults?id={quote(state['id'])}")
        if status == 409:
            return  # another fault is set, so ours is not
        _must_be_ok("DELETE", self._url, status, body)

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        return None if self._is_set(state) else {"fault": None}

    def _is_set(self, state: dict[str, Any]) -> bool:
        fault = self._look()["fault"]
        return fault is not None and fault.get("id") == state["id"]

    def _look(self) -> dict[str, Any]:
        status, body = self._send("GET", "/faults")
        _must_be_ok("GET", self._url, status, body)
        if "catalogue" not in body or "fault" not in body:
            raise OSError(f"{self._url}/faults returned no catalogue: it is not an embedded engine")
        return body

    def _send(
        self, method: str, path: str, fields: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON. Raises OSError."""
        payload = None if fields is None else json.dumps(fields).encode()
        status, body = self._target.send(method, path, TIMEOUT_S, payload)
        return status, body if isinstance(body, dict) else {"error": body}


def _must_be_ok(method: str, url: str | None, status: int, body: dict[str, Any]) -> None:
    if not 200 <= status < 300:
        raise OSError(f"{method} {url}/faults: status {status}: {str(body.get('error', body))[:200]}")


FAULT = Engine
