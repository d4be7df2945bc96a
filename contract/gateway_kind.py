"""What one kind of gateway has of its own: the names of its headers, its counters, and its words of errors. Pure."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayKind:
    """Names of headers are in lower case; None: it sends no such header."""

    name: str  # of the program, as it stands before its version
    title: str  # the same in a sentence
    group: str | None = None  # header: the group that served
    api_base: str | None = None  # header: the deployment that served
    fallbacks: str | None = None  # header: how many groups were tried before
    retries: str | None = None  # header: how often a request was repeated
    overhead_ms: str | None = None  # header: what the gateway says that it added
    version: str | None = None  # header
    metrics: str | None = None  # path of its page of counters
    answers: str | None = None  # the counter of answers that it calls a success
    answers_group: str = ""  # that counter's label with the group that served
    answers_api_base: str = ""  # and with the deployment
    health: str = ""  # a page that answers 200 while it serves, for an operator who gave another
    # In a 429: it has put aside all that it could ask, and limits nobody.
    cooling: re.Pattern[str] | None = None
    wrong_key: tuple[str, str] | None = None  # how it refuses a key, and what that means
    error_prefix: re.Pattern[str] | None = None  # before an error's own words
    shows_key: re.Pattern[str] | None = None  # in an error: a part of the key that it got
