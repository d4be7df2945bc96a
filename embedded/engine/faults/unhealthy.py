from dataclasses import dataclass, field

from embedded.engine.fault import Fault


@dataclass(kw_only=True)
class Unhealthy(Fault):
    """The health page reports 503 while every request is answered normally."""

    # No request is hit, so there is no share to show.
    share: float = field(default=1.0, init=False, repr=False)

    def is_healthy(self, age_s: float) -> bool:
        return False


FAULT = Unhealthy
