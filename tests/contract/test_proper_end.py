"""Whether content shows that it is whole."""

import json

import pytest

from contract.proper_end import object_closes

WHOLE = '{"title": "Rechnung {1}", "tags": ["a", {"b": "\\"}\\\\"}], "correspondent": "A } B"}'
CONTENTS = [
    (WHOLE, True),
    ("{}", True),
    ("  {\n}  ", True),
    ('{"a": {"b": {}}}', True),
    (f"```json\n{WHOLE}\n```", True),
    (f"```json\n{WHOLE}", True),  # the fence is not part of the object
    (f"Here is it:\n{WHOLE}\nI hope that helps.", True),
    (f"As {{requested}}: {WHOLE}", True),
    (f"{WHOLE}\n{WHOLE}", True),
    ('{"a": 1,}', True),  # closes, although it is not valid JSON
    ('{"a": [1, 2}', True),
    ('{"a": "}"', False),
    ('{"a": "\\"}', False),
    ('{"a": "x\\', False),
    ('{"a": {"b": 1}', False),
    ("```json\n{", False),
    ('I see: {"title": "Rechnung', False),
    (f'{WHOLE}\n{{"title"', False),
    ("", None),
    ("```json\n", None),
    ("I cannot read this.", None),
    ("the set {1, 2} and {x}", None),
    ('["a", "b"]', None),
    ('"a string"', None),
]


@pytest.mark.parametrize(("content", "closes"), CONTENTS)
def test_an_object_that_begins_has_its_end_or_not(content, closes):
    assert object_closes(content) is closes


@pytest.mark.parametrize("before", ["", "```json\n", "Here it is: "])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_object_that_was_cut_anywhere_does_not_close(before, indent):
    whole = json.dumps(json.loads(WHOLE), indent=indent)
    for length in range(len(whole)):
        assert object_closes(before + whole[:length]) is (False if length else None)
    assert object_closes(before + whole) is True
