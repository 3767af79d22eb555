"""A Template Distribution server over a node's JSON-RPC."""
