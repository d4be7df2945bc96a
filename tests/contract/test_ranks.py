"""Deployments of one group are tiers of one rank: which tier served, which is above, and that ambiguous matches are refused."""

import pytest

from contract.ranks import above, describe, peers_of, rank_of
from contract.topology import Topology, dump, read_text


def topology(*matches, **more):
    tiers = [{"name": name, "match": match} | more.get(name, {}) for name, match in matches]
    return Topology.model_validate({"gateway": {"url": "http://g:4000", "model": "g"}, "tiers": tiers})


def of(group, base, order=None):
    return {"group": group, "api_base": base} | ({} if order is None else {"order": order})


THREE = (
    ("a", of("g", "http://a:8000/v1/")), ("b", of("g", "http://b:8000/v1")), ("cpu", {"group": "c"}), ("last", {"api_base": "http://l"}),
)  # fmt: skip


def test_the_deployments_of_a_group_are_one_rank_and_every_other_tier_is_its_own():
    ranks = topology(*THREE).ranks
    assert ranks == [["a", "b"], ["cpu"], ["last"]]
    assert [rank_of(ranks, t) for t in ("a", "b", "cpu", "nobody", None)] == [0, 0, 1, None, None]
    assert peers_of(ranks, "b") == ["a", "b"]
    assert peers_of(ranks, "nobody") == ["nobody"]
    assert above(ranks, "last") == ["a", "b", "cpu"]
    assert above(ranks, "b") == []
    assert describe(ranks) == "a + b → cpu → last"


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
        ((("a", {"group": "g"}), ("b", of("g", "http://x"))), {}, "group 'g' is the only key in one of them"),
        ((("a", of("g", "http://x")), ("b", {"api_base": "http://x"})), {}, "api_base 'http://x' is the only key in one"),
        ((("a", of("g", "http://x")), ("c", {"group": "c"}), ("b", of("g", "http://y"))), {}, "of group 'g' are not adjacent"),
        ((("a", of("g", "http://x")), ("b", of("g", "http://y"))), {"b": {"cloud": True}}, "give the cloud a group of its own"),
        ((("a", of("g", "http://x", 1)), ("b", of("g", "http://y", 1))), {"b": {"cloud": True}}, "or a higher order"),
        ((("a", of("g", "http://x", 1)), ("b", of("g", "http://x", 2))), {}, "match: both are group g, api_base http://x"),
        ((("a", of("g", "http://x", 2)), ("b", of("g", "http://y", 1))), {}, "are listed in the order 2, 1; the gateway tries the lowest first"),
        ((("a", of("g", "http://x", 1)), ("b", of("g", "http://y"))), {}, "others without; give it for all of them"),
        ((("a", of("g", "http://x", 1)), ("c", {"group": "c"}), ("b", of("g", "http://y", 2))), {}, "of group 'g' are not adjacent"),
        ((("a", {"group": "g", "order": 1}),), {}, "give its group and api_base too"),
        ((("a", of("g", "http://x", True)),), {}, "valid integer"),
        ((("a", of("g", "http://x", 1.5)),), {}, "valid integer"),
        ((("a", of("g", "http://x", -1)),), {}, "greater than or equal to 0"),
    ],
)  # fmt: skip
def test_ambiguous_matches_and_orders_are_refused(matches, more, words):
    with pytest.raises(ValueError, match=words):
        topology(*matches, **more)


def test_one_server_may_be_in_two_groups():
    assert topology(("a", of("g", "http://x")), ("b", of("h", "http://x"))).tier_of("h", "http://x") == "b"


def test_deployments_of_another_order_are_a_rank_of_their_own_and_those_of_the_same_are_peers():
    """As in LiteLLM: the lowest order gets requests first, a higher one if none of the lower can answer."""
    matches = (
        ("a", of("g", "http://a", 1)), ("b", of("g", "http://b", 1)), ("cloud", of("g", "https://api.openai.com", 2)), ("cpu", {"group": "c"}),
    )  # fmt: skip
    found = topology(*matches, cloud={"cloud": True})
    assert found.ranks == [["a", "b"], ["cloud"], ["cpu"]]
    assert above(found.ranks, "cloud") == ["a", "b"]
    assert found.tier_of("g", "https://api.openai.com") == "cloud"
    assert found.balanced == {"g": ["a", "b"]}


def test_a_group_is_balanced_only_where_several_deployments_share_its_lowest_order():
    found = topology(
        ("a", of("g", "http://a", 1)), ("b", of("g", "http://b", 2)), ("c", of("g", "http://c", 2))
    )
    assert found.ranks == [["a"], ["b", "c"]]
    assert found.balanced == {}


def test_an_order_survives_being_written_and_read_again():
    found = topology(("a", of("g", "http://a", 1)), ("b", of("g", "http://b", 2)))
    assert read_text(dump(found)) == found
