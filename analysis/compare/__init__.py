"""Two runs side by side: what differs in how they were made, and what got better or worse. Reads runs, judges no run.

A run is first brought down to its samples (`samples`), which is also what a baseline file holds (`baseline`): everything
after that knows no run, so that a run and a baseline made of it compare alike.
"""
