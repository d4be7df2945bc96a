"""The messages between Locust, chaos and the guardian, one per line. Only this module writes and reads them."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError


class BadMessage(ValueError):
    """A line is not a message. The text of the error gives the reason."""


class _Strict:
    __pydantic_config__ = ConfigDict(extra="forbid")


# --- from chaos to Locust


@dataclass(frozen=True)
class Ready(_Strict):
    """The clock of the timeline has started."""

    started_at: float  # unix seconds
    total_s: float
    kind: Literal["ready"] = "ready"


@dataclass(frozen=True)
class Refused(_Strict):
    """Instead of `Ready`: nothing was touched."""

    why: str
    kind: Literal["refused"] = "refused"


@dataclass(frozen=True)
class ProbeWait(_Strict):
    """How long the probe got no answer after the last inject."""

    target: str
    of_gateway: bool  # the target; then an answer by any tier ends the wait, else one by another tier
    s: float
    answered: bool


@dataclass(frozen=True)
class Status(_Strict):
    """Once a second."""

    at: float
    elapsed_s: float
    total_s: float
    trial: int
    up: dict[str, bool | None]  # by tier, and the gateway; None: unknown
    probe: ProbeWait | None  # None: no inject yet
    kind: Literal["status"] = "status"


@dataclass(frozen=True)
class FaultEvent(_Strict):
    """A stage of a move, as recorded."""

    at: float
    step: str
    target: str
    move: str
    stage: str
    error: str | None
    detail: dict[str, Any] | None
    note: str | None  # shown after the stage in a terminal
    kind: Literal["event"] = "event"


@dataclass(frozen=True)
class End(_Strict):
    """`reason`: why it was cut short; None: it was not."""

    reason: str | None
    not_restored: list[str]
    kind: Literal["end"] = "end"


# --- from Locust to chaos


@dataclass(frozen=True)
class Counts(_Strict):
    """Of the whole run so far; the guards of chaos use them."""

    cloud: int  # answers of cloud tiers: they cost money
    good: int  # requests of the users
    bad: int
    kind: Literal["counts"] = "counts"


# --- from the controller to the guardian


@dataclass(frozen=True)
class UnderTest(_Strict):
    """The first message: the stack that verifies a restore, as YAML. Keys are references."""

    topology: str
    kind: Literal["stack"] = "stack"


@dataclass(frozen=True)
class Open(_Strict):
    """Before an inject, and when the record's deadline has moved."""

    undo: str  # an undo record, as JSON
    kind: Literal["open"] = "open"


@dataclass(frozen=True)
class Closed(_Strict):
    """After the verified restore. The three fields are the key of the undo record."""

    cluster: str | None
    of: str  # the kind of the handle
    handle: str
    kind: Literal["close"] = "close"


# --- from the guardian to the controller


@dataclass(frozen=True)
class Listening(_Strict):
    """It can be armed from now on."""

    kind: Literal["listening"] = "listening"


@dataclass(frozen=True)
class Armed(_Strict):
    """It holds the undo record of `of`."""

    of: str
    kind: Literal["armed"] = "armed"


@dataclass(frozen=True)
class NotArmed(_Strict):
    of: str
    why: str
    kind: Literal["not armed"] = "not armed"


@dataclass(frozen=True)
class Log(_Strict):
    """A line of its log."""

    line: str
    kind: Literal["log"] = "log"


Message = (
    Ready
    | Refused
    | Status
    | FaultEvent
    | End
    | Counts
    | UnderTest
    | Open
    | Closed
    | Listening
    | Armed
    | NotArmed
    | Log
)
_READER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def write(message: Message) -> str:
    """One line, without its end."""
    return json.dumps(asdict(message))


def read(line: str) -> Message:
    """Raises BadMessage if the line is not a message: unknown kind, extra field, missing field, field of another type."""
    try:
        return _READER.validate_json(line, strict=True)
    except ValidationError as e:
        wrong = [
            ".".join(map(str, error["loc"])) + f": {error['msg']}" for error in e.errors(include_url=False)
        ]
        raise BadMessage(
            f"not a message: {'; '.join(w.removeprefix(': ') for w in wrong)} in {line.strip()[:200]!r}"
        ) from None
