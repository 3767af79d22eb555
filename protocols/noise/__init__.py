"""Stratum V2's security layer: Noise NX with EllSwift keys, certificates, encrypted transport."""
