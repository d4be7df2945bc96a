"""The kind of a failed request, for Locust's table of errors, which keeps a row for each different text. Pure.

A server's own words may differ in each answer (ids, counts, addresses), so they are in no kind: the set of kinds is bounded. The
whole error is in the request's record.
"""

from contract import gateways
from contract.records import Outcome, RequestRecord

_OURS = (
    # connecting
    *("ConnectionRefusedError", "ConnectionResetError", "ConnectionAbortedError", "BrokenPipeError", "TimeoutError", "gaierror", "herror"),
    *("SSLCertVerificationError", "SSLEOFError", "SSLZeroReturnError", "SSLError", "UnicodeError", "ValueError", "OSError"),
    # the wire
    *("connection closed", "not HTTP", "the server changed the protocol", "headers of more than", "a body in more than", "more than"),
    *("no first token", "silent for", "not whole", "stopped"),
    # the answer
    *("no content", "no finish_reason", "finish_reason", "not a JSON object", "choices that are not objects"),
    *("a message that is not an object", "content-encoding", "transfer-encoding", "in the harness"),
)  # fmt: skip
"""Beginnings of the errors that this project writes itself."""


def kind(record: RequestRecord) -> str:
    """`rejected: 503`, `rejected: 429, all in cooldown`, `cut: connection closed`, `broken: an error of the server`."""
    outcome, status, error = record.outcome, record.status, record.error or ""
    if outcome in (Outcome.REJECTED, Outcome.FILTERED):
        shown = str(status) if status is not None and 400 <= status < 600 else "another status"
        return f"{outcome}: {shown}" + (", all in cooldown" if gateways.cooling(status, error) else "")
    if not error:
        return str(outcome)
    known = next((begin for begin in _OURS if error.startswith(begin)), None)
    if known is None and error.startswith("status "):
        known = f"status {status}" if status is not None and 100 <= status < 400 else "another status"
    return f"{outcome}: {known or 'an error of the server'}"
