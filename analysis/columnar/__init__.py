"""How tables of ten million records fit into memory."""
