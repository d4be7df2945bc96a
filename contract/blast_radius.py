"""The handles of one target, from `contract/handles/`: what chaos may change there."""

from typing import Any, Literal

from pydantic import ConfigDict, create_model, model_validator

from contract import handles
from contract.handle_kind import EMBEDDED, Place
from contract.strict import Strict


class Handles(Strict):
    """Chaos does not touch what is not listed here. The keys are those of the catalogue when the topology is read."""

    model_config = ConfigDict(extra="allow")

    # A fault may be injected although nothing restores it if all our processes are killed.
    unprotected: bool = False

    @classmethod
    def known_keys(cls) -> dict[str, Any]:
        return {name: handles.find(name).given for name in handles.names()} | super().known_keys()

    @model_validator(mode="before")
    @classmethod
    def _of_the_catalogue(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        fields: dict[str, Any] = {
            name: (_type(name, given.get(name)) | None, None) for name in handles.names()
        }
        fields["unprotected"] = (bool, False)
        checked = create_model(cls.__name__, __base__=Strict, **fields).model_validate(given)
        return {name: value for name, value in checked if value is not None}

    def get(self, kind: str) -> Any:
        """The value of the handle of this kind; None: it is not given."""
        return (self.model_extra or {}).get(kind)

    def kinds(self) -> list[str]:
        """The kinds of the handles that are given."""
        return list(self.model_extra or {})

    def on_cluster(self) -> bool:
        return any(handles.find(kind).on_cluster for kind in self.kinds())

    def refused(self, place: Place, embedded: bool) -> str | None:
        """Why one of them is not allowed at this place; None: all are. `embedded`: the topology has a section `embedded:`."""
        for kind in self.kinds():
            of, value = handles.find(kind), self.get(kind)
            why = of.refused(value, place)
            if why is not None:
                return why
            if of.embedded is not None and value == EMBEDDED and not embedded:
                return "'embedded' needs an `embedded:` section in this topology"
        return None


def _type(kind: str, value: object) -> Any:
    found = handles.find(kind)
    # For no other value, so that the error message names what was expected.
    return Literal[EMBEDDED] if found.embedded and value == EMBEDDED else found.given
