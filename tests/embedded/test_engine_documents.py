"""An engine with documents answers with their JSON, and exactly the configured share is correct."""

import json
from collections import Counter
from pathlib import Path

import pytest

from contract.document import FIELDS, Document, read, right_answer, usable, wrong_fields
from embedded.engine.classifier import NO_JSON, Classifier
from embedded.engine.completion_request import read_chat, read_ollama_chat, read_ollama_generate
from tests.embedded.engine import HOUSE, QUICK, running

FOLDER = HOUSE / "scenarios" / "documents"
CORPUS = read(FOLDER)
NONCE = "req-3f9c01-00000a"


def answer_to(classifier: Classifier, document: Document) -> str:
    tokens = classifier.tokens(f"{NONCE} {document.text}", NONCE)
    assert tokens is not None
    return "".join(tokens)


def worth(classifier: Classifier, corpus: list[Document]) -> dict[str, str]:
    """id → right, wrong or invalid."""
    found = {}
    for document in corpus:
        answer = usable(answer_to(classifier, document))
        found[document.id] = (
            "invalid" if answer is None else "wrong" if wrong_fields(document, answer) else "right"
        )
    return found


@pytest.mark.parametrize(
    ("accuracy", "invalid"),
    [(1.0, 0.0), (0.0, 0.0), (0.96, 0.0), (0.93, 0.01), (0.5, 0.5), (0.0, 1.0), (0.9, 0.1)],
)
@pytest.mark.parametrize("size", [len(CORPUS), 7, 1])
def test_the_configured_shares_are_exact_over_the_corpus(accuracy, invalid, size):
    corpus = CORPUS[:size]
    counted = Counter(worth(Classifier(corpus, 1, "m", accuracy, invalid), corpus).values())
    assert counted["right"] == round(accuracy * size)
    assert counted["invalid"] == min(round(invalid * size), size - counted["right"])


def test_which_documents_are_wrong_depends_on_seed_and_model_only():
    half = [
        worth(Classifier(corpus, seed, model, 0.5, 0.0), CORPUS)
        for corpus, seed, model in (
            (CORPUS, 1, "m"),
            (CORPUS[::-1], 1, "m"),
            (CORPUS, 2, "m"),
            (CORPUS, 1, "n"),
        )
    ]
    assert half[0] == half[1]
    assert half[0] != half[2] != half[3] != half[0]


def test_a_more_accurate_model_of_the_same_name_is_right_where_the_other_was():
    less, more = (worth(Classifier(CORPUS, 1, "m", accuracy, 0.0), CORPUS) for accuracy in (0.6, 0.8))
    assert {id for id, found in less.items() if found == "right"} < {
        id for id, found in more.items() if found == "right"
    }


def test_wrong_answers_are_of_every_judged_field_and_can_be_used():
    classifier = Classifier(CORPUS, 1, "m", 0.0, 0.0)
    seen = Counter(
        name
        for document in CORPUS
        for name in wrong_fields(document, json.loads(answer_to(classifier, document)))
    )
    assert set(seen) == set(FIELDS)


def rendered(text: str) -> str:
    """A conversation as LiteLLM's `ollama/` renders it."""
    return f"### System:\nYou classify.\n\n### User:\n{text}\n\n"


@pytest.mark.parametrize("document", CORPUS, ids=lambda document: document.id)
def test_a_document_is_recognised_in_every_api_truncated_or_not(document):
    classifier = Classifier(CORPUS, 1, "m", 1.0, 0.0)
    for text in (document.text, document.text[:300]):
        prompt = f"{NONCE} {text}"
        messages = [{"role": "system", "content": "You classify."}, {"role": "user", "content": prompt}]
        for request in (
            read_chat({"model": "m", "messages": messages}),
            read_ollama_chat({"model": "m", "messages": messages}),
            read_ollama_generate({"model": "m", "prompt": rendered(prompt)}),
        ):
            assert request.nonce == NONCE
            tokens = classifier.tokens(request.user_text, request.nonce)
            assert tokens is not None
            assert json.loads("".join(tokens)) == right_answer(document)


@pytest.mark.parametrize(
    "text", ["", "Count.", "Write a book about rivers.", CORPUS[0].text[1:], CORPUS[0].text[:100]]
)
def test_text_that_is_not_a_document_gets_words(text):
    if len(CORPUS[0].text) <= 100 and text:
        pytest.skip("the first document is that short")
    assert Classifier(CORPUS, 1, "m", 1.0, 0.0).tokens(f"{NONCE} {text}", NONCE) is None


def test_an_answer_without_json_has_no_object():
    assert usable(NO_JSON) is None
    assert "{" not in NO_JSON


def test_an_engine_classifies_its_documents(tmp_path: Path) -> None:
    document = max(CORPUS, key=lambda document: len(document.text))
    text = f"{NONCE} {document.text[:50_000]}"
    with running("ollama", tmp_path, *QUICK, "--documents", str(FOLDER)) as engine:
        _, chat = engine.request_json(
            "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": text}]}
        )
        _, native = engine.request_json(
            "/api/generate", {"model": "m", "prompt": rendered(text), "stream": False}
        )
        _, other = engine.request_json("/api/generate", {"model": "m", "prompt": "Count.", "stream": False, "options": {"num_predict": 3}})  # fmt: skip
    assert json.loads(chat["choices"][0]["message"]["content"]) == right_answer(document)
    assert chat["choices"][0]["finish_reason"] == "stop"
    assert (json.loads(native["response"]), native["done_reason"]) == (right_answer(document), "stop")
    assert "{" not in other["response"]
