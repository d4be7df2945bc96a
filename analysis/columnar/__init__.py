"""Memory-efficient tables for ten million records."""
