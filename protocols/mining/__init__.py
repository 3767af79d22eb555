"""Mining channels from the server's side: jobs, shares, targets and extranonces."""
