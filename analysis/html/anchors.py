"""The ids of the definitions on the page, made from their names."""

import re


def expectation(name: str) -> str:
    return f"expect-{name}"


def metric(name: str) -> str:
    """`metric-why-a-lower-tier-answered`"""
    return "metric-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
