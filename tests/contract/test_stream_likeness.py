"""Events that are like the ones before are not read as JSON: what is found must be the same as if all were."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contract import answer as answers
from contract.answer import Answer, is_json, is_object, take_event
from contract.stream import read_events
from tests.contract.exchanges import DONE, event, finish, token, usage


def plainly(pieces, complete):
    """The plain reading, of which the one in use is a faster form: byte by byte into lines, every event as JSON."""
    answer, block, line, named = Answer(text=[]), [], b"", False
    came = [(at, bytes([byte])) for at, piece in pieces for byte in piece]
    if b"".join(byte for _, byte in came[:3]) == b"\xef\xbb\xbf":
        came = came[3:]
    for (at, byte), behind in zip(came, [*(byte for _, byte in came[1:]), b""], strict=False):
        if byte == b"\r" and behind == b"\n":
            continue
        if byte not in b"\r\n":
            line += byte
            continue
        if line:
            named = _kept(line, at, block, named)
        else:
            _take_block(block, at, named, answer)
            block, named = [], False
        line = b""
    at = came[-1][0] if came else 0.0
    if complete and line.startswith(b"data:") and _is_whole(line[5:].strip()):
        named = _kept(line, at, block, named)
    _take_block(block, at, named, answer, cut=not complete)
    answer.set_thoughts_aside()
    answer.text = None
    return answer


def _kept(line, at, block, named):
    """Whether the event is named an error from here on."""
    name, _, value = line.partition(b":")
    if name == b"event":
        return value.strip() == b"error"
    if name in (b"data", b"error"):
        named |= name == b"error"
        block.append((at, value.strip(), named))
        return named
    return named


def _take_block(block, at, named, answer, cut=False):
    if len(block) > 1 and is_json(together := b"\n".join(data for _, data, _ in block)):
        block = [(at, together, named)]
    elif len(block) == 1:
        block = [(at, block[0][1], named)]
    for when, data, error in block:
        if cut and not _is_whole(data):
            continue
        if data == b"[DONE]":
            answer.done = True
        else:
            take_event(data, when, answer, error)


def _is_whole(data):
    return data == b"[DONE]" or is_object(data)


def _chunk(delta, **more):
    return {"id": "c-1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} | more


_words = st.text(st.characters(), max_size=6) | st.sampled_from(
    ["", "hi", " the", '"', "\\", "\n", "ü", "日本", "\ud800"]
)
_deltas = st.one_of(
    st.fixed_dictionaries({"content": _words}),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": _words}),
    st.fixed_dictionaries({"content": _words, "reasoning_content": _words}),
    st.fixed_dictionaries({"reasoning": _words}),
    st.fixed_dictionaries(
        {"content": st.none() | st.just(3) | st.just([]), "tool_calls": st.just([{"index": 0}])}
    ),
    st.just({}),
)
_choices = st.fixed_dictionaries(
    {"index": st.integers(0, 1), "delta": _deltas},
    optional={
        "finish_reason": st.sampled_from([None, "stop", "length", "abort", "content_filter"]),
        "content": _words,  # beside the delta: not a token
        "message": _deltas,
    },
)
_usages = st.none() | st.fixed_dictionaries(
    {}, optional={"completion_tokens": st.none() | st.integers(-1, 9)}
)
_bodies = st.one_of(
    _deltas.map(_chunk),
    _deltas.map(_chunk),
    st.fixed_dictionaries(
        {"choices": st.lists(_choices, max_size=3)}, optional={"usage": _usages, "content": _words}
    ),
    st.fixed_dictionaries(
        {"error": st.sampled_from([{"message": "died"}, "died", "", None]), "content": _words}
    ),
)
_spelt = st.builds(
    lambda body, bare, space: json.dumps(body, ensure_ascii=bare, separators=(", ", ": ") if space else (",", ":"))
    .encode("utf-8", "surrogatepass"),
    _bodies, st.booleans(), st.booleans(),
)  # fmt: skip
_data = st.one_of(
    _spelt, _spelt, _spelt,
    st.just(b"[DONE]"),
    st.sampled_from([b"", b"{", b'{"choices": [{"delta": {"content": "x}}]}', b"\xff", b'{"choices":\ndata: []}']),
    st.tuples(_spelt, st.integers(0, 80)).map(lambda cut: cut[0][: cut[1]]),
    st.tuples(_spelt, st.sampled_from([b"\xff", b"\x00", b"\\", b'"', b"\t", b"\xc3"])).map(
        lambda spoilt: spoilt[0].replace(b"i", spoilt[1], 1)
    ),
)  # fmt: skip
_blocks = st.one_of(
    st.tuples(st.sampled_from([b"data: ", b"data: ", b"data:", b"id: 7\ndata: ", b": ping\ndata: "]), _data).map(b"".join),
    st.sampled_from([b": ping", b"", b"event: x", b"event: error", b"\r", b"data", b"data: ping", b"data: 3"]),
)  # fmt: skip


_contents = st.one_of(
    st.sampled_from(
        [
            b"hi",
            b" the",
            "日本".encode(),
            b"\\u00fc",
            b"\\ud800",
            b"\xed\xa0\x80",
            b"\\\\",
            b'\\"',
            b"<think>",
            b"</think>",
            b"\\u003cthink\\u003e",
            b"</",
            b"think>",
            b"\\n",
        ]
    ),
    st.sampled_from(
        [b"", b"\xff", b"\xc3", b"a\tb", b"\x00", b"\\x", b"\\u12", b"\\", b'"', b'x"}}],"error":"no', b"\r"]
    ),
)
_frames = st.sampled_from(
    [
        _chunk({"content": "%"}),
        _chunk({"role": "assistant", "content": "%"}),
        _chunk({"content": "%"}, usage={"completion_tokens": 3}),
        _chunk({"content": "%"}, error="no"),
        _chunk({"content": "%", "reasoning": "so"}),
        _chunk({"reasoning": "so"}, content="%"),
        _chunk({"tool_calls": [{"content": "%"}]}),
        {"choices": [{"delta": {"content": "%"}}, {"delta": {"content": "x"}}]},
        {"choices": [{"delta": {"content": "%"}, "finish_reason": "stop"}]},
        {"choices": [{"delta": {"content": "x"}, "content": "%"}]},
        {"choices": [{"delta": {}, "content": "%"}]},
        {"content": "%", "choices": [{"delta": {"content": "x"}}]},
        {"choices": [{"message": {"content": "%"}}]},
    ]
)


@st.composite
def _alike(draw):
    """Events that differ in their content alone, as those of a stream do."""
    before, after = json.dumps(draw(_frames)).encode().split(b"%")
    return [
        b"data: " + before + content + after for content in draw(st.lists(_contents, min_size=1, max_size=6))
    ]


@st.composite
def streams(draw):
    """Pieces with an instant each."""
    runs = draw(st.lists(_alike() | st.lists(_blocks, max_size=2), max_size=4))
    lines = draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]))
    parted = draw(st.sampled_from([1, 2, 2, 2]))
    body = b"".join(block.replace(b"\n", lines) + lines * parted for run in runs for block in run)
    body = body[: draw(st.just(len(body)) | st.integers(0, len(body)))]
    cuts = sorted(draw(st.sets(st.integers(0, len(body)), max_size=8)))
    if draw(st.booleans()):
        cuts = range(len(body))  # byte by byte
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    return [(float(i), part) for i, part in enumerate(parts)]


def the_same_as_plainly(pieces, complete):
    expected = plainly(pieces, complete)
    assert read_events(pieces, complete) == expected
    assert read_events(pieces, complete, likenesses=0) == expected


@settings(deadline=None, max_examples=200)
@given(streams(), st.booleans())
@example([(1.0, b"\xef\xbb\xbf" + token() * 2)], True)
@example(
    [(1.0, token() + b'data: {"choices": [{"index": 0, "delta": {"content": "\xed\xa0\x80"}}]}\n\n')], True
)
@example([(1.0, token("<think>") + token("a") * 2 + token("</think>") + token("b") * 2)], True)
def test_an_answer_is_the_same_as_if_all_of_it_were_read_plainly(pieces, complete):
    the_same_as_plainly(pieces, complete)


@pytest.mark.verify
@settings(deadline=None, max_examples=3000)
@given(streams(), st.booleans())
def test_each_of_thousands_of_answers_is_the_same_as_if_read_plainly(pieces, complete):
    the_same_as_plainly(pieces, complete)


@settings(deadline=None, max_examples=100)
@given(streams(), st.booleans())
def test_a_requested_text_is_the_same_too(pieces, complete):
    assert read_events(pieces, complete, text=True) == read_events(pieces, complete, text=True, likenesses=0)


ALIKE = [
    # in words, a content's JSON spelling, whether it is read without the JSON reader
    ("a word", b" the", True),
    ("escapes", b'\\"\\\\\\n\\u00fc\\ud800', True),
    ("more than one byte a character", "日本".encode(), True),
    ("nothing, which is no token", b"", False),
    ("a control byte", b"a\tb", False),
    ("an escape that is none", b"\\x41", False),
    ("a quote, and what may follow one", b'x"},"error":{"message":"no', False),
]


@pytest.mark.parametrize(("content", "alike"), [row[1:] for row in ALIKE], ids=[row[0] for row in ALIKE])
def test_only_content_that_is_valid_json_skips_the_json_reader(content, alike, monkeypatch):
    read = []
    monkeypatch.setattr(
        answers.json, "loads", lambda data: read.append(data) or json.JSONDecoder().decode(data.decode())
    )
    stays = token("%").split(b"%")
    last = content.join(stays)
    read_events([(1.0, token()), (2.0, last)])
    assert (last.removeprefix(b"data: ").strip() not in read) is alike


def test_of_an_ordinary_stream_only_what_is_not_ordinary_is_read_as_json(monkeypatch):
    read, loads = [], json.loads
    monkeypatch.setattr(answers.json, "loads", lambda data: read.append(data) or loads(data))
    words = [token(f" word{n}") for n in range(100)]
    body = b"".join([token(None), *words, finish("length"), usage(100), DONE])
    found = read_events([(1.0, body)])
    assert (len(found.content_at), found.finish_reason, found.output_tokens) == (100, "length", 100)
    assert len(read) == 5  # the role, the first word and a trial of it, the finish, the usage


def test_a_stream_that_differs_in_each_event_is_not_tried_out_for_ever(monkeypatch):
    read, loads = [], json.loads
    monkeypatch.setattr(answers.json, "loads", lambda data: read.append(data) or loads(data))
    body = b"".join(event(_chunk({"content": "x"}, obfuscation="y" * n)) for n in range(100))
    assert len(read_events([(1.0, body)]).content_at) == 100
    assert len(read) == 104
