"""The wire protocols of hashpool, sans-IO: bytes in, events out; time and entropy are arguments."""
