"""Which version of the gateway answered: read strictly, kept bounded, never invented."""

import pytest

from contract import gateway_version
from contract.gateway_version import MOST, OTHERS
from contract.gateways.litellm import GATEWAY as LITELLM

NAMED = [
    # what stands in the header, what is recorded
    ("1.108.7", "1.108.7"), ("1.80.0.dev1", "1.80.0.dev1"), ("v1.2.3", "v1.2.3"), ("1.82.3-stable.patch.6", "1.82.3-stable.patch.6"),
    (" 1.106.2 ", "1.106.2"), ("1.0+local_1", "1.0+local_1"), ("1" * 48, "1" * 48), ("", None), ("None", None), ("unknown", None),
    ("1" * 60, None), ("1.108.7\x1b[2J", None), ("<b>1</b>", None), ("1.108.7 (evil)", None), ("1.1٣", None), ("1,2", None),
]  # fmt: skip


@pytest.mark.parametrize(("header", "version"), NAMED)
def test_text_that_is_not_a_version_is_ignored(header, version):
    assert gateway_version.named(LITELLM, "gateway", 200, {LITELLM.version: header}) == version


@pytest.mark.parametrize(
    ("via", "status"), [("vllm", 200), ("gateway", 500), ("gateway", 429), ("gateway", None)]
)
def test_only_an_answer_of_the_gateway_names_its_version(via, status):
    assert gateway_version.named(LITELLM, via, status, {LITELLM.version: "1.108.7"}) is None


def test_an_answer_without_the_header_names_none():
    assert gateway_version.named(LITELLM, "gateway", 200, {}) is None


def test_a_gateway_that_names_another_version_in_each_answer_fills_no_manifest():
    counts = {}
    for n in range(10_000):
        gateway_version.count(counts, f"1.0.{n}")
    assert len(counts) == MOST + 1
    assert sum(counts.values()) == 10_000
    assert counts[OTHERS] == 10_000 - MOST


TEXTS = [
    # answers by version, names, with the answers of each
    ({}, None, None),
    ({"1.108.7": 451}, "litellm 1.108.7", "litellm 1.108.7"),
    ({"1.106.2": 1, "1.108.7": 439}, "litellm 1.106.2, 1.108.7", "litellm 1.106.2 (1 answer), 1.108.7 (439 answers)"),
]  # fmt: skip


@pytest.mark.parametrize(("counts", "names", "text"), TEXTS)
def test_versions_as_text(counts, names, text):
    assert (gateway_version.names("litellm", counts), gateway_version.text("litellm", counts)) == (
        names,
        text,
    )
