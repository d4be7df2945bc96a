"""Undoes faults: the undo record, the claim, and the processes that restore when the controller cannot."""
