"""Lightning invoices (BOLT 11)."""
