"""The body of an answer, read: server-sent events or lines of JSON, cut anywhere, or one JSON object. Pure.

One truth for the users' asks and the probe's. Read after the end, so that nothing is parsed while bytes are being
stamped; and nearly every event of a stream is like the one before but for its content, so only what differs
otherwise is read as JSON.
"""

import re

from contract.answer import Answer, take
from contract.framing import End, Exchange

# Enough to tell, while bytes arrive, that a first token is there; the answer itself is read after the end.
HAS_CONTENT = re.compile(
    rb'"(?:content|reasoning_content|reasoning|thinking|refusal|text)"\s*:\s*"[^"]'
    rb'|"(?:tool_calls|reasoning_details|thinking_blocks)"\s*:\s*\[\s*\{'
)

_CONTENT = re.compile(rb'"content"\s*:\s*"')
_TEXT = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))++')  # inside a JSON string
# A stream that says something new in each event gains nothing from looking for what stays.
_LIKENESSES = 4

Pieces = list[tuple[float, bytes]]


def read_answer(exchange: Exchange, text: bool = False) -> Answer:
    """Read the body of a status-200 exchange, whatever its content-type says that it is. `text`: the content too."""
    kind = exchange.headers.get("content-type", "")
    if "text/event-stream" in kind:
        return read_events(exchange.pieces, text)
    answer = Answer(text=[] if text else None)
    if "ndjson" in kind:
        _read_lines(exchange, answer)
    elif exchange.end is End.COMPLETE:  # half a JSON object is no token
        at = exchange.pieces[-1][0] if exchange.pieces else 0.0
        take(b"".join([piece for _, piece in exchange.pieces]), at, answer)
    return answer


def read_events(pieces: Pieces, text: bool = False, likenesses: int = _LIKENESSES) -> Answer:
    """Server-sent events: each is stamped with the piece that completed it.

    `text`: the content itself is wanted. `likenesses`: how many events are looked at for what stays the same, so
    that those like them need no JSON reader; with 0 all are read, which finds the same.
    """
    answer = Answer(text=[] if text else None)
    body = b"".join([piece for _, piece in pieces])
    if text or not _is_utf8(body):
        likenesses = 0
    before = after = b""
    content_at = answer.content_at
    stamps, at, stamped = iter(pieces), 0.0, 0  # the byte before `stamped` came at `at`
    data_lines: list[bytes] = []
    start = here = 0  # of the event, of the line
    while True:
        if before and here == start and body.startswith(before, here):
            content = _TEXT.match(body, here + len(before))
            if content is not None and body.startswith(after, content.end()):
                start = here = content.end() + len(after)
                while stamped < here:
                    at, piece = next(stamps)
                    stamped += len(piece)
                content_at.append(at)
                continue
        end = body.find(b"\n", here)
        if end < 0:
            return answer  # an event that no empty line ended is none
        line = body[here:end].removesuffix(b"\r")
        here = end + 1
        if line:
            if line.startswith(b"data:"):
                data_lines.append(line[5:].strip())
            continue  # comments (": ping") and other fields carry no tokens
        if data_lines:
            while stamped < here:
                at, piece = next(stamps)
                stamped += len(piece)
            tokens = len(content_at)
            _take_event(b"\n".join(data_lines), at, answer)
            data_lines.clear()
            if likenesses and len(content_at) > tokens:
                found = _likeness(body[start:here])
                if found is not None:
                    likenesses -= 1
                    before, after = found
        start = here


def _likeness(event: bytes) -> tuple[bytes, bytes] | None:
    """The bytes before and after the content of an event, where whatever stands between them is one token and
    nothing else is told. Tried out with a content of our own, so that nothing is assumed of the event's shape."""
    key = _CONTENT.search(event)
    content = _TEXT.match(event, key.end()) if key else None
    if content is None:
        return None
    before, after = event[: content.start()], event[content.end() :]
    tried = read_events([(1.0, before + b"x" + after)], text=True)
    return (before, after) if tried == Answer(content_at=[1.0], text=["x"]) else None


def _is_utf8(body: bytes) -> bool:
    """As the JSON reader takes it: with lone surrogates."""
    if body.isascii():
        return True
    try:
        body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _take_event(data: bytes, at: float, answer: Answer) -> None:
    if data == b"[DONE]":
        answer.done = True
    elif data:
        take(data, at, answer)


def _read_lines(exchange: Exchange, answer: Answer) -> None:
    """Lines of JSON, as Ollama's own API streams them: each has its own instant in it, so all are read."""
    at, rest = 0.0, b""
    for at, piece in exchange.pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                take(line, at, answer)
    if rest.strip() and exchange.end is End.COMPLETE:  # the last one needs no newline
        take(rest, at, answer)
