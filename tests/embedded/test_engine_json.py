"""An engine that is asked for a JSON object gives one: with the schema's keys, cut where the cap or a fault cuts it."""

import json
from random import Random

import pytest

from embedded.engine.ask import read_chat, read_ollama_chat
from embedded.engine.words import json_object

SCHEMA = {"properties": {"title": {"type": "string"}, "tags": {"type": "array"}}}
KEYS = {"title": False, "tags": True}
ASKS = [
    (read_chat, {}, None),
    (read_chat, {"response_format": None}, None),
    (read_chat, {"response_format": {"type": "text"}}, None),
    (read_chat, {"response_format": {"type": "json_object"}}, {"answer": False}),
    (read_chat, {"response_format": {"type": "json_schema"}}, {"answer": False}),
    (read_chat, {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, KEYS),
    (read_ollama_chat, {"format": "json"}, {"answer": False}),
    (read_ollama_chat, {"format": SCHEMA}, KEYS),
    (read_ollama_chat, {"format": {"type": "object"} | SCHEMA}, KEYS),
    (read_ollama_chat, {"format": ""}, None),
]


@pytest.mark.parametrize(("reader", "told", "keys"), ASKS)
def test_an_ask_tells_the_keys_of_the_object_that_it_wants(reader, told, keys):
    ask = reader({"model": "m", "messages": [{"role": "user", "content": "hi"}]} | told)
    assert ask.keys == keys


@pytest.mark.parametrize("told", [{"type": "json_schema", "json_schema": "x"}, {"type": []}, 3])
def test_a_format_that_makes_no_sense_does_no_harm(told):
    ask = read_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}], "response_format": told})
    assert ask.keys in (None, {"answer": False})


@pytest.mark.parametrize("keys", [{"answer": False}, KEYS, {'a "b"': True}])
def test_the_tokens_are_an_object_when_whole_and_none_before(keys):
    tokens = json_object(Random(1), keys)
    found = json.loads("".join(tokens))
    assert {name: isinstance(value, list) for name, value in found.items()} == keys
    for length in range(len(tokens)):
        with pytest.raises(ValueError):
            json.loads("".join(tokens[:length]))
