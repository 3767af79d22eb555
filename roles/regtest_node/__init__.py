"""A regtest node on Bitcoin Core's consensus library, behind JSON-RPC shaped like bitcoind's.

For development only: it knows no peers and no network but regtest. Everything else uses a real bitcoind.
"""
