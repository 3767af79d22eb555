"""Block templates from a node, and solved blocks back to it: what template_provider and solo_pool share."""
