"""Cashu ecash: curve operations, models, keyset ids, spending conditions and tokens, without any input or
output.
"""
