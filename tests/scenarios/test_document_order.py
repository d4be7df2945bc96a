"""Which document is asked next: each once before any again, anew on each side of a change of tier, and the pairs first."""

import datetime

import pytest

from contract.document import Document
from scenarios.gateway.document_order import Walk


def paper(id: str) -> Document:
    return Document(id, f"text of {id}", ("A",), ("B",), datetime.date(2024, 1, 2), "en", "C", ())


PAPERS = [paper(f"p{n:02}") for n in range(12)]


def asked(walk: Walk, count: int, tier: str | None) -> list[str]:
    """So many, one after the other, all answered by this tier."""
    found = []
    for _ in range(count):
        document = walk.next()
        walk.done(document, tier)
        found.append(document.id)
    return found


def test_every_document_is_asked_once_before_any_is_asked_again():
    walk = Walk(PAPERS, seed=1)
    first, second = asked(walk, 12, "vllm"), asked(walk, 12, "vllm")
    assert sorted(first) == [p.id for p in PAPERS]
    assert second == first


def test_the_order_is_the_seeds():
    orders = [
        asked(Walk(papers, seed), 12, "vllm")
        for papers, seed in ((PAPERS, 1), (PAPERS[::-1], 1), (PAPERS, 2))
    ]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(("before", "during"), [(5, 3), (5, 8), (12, 12), (20, 12), (0, 4)])
def test_after_a_change_of_tier_those_go_first_that_the_other_tier_has_answered(before, during):
    walk = Walk(PAPERS, seed=1)
    vllm = asked(walk, before, "vllm")
    walk.done(walk.next(), "ollama")  # whom the change hit: until it is answered nobody knows of it
    ollama = asked(walk, during - 1, "ollama")
    assert len(set(ollama)) == len(ollama)
    assert len(set(vllm) & set(ollama)) >= min(len(set(vllm)) - 1, during - 1)


def test_back_on_the_first_tier_those_go_first_that_only_the_fallback_has_answered():
    walk = Walk(PAPERS, seed=1)
    vllm = asked(walk, 4, "vllm")
    ollama = asked(walk, 9, "ollama")
    back = asked(walk, 6, "vllm")[1:]
    assert set(back) <= set(ollama) - set(vllm)
    assert len(set(vllm + back) & set(ollama)) == 9


def test_nobody_is_given_what_another_has_under_way():
    walk = Walk(PAPERS, seed=1)
    held = [walk.next() for _ in PAPERS]
    assert len({document.id for document in held}) == 12
    again = walk.next()  # more instances than documents
    assert again in held
    walk.done(again, None)
    for document in held:
        walk.done(document, "vllm")


def test_what_was_asked_in_vain_waits_for_its_next_turn():
    walk = Walk(PAPERS, seed=1)
    asked(walk, 3, "vllm")
    lost = walk.next()
    walk.done(lost, None)
    assert lost.id not in asked(walk, 8, "vllm")
    assert lost.id in asked(walk, 12, "vllm")


def test_before_anybody_has_answered_all_are_asked_once_too():
    walk = Walk(PAPERS, seed=1)
    assert len(set(asked(walk, 12, None))) == 12


def test_workers_begin_at_places_of_their_own_and_go_round():
    whole = asked(Walk(PAPERS, seed=1), 12, "vllm")
    parts = [asked(Walk(PAPERS, seed=1, beginning=n / 3), 12, "vllm") for n in range(3)]
    assert [part[:4] for part in parts] == [whole[:4], whole[4:8], whole[8:]]
    assert all(sorted(part) == sorted(whole) for part in parts)
