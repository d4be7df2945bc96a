"""Deployments of one group are tiers of one rank: who served, who is above whom, and what cannot be told apart is refused."""

import pytest

from contract.ranks import above, peers_of, rank_of, told
from contract.topology import Topology


def topology(*matches, **more):
    tiers = [{"name": name, "match": match} | more.get(name, {}) for name, match in matches]
    return Topology.model_validate({"gateway": {"url": "http://g:4000", "model": "g"}, "tiers": tiers})


def of(group, base):
    return {"group": group, "api_base": base}


THREE = (
    ("a", of("g", "http://a:8000/v1/")), ("b", of("g", "http://b:8000/v1")), ("cpu", {"group": "c"}), ("last", {"api_base": "http://l"}),
)  # fmt: skip


def test_the_deployments_of_a_group_are_one_rank_and_everyone_else_is_his_own():
    ranks = topology(*THREE).ranks
    assert ranks == [["a", "b"], ["cpu"], ["last"]]
    assert [rank_of(ranks, t) for t in ("a", "b", "cpu", "nobody", None)] == [0, 0, 1, None, None]
    assert peers_of(ranks, "b") == ["a", "b"]
    assert peers_of(ranks, "nobody") == ["nobody"]
    assert above(ranks, "last") == ["a", "b", "cpu"]
    assert above(ranks, "b") == []
    assert told(ranks) == "a + b → cpu → last"


@pytest.mark.parametrize(
    ("group", "base", "tier"),
    [
        ("g", "http://a:8000/v1", "a"),
        ("g", "http://b:8000/v1/", "b"),
        ("g", "http://x:8000/v1", None),
        ("g", None, None),
        ("h", "http://b:8000/v1", None),
        ("c", "http://b:8000/v1", "cpu"),
        ("x", "http://l", "last"),
        (None, None, None),
    ],
)
def test_an_answer_is_that_tiers_whose_match_it_fits_in_all_that_it_names(group, base, tier):
    assert topology(*THREE).tier_of(group, base) == tier


@pytest.mark.parametrize(
    ("matches", "more", "words"),
    [
        ((("a", of("g", "http://x")), ("b", of("g", "http://x/"))), {}, "match: both are group g, api_base http://x"),
        ((("a", {"group": "g"}), ("b", of("g", "http://x"))), {}, "group 'g' stands alone in one of them"),
        ((("a", of("g", "http://x")), ("b", {"api_base": "http://x"})), {}, "api_base 'http://x' stands alone in one"),
        ((("a", of("g", "http://x")), ("c", {"group": "c"}), ("b", of("g", "http://y"))), {}, "of group 'g' stand apart"),
        ((("a", of("g", "http://x")), ("b", of("g", "http://y"))), {"b": {"cloud": True}}, "give the cloud a group of its own"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_apart_or_has_no_one_place_is_refused(matches, more, words):
    with pytest.raises(ValueError, match=words):
        topology(*matches, **more)


def test_one_server_may_stand_in_two_groups():
    assert topology(("a", of("g", "http://x")), ("b", of("h", "http://x"))).tier_of("h", "http://x") == "b"
