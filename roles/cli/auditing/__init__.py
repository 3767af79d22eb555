"""Law 1 recomputed from the stores: what each side keeps, and what must hold within and between sides."""
