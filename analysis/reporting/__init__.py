"""The text and the tables of a report."""
