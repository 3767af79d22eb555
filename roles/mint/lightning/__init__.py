"""Money over Lightning: what the mint asks of a node, and quotes that are paid by invoice."""
