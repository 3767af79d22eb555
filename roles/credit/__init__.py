"""From accepted shares to quotes: the issuer's ledger, and both ends of the issuance link."""
