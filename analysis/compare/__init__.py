"""Compares two runs: how their conditions differ, and what got better or worse.

A run is first reduced to its samples (`samples`), which a baseline file also has (`baseline`). All later code uses only
samples, so a run and a baseline made from it compare alike.
"""
