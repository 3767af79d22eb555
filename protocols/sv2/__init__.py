"""Stratum V2: frames, data types, messages declared as data, connection setup, extension negotiation."""
