"""Stratum V1 without I/O: lines, messages and their fields, for the server's and the client's side."""
