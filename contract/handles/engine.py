"""A tier's HTTP interface, for faults over HTTP: `true` is the tier's own url; any other address is written out.

In an embedded topology `embedded` is the address of the engine that the stack starts.
"""

from typing import Annotated

from pydantic import PlainValidator

from contract.fields import RESERVED, base_url
from contract.handle_kind import HandleKind, Place


def _refused(value: object, place: Place) -> str | None:
    if place.target in RESERVED:
        return "engine is for tiers: a gateway has no switch for faults"
    if value is True and place.url is None and not place.filled_in:
        return (
            "engine: true is the tier's own url, and it has none; give it a url, or write the engine's address "
            "(in an embedded topology 'embedded')"
        )
    return None


def _name(value: str | bool, place: Place) -> str:
    # The address is unknown while the embedded stack is not up.
    return value if isinstance(value, str) else place.url or place.target


def _address(value: object) -> str | bool:
    if value is True:
        return True
    if isinstance(value, str):
        return base_url(value)
    raise ValueError(
        f"{value!r} is not an address; write one like http://host:port, true for the tier's own url, or in an embedded topology "
        "'embedded'"
    )


HANDLE = HandleKind(
    given=Annotated[str | bool, PlainValidator(_address)],
    name=_name,
    embedded=lambda started: started.url,
    refused=_refused,
    url=lambda name: name if "://" in name else None,
)
