"""Which document is classified next: each once before any again, anew after each change of tier, and pairs first."""

import datetime

import pytest

from contract.document import Document
from scenarios.gateway.document_order import DocumentOrder


def paper(id: str) -> Document:
    return Document(id, f"text of {id}", ("A",), ("B",), datetime.date(2024, 1, 2), "en", "C", ())


PAPERS = [paper(f"p{n:02}") for n in range(12)]


def taken(order: DocumentOrder, count: int, tier: str | None) -> list[str]:
    """The ids of the next `count` documents, all answered by this tier."""
    found = []
    for _ in range(count):
        document = order.next()
        order.done(document, tier)
        found.append(document.id)
    return found


def test_every_document_is_sent_once_before_any_is_sent_again():
    order = DocumentOrder(PAPERS, seed=1)
    first, second = taken(order, 12, "vllm"), taken(order, 12, "vllm")
    assert sorted(first) == [p.id for p in PAPERS]
    assert second == first


def test_the_order_is_the_seeds():
    orders = [
        taken(DocumentOrder(papers, seed), 12, "vllm")
        for papers, seed in ((PAPERS, 1), (PAPERS[::-1], 1), (PAPERS, 2))
    ]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(("before", "during"), [(5, 3), (5, 8), (12, 12), (20, 12), (0, 4)])
def test_after_a_change_of_tier_those_go_first_that_the_other_tier_has_answered(before, during):
    order = DocumentOrder(PAPERS, seed=1)
    vllm = taken(order, before, "vllm")
    order.done(order.next(), "ollama")  # the change of tier is unknown until this answer
    ollama = taken(order, during - 1, "ollama")
    assert len(set(ollama)) == len(ollama)
    assert len(set(vllm) & set(ollama)) >= min(len(set(vllm)) - 1, during - 1)


def test_back_on_the_first_tier_those_go_first_that_only_the_fallback_has_answered():
    order = DocumentOrder(PAPERS, seed=1)
    vllm = taken(order, 4, "vllm")
    ollama = taken(order, 9, "ollama")
    back = taken(order, 6, "vllm")[1:]
    assert set(back) <= set(ollama) - set(vllm)
    assert len(set(vllm + back) & set(ollama)) == 9


def test_no_instance_gets_a_document_that_is_under_way():
    order = DocumentOrder(PAPERS, seed=1)
    held = [order.next() for _ in PAPERS]
    assert len({document.id for document in held}) == 12
    again = order.next()  # more instances than documents
    assert again in held
    order.done(again, None)
    for document in held:
        order.done(document, "vllm")


def test_a_document_without_an_answer_waits_for_its_next_turn():
    order = DocumentOrder(PAPERS, seed=1)
    taken(order, 3, "vllm")
    lost = order.next()
    order.done(lost, None)
    assert lost.id not in taken(order, 8, "vllm")
    assert lost.id in taken(order, 12, "vllm")


def test_before_the_first_answer_each_is_sent_once_too():
    order = DocumentOrder(PAPERS, seed=1)
    assert len(set(taken(order, 12, None))) == 12


def test_workers_begin_at_places_of_their_own_and_go_round():
    whole = taken(DocumentOrder(PAPERS, seed=1), 12, "vllm")
    parts = [taken(DocumentOrder(PAPERS, seed=1, beginning=n / 3), 12, "vllm") for n in range(3)]
    assert [part[:4] for part in parts] == [whole[:4], whole[4:8], whole[8:]]
    assert all(sorted(part) == sorted(whole) for part in parts)
