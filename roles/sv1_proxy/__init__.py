"""Ehash for any SV1 pool, in two instances: the pool's side issues it, the miner's side holds the wallet."""
