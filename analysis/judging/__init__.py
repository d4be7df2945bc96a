"""Judging: expectations, findings and the verdict."""
