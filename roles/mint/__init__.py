"""The Cashu mint: it checks the issuers' work, keeps their quotes and signs the miners' tokens."""
