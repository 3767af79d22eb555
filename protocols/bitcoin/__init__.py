"""What hashpool needs of bitcoin: curve, hashes, scripts, transactions, blocks and targets."""
