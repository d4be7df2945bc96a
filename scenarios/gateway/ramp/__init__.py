"""The ramp: finds the highest rate within the objective."""
