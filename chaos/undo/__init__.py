"""How a fault is undone: its record and claim, and who restores it, whatever became of the controller."""
