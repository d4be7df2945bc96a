"""A run whose load comes from several processes: a master and its workers."""
