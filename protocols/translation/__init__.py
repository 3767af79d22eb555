"""Between Stratum V1 and V2: jobs down, shares and verdicts up, difficulties, version masks, extranonces."""
