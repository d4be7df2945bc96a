"""Requests that chaos sends itself: the probe, the inspection of a stack, the verification of a restore."""
