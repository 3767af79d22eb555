"""bitcoind's JSON-RPC, or whatever speaks like it."""
