from dataclasses import dataclass, field

from embedded.engine.fault import Fault


@dataclass(kw_only=True)
class Unhealthy(Fault):
    """The health page says 503 while every request is answered as always."""

    # No request is hit, so that there is no share of them to tell.
    share: float = field(default=1.0, init=False, repr=False)

    def is_healthy(self, age_s: float) -> bool:
        return False


FAULT = Unhealthy
