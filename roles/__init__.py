"""The daemons of hashpool, and what daemons share."""
