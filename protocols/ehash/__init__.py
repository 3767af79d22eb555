"""Ehash: what a share is worth, whose it is, and how that is said on the wire (SV2 extension 0x4548)."""
