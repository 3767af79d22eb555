"""A CPU miner for development: SV1 or SV2, several processes, a limit on hashes a second."""
