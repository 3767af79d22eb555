"""A solo pool: SV1 miners on a node of one's own, whose blocks pay whoever found them."""
