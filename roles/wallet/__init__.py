"""The Cashu wallet of the miner side: a library in the proxy's process and under the command line."""
