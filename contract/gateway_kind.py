"""What is specific to one kind of gateway: names of headers and counters, and texts of errors. Pure."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayKind:
    """Header names are in lower case; None: it does not send this header."""

    name: str  # of the program, as shown before its version
    title: str  # the name in a sentence
    group: str | None = None  # header: the group that served
    api_base: str | None = None  # header: the deployment that served
    fallbacks: str | None = None  # header: how many groups were tried before
    retries: str | None = None  # header: how often a request was repeated
    overhead_ms: str | None = None  # header: the overhead that the gateway reports
    version: str | None = None  # header
    metrics: str | None = None  # path of its metrics page
    answers: str | None = None  # the counter of successful answers
    answers_group: str = ""  # label of that counter: the group that served
    answers_api_base: str = ""  # label: the deployment
    health: str = ""  # a page that answers 200 while it serves, suggested for another that does not
    # In a 429: all deployments are cooled down; it is not a rate limit.
    cooling: re.Pattern[str] | None = None
    wrong_key: tuple[str, str] | None = None  # text of a refused key, and its meaning
    error_prefix: re.Pattern[str] | None = None  # prefix of an error message
    shows_key: str | None = None  # in an error: from this text on, a part of the received key is shown
