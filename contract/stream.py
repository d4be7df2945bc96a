"""Reads the body of an answer: server-sent events or lines of JSON, cut anywhere, or one JSON object. Pure.

Shared by users and probe. A body is read after its end, so that nothing is parsed while bytes are being stamped. Nearly
every event of a stream equals the previous one except for its content, so only other differences are read as JSON.
"""

import json
import re
from itertools import count

from contract import thoughts
from contract.answer import Answer, is_json, is_object, take, take_event
from contract.framing import End, Exchange, encoded

# Enough to detect a first token (a thought is one) while bytes arrive; the answer itself is read after the end.
_TOKEN = (
    rb'"(?:content|reasoning_content|reasoning|thinking|text|refusal|response)"\s*:\s*"[^"]'
    rb'|"(?:tool_calls|reasoning_details|thinking_blocks)"\s*:\s*\[\s*\{'
)
HAS_CONTENT = re.compile(_TOKEN)
_OUTPUT = re.compile(
    _TOKEN + rb'|"(?:finish_reason|error)"\s*:\s*(?:"[^"]|\{)|"usage"\s*:\s*\{|"done"\s*:\s*true'
)
SEAM_BYTES = 48  # a match may be cut between pieces

_BOM = b"\xef\xbb\xbf"
_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*")
_FIELD = re.compile(rb"(?:data|event|id|retry|error)?:|data[\r\n]")
_RETURN = re.compile(rb"\r\n?|\n")
_CONTENT = re.compile(rb'"content"\s*:\s*"')
_TEXT = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))++')  # inside a JSON string
MOST_LINES = 200_000
"""Lines of an answer that are read, events like an earlier one counted once: more than a stream of 60,000 tokens has."""
# A stream whose events all differ gains nothing from templates.
_LIKENESSES = 4

Pieces = list[tuple[float, bytes]]


class LastOutput:
    """When an answer in progress last had output: a token, a thought, a finish_reason, a usage, an error. Comments, empty
    deltas, white space and words are not output. `pieces` grow meanwhile.
    """

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._seen = 0

    def __call__(self) -> float | None:
        """The instant of the last output since the previous call; None: there was none.

        Searches backwards from the end, only as far as needed: in a running stream that is one piece.
        """
        pieces, since = self._pieces, self._seen
        self._seen = len(pieces)
        after, seam = b"", SEAM_BYTES
        for number in range(len(pieces) - 1, -1, -1):
            at, piece = pieces[number]
            if number < since:  # searched before: only as much as a cut match may need
                if seam <= 0:
                    break
                piece, seam = piece[-seam:], seam - len(piece)
            window = piece + after
            if _OUTPUT.search(window):
                return at
            after = window[:SEAM_BYTES]
        return None


def read_answer(exchange: Exchange, text: bool = False) -> Answer:
    """Read the body of a status-200 exchange. `text`: the content too, without leading thoughts.

    The first character decides the format, since servers mislabel bodies: a brace begins JSON, one object or one per line; a
    field name or a colon begins server-sent events. The content-type decides only if there is neither.
    """
    answer = Answer(text=[])
    encoding = encoded(exchange.headers)
    if encoding is not None:
        answer.senseless = f"{encoding}, though none was requested"
        return answer
    kind = exchange.headers.get("content-type", "").lower()
    body = b"".join([piece for _, piece in exchange.pieces])
    begins = _START.match(body).end()  # type: ignore[union-attr]  # it matches anything
    if body[begins : begins + 1] in (b"{", b"["):
        if "ndjson" in kind or _is_lines(body, begins):
            _read_lines(exchange, answer)
        elif exchange.end is End.COMPLETE:  # an incomplete JSON object is not a token
            take(body, exchange.pieces[-1][0], answer)
    elif "text/event-stream" in kind or _FIELD.match(body, begins):
        return _read_events(exchange.pieces, body, exchange.end is End.COMPLETE, text, _LIKENESSES)
    elif "ndjson" not in kind and exchange.end is End.COMPLETE:
        at = exchange.pieces[-1][0] if exchange.pieces else 0.0
        take(body, at, answer)
    answer.set_thoughts_aside()
    if not text:
        answer.text = None
    return answer


def read_events(
    pieces: Pieces, complete: bool = True, text: bool = False, likenesses: int = _LIKENESSES
) -> Answer:
    """Read server-sent events. Lines end with LF, CRLF or CR; a byte-order mark may come first.

    An empty line ends an event; the event has the instant of the piece with that line. Several lines of data are one event
    if they are JSON together, as in the standard. If not, each line is an event, with the instant of the piece that ended
    it (servers that separate events with a single newline). A line without its end is an event only if the body is
    `complete` and the line is a whole object or [DONE]. For the data of an event see `answer.take_event`.

    `text`: also return the content. `likenesses`: how many events are tried as templates, so that events like them need no
    JSON reader; with 0 all events are read as JSON, with the same result.
    """
    return _read_events(pieces, b"".join([piece for _, piece in pieces]), complete, text, likenesses)


def _read_events(pieces: Pieces, body: bytes, complete: bool, text: bool, likenesses: int) -> Answer:
    thoughtful = thoughts.may_hold(body)
    answer = Answer(text=[] if text or thoughtful else None)
    if not _is_utf8(body):
        likenesses = 0
    returns = b"\r" in body
    before = after = b""
    content_at, texts = answer.content_at, answer.text
    stamps, at, stamped = iter(pieces), 0.0, 0  # the byte before `stamped` came at `at`
    data_lines: list[_Line] = []
    error = over = False
    start = here = len(_BOM) if body.startswith(_BOM) else 0  # of the event, of the line
    lines = 0
    while not over:
        lines += 1
        if lines > MOST_LINES:
            answer.senseless = answer.senseless or f"more than {MOST_LINES} lines"
            break
        if before and here == start and body.startswith(before, here):
            content = _TEXT.match(body, here + len(before))
            if content is not None and body.startswith(after, content.end()):
                start = here = content.end() + len(after)
                while stamped < here:
                    at, piece = next(stamps)
                    stamped += len(piece)
                content_at.append(at)
                if texts is not None:
                    texts.append(_spelt(content.group()))
                continue
        if returns:
            line_end = _RETURN.search(body, here)
            end, behind = line_end.span() if line_end else (-1, 0)
        else:
            end = body.find(b"\n", here)
            behind = end + 1
        if end >= 0:
            line, here = body[here:end], behind
        else:  # this line has no end
            over, line, here = True, body[here:], len(body)
            if not (complete and _is_whole(line)):
                line = b""
        if line:
            name, _, value = line.partition(b":")
            if name == b"event":
                error = value.strip() == b"error"
            elif name in (b"data", b"error"):  # old llama.cpp has a field for errors
                error = error or name == b"error"
                data_lines.append((here, value.strip(), error))
            if not over:
                continue  # comments (": ping") and other fields carry no tokens
        if data_lines:
            tokens = len(content_at)
            for ends, data, is_error in _events(data_lines, here, error, complete or not over):
                while stamped < ends:
                    at, piece = next(stamps)
                    stamped += len(piece)
                if data == b"[DONE]":
                    answer.done = True
                else:
                    take_event(data, at, answer, is_error)
            data_lines.clear()
            if likenesses and len(content_at) > tokens:
                found = _likeness(body[start:here])
                if found is not None:
                    likenesses -= 1
                    before, after = found
        start, error = here, False
    if thoughtful:
        answer.set_thoughts_aside()
    if not text:
        answer.text = None
    return answer


_Line = tuple[int, bytes, bool]  # where it ends, its data, whether its event is named error


def _spelt(content: bytes) -> str:
    """The text between the quotes of a JSON string."""
    if b"\\" not in content:
        return content.decode("utf-8", "surrogatepass")
    spelt: str = json.loads(b'"%b"' % content)
    return spelt


def _is_whole(line: bytes) -> bool:
    name, _, value = line.partition(b":")
    return name == b"data" and (value.strip() == b"[DONE]" or is_object(value))


def _events(lines: list[_Line], end: int, error: bool, ended: bool) -> list[_Line]:
    """The lines between two empty lines, as events. Not `ended`: they were cut, and only whole ones are events."""
    if len(lines) > 1:
        together = b"\n".join([data for _, data, _ in lines])
        lines = [(end, together, error)] if is_json(together) else lines
    else:
        lines = [(end, lines[0][1], error)]
    return lines if ended else [line for line in lines if line[1] == b"[DONE]" or is_object(line[1])]


def _likeness(event: bytes) -> tuple[bytes, bytes] | None:
    """The bytes before and after the content of an event, if the event is one token and nothing else. Verified by reading the
    event with a content of our own, so that its shape is not assumed."""
    key = _CONTENT.search(event)
    content = _TEXT.match(event, key.end()) if key else None
    if content is None:
        return None
    before, after = event[: content.start()], event[content.end() :]
    own = next(own for n in count() if (own := b"x%d" % n) not in event)
    tried = read_events([(1.0, before + own + after)], text=True, likenesses=0)
    return (before, after) if tried == Answer(content_at=[1.0], text=[own.decode()]) else None


def _is_utf8(body: bytes) -> bool:
    """By the rules of the JSON reader: lone surrogates are allowed."""
    if body.isascii():
        return True
    try:
        body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _is_lines(body: bytes, begins: int) -> bool:
    """Whether the first line of this JSON is a whole object."""
    end = body.find(b"\n", begins)
    return end >= 0 and is_object(body[begins:end])


def _read_lines(exchange: Exchange, answer: Answer) -> None:
    """Read lines of JSON, as Ollama's own API streams them. Each line has a different timestamp, so all are read as JSON."""
    at, parts, lines = 0.0, [], 0  # of the line that has no end yet; joined once
    for at, piece in exchange.pieces:
        lines += piece.count(b"\n")
        if lines > MOST_LINES:
            answer.senseless = answer.senseless or f"more than {MOST_LINES} lines"
            return
        first, *rest = piece.split(b"\n")
        parts.append(first)
        for begin in rest:
            line, parts = b"".join(parts), [begin]
            if line.strip():
                take_event(line, at, answer)
    last = b"".join(parts)
    if last.strip() and exchange.end is End.COMPLETE:  # the last one needs no newline
        take_event(last, at, answer)
