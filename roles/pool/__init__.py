"""The pool: an SV2 mining server whose accepted shares become ehash."""
