"""Sets a fault inside the answers of an embedded engine: headers withheld, a stream cut, an error in its midst, …

What there is the engine's own catalogue tells (`GET /faults`); `answer` names one of them, what else stands under
`with` are its parameters. The engine itself ends the fault at its deadline. One that was started anew has forgotten it.
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
OURS = ("fault", "for_s", "id")  # what the driver itself tells the engine


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
                f"{wrong[0]} is told by the timeline's own keys; under `with` stand answer and its parameters"
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
        # It is told with the fault itself: there is no instant in which one is there alone.
        self._for_s = seconds

    def inject(self, state: dict[str, Any]) -> None:
        assert self._for_s is not None, "the runner arms before it injects"
        told = {"fault": self._answer, "for_s": self._for_s, "id": state["id"], **self._parameters}
        status, said = self._send("PUT", "/faults", told)
        if status in (400, 409):
            raise CannotInject(f"{self._url}: {said.get('error', said)}")
        _must_be_ok("PUT", self._url, status, said)
        self._accepted = said

    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        if self._is_set(state):
            return {"fault": self._answer}
        # One that is used up by its first answer was there, too.
        return {"fault": self._answer, "used_up": True} if self._accepted is not None else None

    def restore(self, state: dict[str, Any]) -> None:
        status, said = self._send("DELETE", f"/faults?id={quote(state['id'])}")
        if status == 409:
            return  # another's is set by now, so ours is not
        _must_be_ok("DELETE", self._url, status, said)

    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        return None if self._is_set(state) else {"fault": None}

    def _is_set(self, state: dict[str, Any]) -> bool:
        fault = self._look()["fault"]
        return fault is not None and fault.get("id") == state["id"]

    def _look(self) -> dict[str, Any]:
        status, said = self._send("GET", "/faults")
        _must_be_ok("GET", self._url, status, said)
        if "catalogue" not in said or "fault" not in said:
            raise OSError(f"{self._url}/faults tells no catalogue: it is no embedded engine")
        return said

    def _send(self, method: str, path: str, told: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and JSON. Raises OSError."""
        payload = None if told is None else json.dumps(told).encode()
        status, said = self._target.send(method, path, TIMEOUT_S, payload)
        return status, said if isinstance(said, dict) else {"error": said}


def _must_be_ok(method: str, url: str | None, status: int, said: dict[str, Any]) -> None:
    if not 200 <= status < 300:
        raise OSError(f"{method} {url}/faults: status {status}: {str(said.get('error', said))[:200]}")


FAULT = Engine
