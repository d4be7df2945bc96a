"""The prompt of requests whose answer is not used: probe, warm-up, the inspection before a run, the verification of a restore."""

COUNT_UPWARDS = "Count upwards from one in words, without end."
"""Its answer is longer than any cap, so that the cap is the proper end."""
