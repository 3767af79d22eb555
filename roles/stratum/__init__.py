"""Stratum sessions that several daemons share: the SV1 server's side and the SV2 mining client."""
