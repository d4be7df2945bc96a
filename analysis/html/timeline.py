"""The data of the interactive timeline: answers, faults and other strips, the serving tiers; as one JSON object."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.evidence import Evidence
from analysis.figures import style
from analysis.html.drawn import Drawn
from analysis.html.records import records
from analysis.html.strips import strips
from contract.records import GATEWAY

SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "pentagon",
    "star",
)  # a tier's second sign beside its colour
GLYPHS = ("●", "■", "◆", "▲", "⬟", "★")
SERVED_COLUMNS = 400


def marks(tiers: list[str]) -> dict[str, Mapping[str, str]]:
    """Each tier's colour, symbol in the timeline and glyph in text."""
    return {
        tier: {"colour": colour, "symbol": SYMBOLS[i % len(SYMBOLS)], "glyph": GLYPHS[i % len(GLYPHS)]}
        for i, (tier, colour) in enumerate(style.tier_colours(tiers).items())
    }


def payload(run: Evidence, drawn: Drawn) -> dict[str, Any]:
    """`started_at` in unix seconds; all other times in seconds since then."""
    frames = run.frames
    return {
        "run": frames.name,
        "started_at": frames.started_at,
        "length_s": round(max(1.0, frames.ended_at - frames.started_at), 3),
        "gateway": GATEWAY,
        "tiers": [{"name": tier} | dict(mark) for tier, mark in marks(frames.tiers).items()],
        "records": records(drawn.requests, frames.started_at, run.lower),
        "strips": strips(run),
        "served": served(
            frames.gateway(["sent_at", "good", "tier"]), frames.tiers, frames.started_at, frames.ended_at
        ),
    }


def served(requests: pd.DataFrame, tiers: list[str], started_at: float, ended_at: float) -> dict[str, Any]:
    """Per time column: requests sent through the gateway, and how many of them each tier gave a good answer to."""
    high = max(1.0, ended_at - started_at)
    edges = np.linspace(0, high, min(SERVED_COLUMNS, max(10, int(high))) + 1)
    sent = requests["sent_at"].to_numpy(float) - started_at
    good, tier = requests["good"].to_numpy(bool), requests["tier"]
    return {
        "wide_s": round(float(edges[1]), 4),
        "requests": np.histogram(sent, edges)[0].tolist(),
        "good": {
            name: np.histogram(sent[good & (tier == name).to_numpy(bool, na_value=False)], edges)[0].tolist()
            for name in tiers
        },
    }
