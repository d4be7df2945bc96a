"""The prompt of requests whose answer nobody reads: probe, warm-up, the inspection before a run, the verification of a restore."""

COUNT_UPWARDS = "Count upwards from one in words, without end."
"""It calls for more than any cap allows, so that the cap is the answer's proper end."""
