"""Tokens for payments: melt quotes, and how one is paid exactly once (NUT-05, NUT-08)."""
