"""/faults: GET returns the active fault and the catalogue, PUT sets a fault, DELETE ends it. An error states the correct form."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from embedded.engine.fault import Fault
from embedded.engine.parameters import A_WEEK_S, BadParameter, no_such, number, read, shown
from embedded.engine.switch import ActiveFault, SetByOther, Switch
from embedded.engine.wire import Request

PATH = "/faults"
_LONGEST_ID = 200  # characters

Answer = tuple[int, dict[str, Any]]


class Control:
    def __init__(self, switch: Switch, catalogue: Mapping[str, type[Fault]]) -> None:
        self._switch = switch
        self._catalogue = catalogue

    def answer(self, request: Request) -> Answer:
        """(status, JSON body)."""
        verbs = {"GET": self._get, "HEAD": self._get, "PUT": self._put, "DELETE": self._delete}
        if request.method not in verbs:
            return 405, {"error": f"{PATH} takes GET, PUT and DELETE, not {request.method}"}
        try:
            return verbs[request.method](request)
        except BadParameter as bad:
            return 400, {"error": str(bad)}
        except SetByOther as other:
            now = other.active
            error = f"{now.name} is set by {now.owner!r} until {now.until:.3f}; only that id may replace or end it"
            return 409, {"error": error, "fault": _as_json(now)}

    def _get(self, request: Request) -> Answer:
        catalogue = {name: " ".join((each.__doc__ or "").split()) for name, each in self._catalogue.items()}
        return 200, {"fault": _as_json(self._switch.active), "catalogue": catalogue}

    def _put(self, request: Request) -> Answer:
        given = _object(request.body)
        name, for_s, owner = (_required(given, key) for key in ("fault", "for_s", "id"))
        if not isinstance(name, str) or name not in self._catalogue:
            raise BadParameter(no_such("fault", name, self._catalogue))
        if not number(for_s) or not 0 < for_s <= A_WEEK_S:
            raise BadParameter(
                f"for_s must be a number of seconds, more than 0 and at most {A_WEEK_S:.0f}; it is {for_s!r}"
            )
        if not isinstance(owner, str) or not 0 < len(owner) <= _LONGEST_ID:
            raise BadParameter(f"id must be a text of 1 to {_LONGEST_ID} characters; it is {owner!r:.60}")
        try:
            fault = read(self._catalogue[name], given)
        except BadParameter as bad:
            raise BadParameter(f"{name}: {bad}") from None
        return 200, {"fault": _as_json(self._switch.set(name, fault, owner, float(for_s)))}

    def _delete(self, request: Request) -> Answer:
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        owner = query.pop("id", None)
        if query:
            raise BadParameter(no_such("query", min(query), {"id": ""}))
        self._switch.clear(owner)
        return 200, {"fault": None}


def _as_json(active: ActiveFault | None) -> dict[str, Any] | None:
    if active is None:
        return None
    return {
        "fault": active.name,
        "id": active.owner,
        "until": round(active.until, 6),
        **shown(active.fault),
    }


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except ValueError as error:
        raise BadParameter(f"the body is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise BadParameter(
            'the body must be a JSON object, as in {"fault": "stall", "for_s": 30, "id": "mine"}'
        )
    return given


def _required(given: dict[str, Any], key: str) -> Any:
    if key not in given:
        raise BadParameter(f"{key} is missing; a fault has a name, for_s and an id")
    return given.pop(key)
