"""Requests that chaos sends: the probe, the inspection of a stack, the verification of a restore."""
