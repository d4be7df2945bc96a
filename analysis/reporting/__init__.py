"""What a report says in text and tables."""
